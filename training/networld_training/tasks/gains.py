"""Gains between cells and the users that matter in a slot, as cells measure them by reciprocity."""

from __future__ import annotations

import numpy as np

from networld_training.radio.arrays import BoolArray, FloatArray, IntArray


def leakage(gain: FloatArray, active: BoolArray, neighbours: IntArray) -> FloatArray:
    """Return how strongly cells reach the users of their neighbours at full power, `[E, K, 6]`.

    Args:
        gain: Gains from cell (last axis) to the one user of each cell that matters `[E, K, K]`.
        active: Whether a cell has such a user; the leakage to none is 0 `[E, K]`.
        neighbours: Neighbours of each cell `[K, 6]`.
    """
    sources = np.arange(len(neighbours))[:, None]
    return np.asarray(gain[:, neighbours, sources] * active[:, neighbours])


def disturbance(gain: FloatArray, active: BoolArray, neighbours: IntArray) -> FloatArray:
    """Return how strongly its neighbours reach the user of a cell at full power, `[E, K, 6]`.

    Args:
        gain: Gains from cell (last axis) to the one user of each cell that matters `[E, K, K]`.
        active: Whether a cell has such a user; what reaches none is 0 `[E, K]`.
        neighbours: Neighbours of each cell `[K, 6]`.
    """
    receivers = np.arange(len(neighbours))[:, None]
    return np.asarray(gain[:, receivers, neighbours] * active[..., None])


def strongest(values: FloatArray, count: int) -> FloatArray:
    """Return the largest entries of the last axis, largest first, `[..., count]`."""
    return np.sort(values, axis=-1)[..., : -count - 1 : -1]
