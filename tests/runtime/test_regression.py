"""A cell notices that it does worse by a new adapter, and only then."""

from __future__ import annotations

import math

import numpy as np
import pytest

from networld_runtime.regression import LOOKS, WINDOW, RegressionWatch

RANDOM = np.random.default_rng(0)


def slots(mean: float, count: int) -> list[float]:
    """Utilities that wander, as traffic does."""
    wander = np.convolve(RANDOM.normal(size=count + 15), np.ones(16) / 4, "valid")
    return list(mean + wander)


def added(watch: RegressionWatch, utilities: list[float]) -> list[bool]:
    return [watch.add(one) for one in utilities]


def test_a_fall_is_noticed_once() -> None:
    watch = RegressionWatch()
    assert not any(added(watch, slots(10, WINDOW)))
    watch.adopted()
    noticed = added(watch, slots(6, 2 * WINDOW))
    assert noticed.index(True) == WINDOW - 1
    assert sum(noticed) == 1
    assert not watch.watching


@pytest.mark.parametrize("gain", [0.0, 2.0])
def test_what_is_no_worse_is_left_alone(gain: float) -> None:
    taken_back = 0
    for _ in range(50):
        watch = RegressionWatch()
        added(watch, slots(10, WINDOW))
        watch.adopted()
        taken_back += any(added(watch, slots(10 + gain, LOOKS * WINDOW)))
        assert not watch.watching
    assert taken_back <= 3  # by chance


def test_without_enough_slots_before_there_is_no_trial() -> None:
    watch = RegressionWatch()
    added(watch, slots(10, WINDOW - 1))
    watch.adopted()
    assert not watch.watching
    assert not any(added(watch, slots(-50, 3 * WINDOW)))


def test_a_trial_ends_when_it_is_told_to() -> None:
    watch = RegressionWatch()
    added(watch, slots(10, WINDOW))
    watch.adopted()
    watch.forget()
    assert not any(added(watch, slots(-50, 3 * WINDOW)))


def test_what_is_no_number_counts_for_nothing() -> None:
    watch = RegressionWatch()
    added(watch, slots(10, WINDOW))
    watch.adopted()
    assert not any(added(watch, [math.nan, math.inf, -math.inf] * WINDOW))
    assert watch.watching


def test_constant_utilities_are_no_fall() -> None:
    watch = RegressionWatch()
    added(watch, [1.0] * WINDOW)
    watch.adopted()
    assert not any(added(watch, [1.0] * (LOOKS * WINDOW)))
