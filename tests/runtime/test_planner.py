"""The planner on graphs that can be computed by hand: what each mode does, and what cells share."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime import ways
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import FloatArray
from networld_runtime.errors import ConfigError
from networld_runtime.ladder import Ladder
from networld_runtime.plan_start import plan_start
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import DENOISERS, MODES, PlannerSettings
from networld_runtime.shield import Shield
from networld_runtime.solver import SOLVERS, solve
from networld_runtime.two_hot import decode_actions
from networld_runtime.ways import Plan

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"
PLANNING = MODES[1:]
# A denoiser and steps, and the graphs that plan by them.
PLANNED_BY = [
    ("full", 3, ["denoiser", "head"]),
    ("distilled", 3, ["distilled", "head"]),
    ("distilled", 1, ["plan_1"]),
    ("distilled", 2, ["plan_2"]),
    ("distilled", 4, ["plan_4"]),
    ("distilled-int8", 3, ["distilled_int8", "head"]),
    ("distilled-int8", 2, ["plan_2_int8"]),
]
LATENT = np.linspace(-0.6, 0.4, 24, dtype=np.float32)
FIELD = np.linspace(0.3, -0.2, 17, dtype=np.float32)


def in_mode(mode: str, **changes: Any) -> PlannerSettings:
    return PlannerSettings(**{"mode": mode, "candidates": 3, "guidance_scale": 0.2, **changes})


def decided(planner: Planner, slots: int = 4) -> list[float]:
    return [float(planner.plan(LATENT, FIELD).action[0]) for _ in range(slots)]


def plan_of(planner: Planner) -> Plan:
    plan = planner.plan(LATENT, FIELD).plan
    assert plan is not None
    return plan


def by_hand(settings: PlannerSettings, draw: FloatArray, last: FloatArray | None) -> FloatArray:
    """Return the plans that the toy's denoiser makes of a draw."""
    scale = np.float32(settings.guidance_scale if "guidance" in settings.mode else 0)

    def denoise(plans: FloatArray, level: float) -> FloatArray:
        clean = 0.5 * plans + 0.5 * LATENT + np.float32(0.1 * level) + 0.1 * FIELD[0]
        return np.asarray(np.clip(clean + scale, -1, 1), dtype=np.float32)

    start, levels = plan_start(settings, draw, last)
    return np.asarray(solve(denoise, start, SOLVERS[settings.solver](levels)))


def test_a_policy_acts_in_one_pass_and_makes_no_plan(toy: Any) -> None:
    planner = Planner(toy, in_mode("policy"), adapter=np.linspace(0, 1, 10, dtype=np.float32))
    decision = planner.plan(LATENT, FIELD)
    assert decision.plan is None
    assert [graph for graph, _ in toy.loaded] == ["encoder", "policy"]
    logits = 4 * LATENT[:22] + np.resize(planner._adapter, 22)  # 22 bins, the first is "off"
    likely = np.exp(logits) / np.exp(logits).sum()
    expected = likely[1:] @ np.linspace(-20, 0, 21) / likely[1:].sum()
    assert decision.action == pytest.approx([expected], abs=1e-4)
    (call,) = toy.calls("policy")
    np.testing.assert_array_equal(call["in_mean_field"][0], FIELD)
    np.testing.assert_array_equal(call["in_adapter"], np.linspace(0, 1, 10, dtype=np.float32))


@pytest.mark.parametrize(("denoiser", "steps", "graphs"), PLANNED_BY)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("mode", PLANNING)
def test_a_mode_takes_the_plan_that_it_promises(
    toy: Any, mode: str, solver: str, denoiser: str, steps: int, graphs: list[str]
) -> None:
    chosen = in_mode(mode, solver=solver, steps=steps, denoiser=denoiser)
    decision = Planner(toy, chosen, seed=5).plan(LATENT, FIELD)
    count = 3 if "select" in mode else 1
    draw = np.random.default_rng(5).standard_normal((count, 4, 24), dtype=np.float32)
    plans = by_hand(chosen, draw, None)
    best = plans.mean(axis=(1, 2)).argmax()
    assert decision.plan is not None
    np.testing.assert_allclose(decision.plan.latents, plans[best], atol=1e-5)
    assert decision.plan.expected_return == pytest.approx(plans[best].mean(), abs=1e-5)
    probabilities = toy._head(plans, LATENT, FIELD)[1][best]
    expected = decode_actions(probabilities, toy.contract.actions)
    np.testing.assert_allclose(decision.action, expected, atol=1e-3)
    assert [graph for graph, _ in toy.loaded] == ["encoder", *graphs]


