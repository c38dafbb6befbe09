"""The planner on the shipped bundle: reproducible, within range, and sensitive to what it should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import FloatArray
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
