"""Where denoising begins: noise, or what was planned before, one slot further on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.plan_start import plan_start
from networld_runtime.planner_settings import PlannerSettings

DRAW = np.random.default_rng(0).standard_normal((2, 5, 3, 4, 6)).astype(np.float32)
LAST = np.random.default_rng(1).uniform(-1, 1, (2, 5, 4, 6)).astype(np.float32)


def test_without_a_last_plan_denoising_begins_with_noise() -> None:
    settings = PlannerSettings(steps=4, temperature=0.5, warm_start_level=0.4)
    start, levels = plan_start(settings, DRAW, None)
    np.testing.assert_array_equal(start, 0.5 * DRAW)
    assert levels == pytest.approx([0.98, 0.735, 0.49, 0.245, 0])


def test_level_0_never_uses_the_last_plan() -> None:
    start, levels = plan_start(PlannerSettings(steps=1), DRAW, LAST)
    np.testing.assert_array_equal(start, DRAW)
    assert levels == [0.98, 0]


@pytest.mark.parametrize(("steps", "warm"), [(1, 1), (2, 1), (5, 2), (8, 4)])
def test_a_warm_start_has_half_the_steps_from_its_level(steps: int, warm: int) -> None:
    settings = PlannerSettings(steps=steps, warm_start_level=0.4)
    _, levels = plan_start(settings, DRAW, LAST)
    assert levels == pytest.approx([0.4 * (1 - step / warm) for step in range(warm + 1)])


@given(st.integers(0, 1), st.integers(0, 4), st.integers(0, 2), st.floats(0.01, 0.99))
def test_a_warm_start_is_the_last_plan_a_slot_on_and_noised(
    episode: int, cell: int, candidate: int, level: float
) -> None:
    """Of many cells at once each begins with its own last plan."""
    settings = PlannerSettings(temperature=0.7, warm_start_level=level)
    start, _ = plan_start(settings, DRAW, LAST)
    assert start.dtype == np.float32
    clean, noise = math.cos(math.pi * level / 2), math.sin(math.pi * level / 2)
    for latent, source in enumerate((1, 2, 3, 3)):
        expected = (
            clean * LAST[episode, cell, source]
            + noise * 0.7 * DRAW[episode, cell, candidate, latent]
        )
        found = start[episode, cell, candidate, latent]
        np.testing.assert_allclose(found, expected, atol=1e-6)
