"""What cells tell each other in the simulator: int8 values, one slot late, and their average.

The hand-made message of a task is what rules and learned baselines may use; the world model learns its
own. Both pay the same price: quantised, averaged by the receiver, and known one slot later.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import Feature
from networld_runtime.mesh.message import dequantise, quantise
from networld_training.radio.arrays import FloatArray, IntArray


def as_received(told: FloatArray, features: Sequence[Feature]) -> FloatArray:
    """Return what arrives of told values `[..., M]` after int8 quantisation over their ranges.

    NaN means that a cell does not tell an entry, for lack of a user say; it stays NaN.
    """
    low = np.array([feature.low for feature in features])
    high = np.array([feature.high for feature in features])
    silent = np.isnan(told)
    scaled = np.where(silent, 0.0, 2 * (told - low) / (high - low) - 1)
    steps = dequantise(quantise(scaled)).astype(np.float64)
    return np.where(silent, np.nan, low + (steps + 1) / 2 * (high - low))


def heard(received: FloatArray, neighbours: IntArray) -> FloatArray:
    """Return what each cell heard of each neighbour, `[E, K, n, M]`, from `[E, K, M]`."""
    return np.asarray(received[:, neighbours])


def mean_field(received: FloatArray, neighbours: IntArray) -> FloatArray:
    """Return the average over the neighbours that told an entry `[E, K, M]`; NaN if none did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN, as wanted
        return np.asarray(np.nanmean(heard(received, neighbours), axis=2))


def filled(field: FloatArray, features: Sequence[Feature]) -> FloatArray:
    """Return a mean field with the lowest value of its range where nobody told an entry."""
    return np.where(np.isnan(field), [feature.low for feature in features], field)