def test_selection_is_not_always_the_first_plan(toy: Any) -> None:
    """Else the test before would not tell the modes apart."""
    found = []
    for mode in ("none", "select"):
        planner = Planner(toy, in_mode(mode))
        found.append([plan_of(planner).expected_return for _ in range(8)])
    assert min(found[1]) > min(found[0])
    assert np.mean(found[1]) > np.mean(found[0])


@pytest.mark.parametrize("mode", MODES)
def test_one_plan_is_drawn_where_one_is_taken(toy: Any, mode: str) -> None:
    random, expected = np.random.default_rng(4), np.random.default_rng(4)
    Planner(toy, in_mode(mode), seed=random).plan(LATENT, FIELD)
    count = 0 if mode == "policy" else 3 if "select" in mode else 1
    expected.standard_normal((count, 4, 24), dtype=np.float32)
    assert random.bit_generator.state == expected.bit_generator.state


@pytest.mark.parametrize("mode", PLANNING)
def test_same_seed_same_decisions(toy: Any, mode: str) -> None:
    first, again, other = (decided(Planner(toy, in_mode(mode), seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("mode", PLANNING)
def test_temperature_0_leaves_nothing_to_chance(toy: Any, mode: str) -> None:
    cold = in_mode(mode, temperature=0.0)
    assert decided(Planner(toy, cold, seed=1)) == decided(Planner(toy, cold, seed=2))


@pytest.mark.parametrize("denoiser", DENOISERS)
@pytest.mark.parametrize("mode", PLANNING)
def test_warm_start_goes_on_from_the_plan_before(toy: Any, mode: str, denoiser: str) -> None:
    chosen = in_mode(mode, warm_start_level=0.4, steps=4, denoiser=denoiser)
    planner = Planner(toy, chosen, seed=3)
    random, count = np.random.default_rng(3), chosen.plans
    last = None
    for _ in range(3):
        plans = by_hand(chosen, random.standard_normal((count, 4, 24), dtype=np.float32), last)
        last = plans[plans.mean(axis=(1, 2)).argmax()]
        np.testing.assert_allclose(plan_of(planner).latents, last, atol=1e-5)


class SlowToy:
    """A clock that goes on by a second with every step, and by half of one with the head."""

    def __init__(self, toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(ways, "monotonic_s", lambda: self.now_s)
        for name, seconds in (
            ("_denoiser", 1.0),
            ("_head", 0.5),
        ):  # the first serves both denoisers
            self._slow(toy, name, seconds)

    def _slow(self, toy: Any, name: str, seconds: float) -> None:
        answer = getattr(toy, name)

        def slow(**inputs: FloatArray) -> Any:
            self.now_s += seconds
            return answer(**inputs)

        object.__setattr__(toy, name, slow)


@pytest.mark.parametrize("denoiser", DENOISERS)
def test_a_plan_is_cut_in_time_and_never_before_its_first_step(
    toy: Any, denoiser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SlowToy(toy, monkeypatch)
    graph = {"full": "denoiser"}.get(denoiser, denoiser.replace("-", "_"))
    planner = Planner(toy, in_mode("select", denoiser=denoiser, steps=5))

    def plan(time_s: float) -> tuple[int, bool, float]:
        """Return steps, whether it was cut, and how long it took, if there is so much time."""
        before, begun_s = len(toy.calls(graph)), clock.now_s
        decision = planner.plan(LATENT, FIELD, deadline_s=clock.now_s + time_s)
        assert decision.plan is not None
        return len(toy.calls(graph)) - before, decision.plan.cut, clock.now_s - begun_s

    assert plan(math.inf) == (5, False, 5.5)
    assert plan(5.5) == (5, False, 5.5)
    assert plan(5.4) == (4, True, 4.5)
    assert plan(2.5) == (2, True, 2.5)
    assert plan(2.4) == (1, True, 1.5)
    assert plan(-1.0) == (1, True, 1.5)


def test_cut_plans_are_counted_and_acted_on(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SlowToy(toy, monkeypatch)
    guarded = Ladder(Planner(toy, in_mode("select", steps=3)), Shield(toy.contract))
    for time_s, cut in ((math.inf, 0), (2.0, 1), (9.0, 1), (0.0, 2)):
        action = guarded.plan(LATENT, FIELD, deadline_s=clock.now_s + time_s)
        assert toy.contract.allows(action)
        assert guarded.plans_cut == cut
    assert guarded.failures == {}


def test_a_reset_forgets_the_plan_before(toy: Any) -> None:
    planner = Planner(toy, in_mode("none", temperature=0.0, warm_start_level=0.4, steps=4))
    cold, warm = plan_of(planner), plan_of(planner)
    planner.reset()
    assert not np.allclose(cold.latents, warm.latents)
    np.testing.assert_array_equal(plan_of(planner).latents, cold.latents)


def test_warm_up_leaves_no_plan(toy: Any) -> None:
    chosen = in_mode("guidance-select", temperature=0.0, warm_start_level=0.4)
    warmed, fresh = Planner(toy, chosen), Planner(toy, chosen)
    warmed.warm_up(2)
    assert decided(warmed) == decided(fresh)


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(MODES),
    st.lists(st.integers(0, 2), min_size=1, max_size=9),
    st.sampled_from([0.0, 0.4]),
)
def test_siblings_decide_as_planners_of_their_own_would(
    toy: Any, mode: str, order: list[int], warm_start_level: float
) -> None:
    """In whatever order the cells take their turns."""
    chosen = in_mode(mode, warm_start_level=warm_start_level)
    first = Planner(toy, chosen)
    first.plan(LATENT, FIELD)
    loaded = len(toy.loaded)
    siblings = [first.sibling(seed) for seed in range(3)]
    assert len(toy.loaded) == loaded
    alone = [Planner(toy, chosen, seed=seed) for seed in range(3)]
    for index in order:
        assert decided(siblings[index], 1) == decided(alone[index], 1)


def test_a_sibling_keeps_its_adapter_to_itself(toy: Any) -> None:
    first = Planner(toy, in_mode("policy"), adapter=np.full(10, 0.5, dtype=np.float32))
    second = first.sibling(0)
    second.plan(LATENT, FIELD)
    second.adopt(np.ones(10, dtype=np.float32))
    for planner in (first, second):
        planner.plan(LATENT, FIELD)
    adapters = [call["in_adapter"][0] for call in toy.calls("policy")]
    assert adapters == [0.5, 0.5, 1.0]


def test_the_policy_follows_the_adapter_and_plans_need_none(toy: Any) -> None:
    zeros = np.zeros(10, dtype=np.float32)
    for mode in MODES:
        base, same, other = (
            decided(Planner(toy, in_mode(mode), adapter=adapter))
            for adapter in (None, zeros, zeros + 0.2)
        )
        assert base == same
        if mode == "policy":
            assert (toy.calls("policy")[-1]["in_adapter"] == np.float32(0.2)).all()
        else:
            assert base == other


def test_adapter_of_another_size_is_refused(toy: Any) -> None:
    with pytest.raises(ValueError, match="adapter of shape"):
        Planner(toy, adapter=np.zeros(3, dtype=np.float32))


@pytest.mark.parametrize("mode", MODES)
def test_mask_decides_among_the_choices(hybrid_toy: Any, mode: str) -> None:
    planner = Planner(hybrid_toy, in_mode(mode, temperature=0.0))
    rising = np.linspace(-1, 1, 24, dtype=np.float32)
    for mask, user in (([1, 1, 1, 1], 3), ([1, 1, 0, 1], 3), ([1, 0, 1, 0], 2), ([1, 0, 0, 0], 0)):
        action = planner.plan(rising, FIELD, np.array(mask, dtype=np.bool_)).action
        assert action.dtype == np.float32
        assert action[0] == user
        assert action[2] == 2  # the free choice is not masked


@pytest.mark.parametrize("mode", MODES)
def test_the_loop_takes_the_decisions_of_every_mode(hybrid_toy: Any, mode: str) -> None:
    guarded = Ladder(Planner(hybrid_toy, in_mode(mode), seed=2), Shield(hybrid_toy.contract))
    expected = Planner(hybrid_toy, in_mode(mode), seed=2)
    mask = np.array([True, False, True, True])
    latent = guarded.encode(np.linspace(-90, 90, 6, dtype=np.float32))
    assert latent is not None
    for _ in range(3):
        action = guarded.plan(latent, FIELD, mask)
        np.testing.assert_array_equal(action, expected.plan(latent, FIELD, mask).action)
    assert guarded.failures == {}


def test_other_candidates_than_exported_are_a_clear_error(toy: Any) -> None:
    with pytest.raises(ConfigError, match="--candidates 999"):
        Planner(toy, in_mode("select", candidates=999))
    Planner(toy, in_mode("policy", candidates=999))


def test_the_distilled_denoiser_takes_any_number_of_candidates(toy: Any) -> None:
    for candidates in (1, 5):
        Planner(toy, in_mode("select", denoiser="distilled", candidates=candidates)).plan(
            LATENT, FIELD
        )
    assert [len(call["in_plan"]) for call in toy.calls("plan_2")] == [1, 5]


def test_a_bundle_brings_its_own_settings(toy: Any) -> None:
    recommended = replace(toy, planner={"mode": "select", "candidates": 3, "steps": 5})
    assert Planner(recommended).settings == PlannerSettings("select", steps=5, candidates=3)


def test_settings_name_every_bad_value() -> None:
    with pytest.raises(ConfigError) as raised:
        PlannerSettings(
            mode="fast", steps=0, candidates=0, temperature=-1, solver="euler", denoiser="slow"
        )
    assert len(raised.value.problems) == 6
    said = "mode = 'fast': expected one of policy, none, guidance, select, guidance-select"
    assert raised.value.problems[0] == said


def test_settings_survive_json_and_an_unknown_key_is_named() -> None:
    chosen = in_mode("guidance", warm_start_level=0.3)
    assert PlannerSettings.from_json(chosen.to_json()) == chosen
    with pytest.raises(TypeError, match="colour"):
        PlannerSettings.from_json({"colour": 1})


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle(SHIPPED, "power")


@pytest.mark.parametrize("denoiser", [one for one in DENOISERS if one != "distilled-fp16"])
@pytest.mark.parametrize("mode", MODES)
def test_shipped_bundle_decides_in_every_mode(shipped: Bundle, mode: str, denoiser: str) -> None:
    chosen = {**shipped.planner, "mode": mode, "denoiser": denoiser}
    planner = Planner(shipped, PlannerSettings.from_json(chosen))
    low = [feature.low for feature in shipped.contract.features]
    high = [feature.high for feature in shipped.contract.features]
    random = np.random.default_rng(0)
    field = np.zeros(shipped.contract.mean_field_size, dtype=np.float32)
    actions = []
    for _ in range(6):
        latent = planner.encode(random.uniform(low, high).astype(np.float32))
        assert np.abs(latent).max() <= 1
        decision = planner.plan(latent, field)
        assert shipped.contract.allows(decision.action)
        assert decision.plan is None or np.abs(decision.plan.latents).max() <= 1.0001
        actions.append(float(decision.action[0]))
    assert np.std(actions) > 0


def test_the_base_model_comes_back_bit_by_bit(shipped: Bundle) -> None:
    planner = Planner(shipped, in_mode("policy"))
    latent, field = np.full(32, 0.3, np.float32), np.full(17, 0.1, np.float32)
    (before,) = planner.plan(latent, field).action
    planner.adopt(np.linspace(-1, 1, shipped.adapter_size).astype(np.float32))
    assert planner.plan(latent, field).action[0] != before
    planner.adopt(np.zeros(shipped.adapter_size, dtype=np.float32))
    assert planner.plan(latent, field).action[0].tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("chosen", "rungs"),
    [
        ({"mode": "policy"}, []),
        ({"denoiser": "distilled", "steps": 1}, ["policy"]),
        ({"denoiser": "distilled-int8", "steps": 2}, ["short-plan", "policy"]),
        ({"denoiser": "full", "steps": 1}, ["short-plan", "policy"]),
        ({"denoiser": "full", "steps": 10}, ["short-plan", "policy"]),
    ],
)
def test_what_stands_below_a_planner_acts_and_follows_it(
    shipped: Bundle, chosen: dict[str, Any], rungs: list[str]
) -> None:
    planner = Planner(shipped, PlannerSettings(**chosen))
    planner.add_fallbacks(shipped)
    assert [lower.rung for lower in planner.fallbacks] == rungs
    adapter = np.linspace(-1, 1, shipped.adapter_size).astype(np.float32)
    planner.adopt(adapter)
    planner.warm_up(1)
    latent, field = np.full(32, 0.3, np.float32), np.full(17, 0.1, np.float32)
    for lower in planner.fallbacks:
        assert shipped.contract.allows(lower.plan(latent, field).action)
        assert (lower._adapter == adapter).all()
        assert (lower.settings.steps == 1) == (lower.rung == "short-plan" or chosen["steps"] == 1)
    other = planner.sibling(0)
    assert [lower.rung for lower in other.fallbacks] == rungs
    other.adopt(np.zeros_like(adapter))
    assert all((lower._adapter == adapter).all() for lower in planner.fallbacks)
