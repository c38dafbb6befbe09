"""The planner on the shipped bundle: reproducible, within range, and sensitive to what it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import ConfigError
from networld_runtime.levels import signal
from networld_runtime.planner import Planner, PlannerSettings

SHIPPED = Path(__file__).parents[2] / "bundles" / "power"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(SHIPPED, "power")


def observations(bundle: Bundle, count: int) -> FloatArray:
    random = np.random.default_rng(0)
    low = [feature.low for feature in bundle.contract.features]
    high = [feature.high for feature in bundle.contract.features]
    return random.uniform(low, high, (count, len(low))).astype(np.float32)


def decide(bundle: Bundle, planner: Planner, count: int = 6) -> list[float]:
    field = np.zeros(bundle.contract.mean_field_size, dtype=np.float32)
    latents = [planner.encode(values) for values in observations(bundle, count)]
    return [float(planner.plan(latent, field).action[0]) for latent in latents]


def test_same_seed_same_decisions(bundle: Bundle) -> None:
    first, again, other = (decide(bundle, Planner(bundle, seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_actions_and_latents_stay_within_range(bundle: Bundle) -> None:
    planner = Planner(bundle)
    for action in decide(bundle, planner, 30):
        assert action == -40 or -30 <= action <= 0
    extreme = np.full(bundle.contract.observation_size, 1e30, dtype=np.float32)
    assert np.abs(planner.encode(extreme)).max() <= 1


@pytest.mark.parametrize("solver", ["ddim", "dpm_solver"])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_any_number_of_steps_runs(bundle: Bundle, solver: str, steps: int) -> None:
    settings = PlannerSettings.from_json({**bundle.planner, "steps": steps, "solver": solver})
    decision = Planner(bundle, settings).plan(
        np.zeros(bundle.contract.latent_size, dtype=np.float32),
        np.zeros(bundle.contract.mean_field_size, dtype=np.float32),
    )
    assert decision.plan.shape == (bundle.contract.horizon, bundle.contract.latent_size)
    assert np.abs(decision.plan).max() <= 1.0001


def test_zero_adapter_is_the_base_and_another_changes_the_return(bundle: Bundle) -> None:
    latent = np.zeros(bundle.contract.latent_size, dtype=np.float32)
    field = np.zeros(bundle.contract.mean_field_size, dtype=np.float32)
    zeros = np.zeros(bundle.adapter_size, dtype=np.float32)
    base = Planner(bundle, seed=1).plan(latent, field)
    same = Planner(bundle, seed=1, adapter=zeros).plan(latent, field)
    other = Planner(bundle, seed=1, adapter=zeros + 0.05).plan(latent, field)
    assert np.array_equal(base.plan, same.plan)
    assert base.expected_return != other.expected_return


def test_adapter_of_another_size_is_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="adapter of shape"):
        Planner(bundle, adapter=np.zeros(3, dtype=np.float32))


def test_warm_start_uses_the_shifted_plan_and_reset_forgets_it(bundle: Bundle) -> None:
    settings = PlannerSettings.from_json(
        {**bundle.planner, "warm_start_level": 0.4, "temperature": 0.0, "steps": 4}
    )
    planner = Planner(bundle, settings)
    latent = np.full(bundle.contract.latent_size, 0.2, dtype=np.float32)
    field = np.zeros(bundle.contract.mean_field_size, dtype=np.float32)
    cold = planner.plan(latent, field)
    warm = planner.plan(latent, field)
    planner.reset()
    again = planner.plan(latent, field)
    assert np.array_equal(cold.plan, again.plan)
    assert not np.array_equal(cold.plan, warm.plan)


def test_more_candidates_than_exported_is_a_clear_error(bundle: Bundle) -> None:
    settings = replace(PlannerSettings.from_json(bundle.planner), candidates=999)
    with pytest.raises(ConfigError, match="--candidates 999"):
        Planner(bundle, settings)


def test_settings_name_every_bad_value() -> None:
    with pytest.raises(ConfigError) as raised:
        PlannerSettings(steps=0, candidates=0, temperature=-1, solver="euler")
    assert len(raised.value.problems) == 4


def test_warm_up_leaves_no_trace(bundle: Bundle) -> None:
    planner = Planner(bundle)
    planner.warm_up(2)
    assert planner._previous is None


def test_warm_start_begins_one_slot_ahead_at_its_level(bundle: Bundle) -> None:
    settings = PlannerSettings.from_json(
        {**bundle.planner, "warm_start_level": 0.4, "temperature": 0.0}
    )
    planner = Planner(bundle, settings)
    latent = np.full(bundle.contract.latent_size, 0.2, dtype=np.float32)
    last = planner.plan(latent, np.zeros(bundle.contract.mean_field_size, dtype=np.float32)).plan
    start, levels = planner._start()
    assert levels[0] == 0.4
    expected = signal(0.4) * np.concatenate([last[1:], last[-1:]])
    np.testing.assert_allclose(start, np.broadcast_to(expected, start.shape), atol=1e-6)


class Fixed(Bundle):
    """A bundle whose graphs always answer the same; of two plans the second has the better return."""

    def session(self, graph: str) -> Any:
        plans = np.zeros((2, self.contract.horizon, self.contract.latent_size), dtype=np.float32)
        actions = np.zeros((2, self.contract.action_size), dtype=np.float32)
        actions[0, [0, 4, 17]] = 1
        # the second user is likeliest, then the third; 5 dB; deep sleep
        actions[1, [1, 2, 3, 4 + 11, 19]] = 0.5, 0.4, 0.1, 1, 1
        answers = {
            "denoiser": (plans,),
            "head": (np.array([1.0, 2.0], dtype=np.float32), actions),
        }
        return SimpleNamespace(run=lambda **_: answers[graph])


def test_mask_decides_among_the_choices_of_the_best_plan(hybrid: Contract, tmp_path: Path) -> None:
    planner = Planner(Fixed(tmp_path, "fixed", "", hybrid, 2, 0, {}, 8, {"candidates": 2}, {}))
    latent, field = np.zeros(16, dtype=np.float32), np.zeros(17, dtype=np.float32)
    for mask, user in ((None, 1), ([1, 1, 1, 1], 1), ([1, 0, 1, 1], 2), ([1, 0, 0, 1], 3)):
        possible = None if mask is None else np.array(mask, dtype=np.bool_)
        action = planner.plan(latent, field, possible).action
        assert action.dtype == np.float32
        np.testing.assert_allclose(action, [user, 5, 2], atol=1e-5)
