"""Robust averages with intervals: interquartile means and a stratified, paired bootstrap.

After Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice" (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networld_training.radio.arrays import FloatArray, IntArray

RESAMPLES = 5000
CONFIDENCE = 0.95
# Keeps what is resampled apart from everything else that is drawn from a small seed.
SEED_DOMAIN = 0x626F6F74
# Indices that are drawn at a time: bounds memory.
_BLOCK = 500_000


@dataclass(frozen=True)
class Estimate:
    """A value and its interval of 95 % confidence."""

    value: float
    low: float
    high: float


def interquartile_mean(values: npt.ArrayLike) -> FloatArray:
    """Return the mean of the middle half of the last axis, `[...]` from `[..., E]`.

    A quarter of the values, rounded down, is cut off at each end, as `scipy.stats.trim_mean` does, which
    is several times slower.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    count = ordered.shape[-1]
    return np.asarray(ordered[..., count // 4 : count - count // 4].mean(axis=-1))


def improvement_probability(difference: npt.ArrayLike) -> FloatArray:
    """Return the share of the last axis above 0, and half of that at 0, `[...]` from `[..., E]`."""
    difference = np.asarray(difference)
    return np.asarray(((difference > 0) + 0.5 * (difference == 0)).mean(axis=-1))


def bootstrap(
    statistic: Callable[[IntArray], FloatArray],
    strata: Sequence[int],
    seed: int,
    resamples: int = RESAMPLES,
) -> FloatArray:
    """Return a statistic of resampled episodes, `[..., resamples]`.

    Episodes are drawn with replacement within their stratum, so that each network keeps its share. An
    episode that is alone in its stratum could only be replaced by itself: where there is one, all
    episodes are a single stratum. The same seed and strata draw the same episodes.

    Args:
        statistic: Maps indices of episodes `[B, E]` to the statistic of each row, `[..., B]`.
        strata: Stratum of each episode `[E]`.
        seed: Seed of the draws.
        resamples: How often the episodes are drawn.
    """
    random = np.random.default_rng((SEED_DOMAIN, seed))
    members = _members(strata)
    rows = max(1, _BLOCK // len(strata))
    blocks = []
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = [each[random.integers(len(each), size=(count, len(each)))] for each in members]
        blocks.append(statistic(np.concatenate(drawn, axis=-1)))
    return np.concatenate(blocks, axis=-1)


def interval(samples: FloatArray) -> tuple[float, float]:
    """Return the percentile interval of a resampled statistic `[B]`."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def _members(strata: Sequence[int]) -> list[IntArray]:
    """Return the episodes of each stratum."""
    names, counts = np.unique(np.asarray(strata), return_counts=True)
    if counts.min() < 2:
        return [np.arange(len(strata))]
    return [np.nonzero(np.asarray(strata) == name)[0] for name in names]
