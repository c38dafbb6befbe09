"""Averages and intervals: by hand, by their properties, and by how often they hold the truth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats  # type: ignore[import-untyped]

from networld_training.evaluation.statistics import (
    bootstrap,
    improvement_probability,
    interquartile_mean,
    interval,
)
from networld_training.radio.arrays import FloatArray, IntArray

VALUES = arrays(np.float64, st.integers(1, 30), elements=st.floats(-100, 100))


def drawn_episodes(episodes: IntArray) -> FloatArray:
    """Return the draws themselves, as bootstrap's statistics are shaped."""
    return episodes.T.astype(np.float64)


@pytest.mark.parametrize(
    ("values", "mean"),
    [
        ([7.0], 7.0),
        ([1.0, 3.0], 2.0),
        ([0.0, 1.0, 100.0], 101 / 3),  # a quarter of three is less than one: nothing is cut
        ([0.0, 1.0, 3.0, 100.0], 2.0),
        ([-50.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 900.0], 3.5),  # two are cut at each end
    ],
)
def test_interquartile_mean_by_hand(values: list[float], mean: float) -> None:
    assert interquartile_mean(values) == pytest.approx(mean)
    assert interquartile_mean([values[::-1]] * 2) == pytest.approx([mean] * 2)


@given(VALUES, st.floats(-50, 50), st.floats(0.1, 10))
@settings(max_examples=30, deadline=None)
def test_interquartile_mean_moves_and_scales_with_its_values(
    values: npt.NDArray[np.float64], shift: float, scale: float
) -> None:
    mean = interquartile_mean(values)
    assert values.min() - 1e-9 <= mean <= values.max() + 1e-9
    assert interquartile_mean(scale * values + shift) == pytest.approx(scale * mean + shift)


@given(VALUES)
@settings(max_examples=30, deadline=None)
def test_improvement_and_its_opposite_are_certain_together(
    difference: npt.NDArray[np.float64],
) -> None:
    both = improvement_probability(difference) + improvement_probability(-difference)
    assert both == pytest.approx(1)


@given(VALUES)
@settings(max_examples=30, deadline=None)
def test_interquartile_mean_is_scipys_trimmed_mean(values: npt.NDArray[np.float64]) -> None:
    assert interquartile_mean(values) == pytest.approx(stats.trim_mean(values, 0.25), abs=1e-9)


def test_improvement_by_hand() -> None:
    assert improvement_probability([1.0, 0.0, 0.0, -2.0, 3.0]) == pytest.approx(3 / 5)


def test_episodes_are_drawn_within_their_stratum() -> None:
    strata = np.array([0, 1, 2] * 4)
    drawn = bootstrap(drawn_episodes, strata.tolist(), 0, 200).astype(np.int64)
    assert drawn.shape == (12, 200)
    counts = [(strata[drawn] == name).sum(axis=0) for name in range(3)]
    assert (np.array(counts) == 4).all()
    assert len(np.unique(drawn)) == 12


def test_an_episode_alone_in_its_stratum_is_drawn_with_the_others() -> None:
    drawn = bootstrap(drawn_episodes, [0, 1, 2], 0, 200)
    assert all(len(np.unique(place)) == 3 for place in drawn)


def test_the_same_seed_draws_the_same_episodes() -> None:
    first, again, other = (bootstrap(drawn_episodes, [0] * 9, seed, 50) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_many_episodes_are_drawn_in_blocks() -> None:
    values = np.arange(200_000.0)
    means = bootstrap(lambda episodes: values[episodes].mean(axis=-1), [0] * len(values), 0, 6)
    assert means.shape == (6,)
    assert means == pytest.approx(values.mean(), rel=0.01)


def test_interval_is_that_of_the_percentiles() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25, 975))


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    truth = 5.0  # the interquartile mean of a symmetric distribution is its centre
    held = 0
    for trial in range(200):
        values = random.normal(truth, 2.0, size=40)
        low, high = interval(
            bootstrap(lambda drawn, v=values: interquartile_mean(v[drawn]), [0] * 40, trial, 400)  # type: ignore[misc]
        )
        held += low <= truth <= high
    assert 0.90 <= held / 200 <= 0.98


def test_strata_narrow_the_interval_when_networks_differ() -> None:
    random = np.random.default_rng(1)
    strata = np.arange(40) % 4
    values = 10.0 * strata + random.normal(size=40)

    def width(groups: list[int]) -> float:
        low, high = interval(bootstrap(lambda drawn: values[drawn].mean(axis=-1), groups, 0, 500))
        return high - low

    assert width(strata.tolist()) < 0.3 * width([0] * 40)
