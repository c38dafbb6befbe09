"""How the cells of the sleep task depend on each other: whose users would need how much of whom.

A user that cannot be served by the cell that it receives best is handed over to the one that it receives
second best. What it would need there is estimated with all other cells at half load.
"""

from __future__ import annotations

import numpy as np

from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import spectral_efficiency
from networld_training.radio.load import take_out
from networld_training.tasks.sleep.observation import LOWEST_EFFICIENCY

TYPICAL_LOAD = 0.5


def handover_shares(gain: FloatArray, strongest: IntArray, demand: FloatArray) -> FloatArray:
    """Return the share of a slot that users of each cell would need of each other one, `[E, K, K]`.

    Args:
        gain: Gains at full power over the noise `[E, U, K]`.
        strongest: The best cell of each user, awake or not `[E, U]`.
        demand: Demand of each user over the bandwidth, b/s/Hz `[E, U]`.

    Returns:
        From the users' best cell (middle axis) to their second best (last axis).
    """
    episodes, _, cells = gain.shape
    others = np.array(gain, order="C")
    take_out(others, strongest)
    second = np.argmax(others, axis=-1)
    signal = take_out(others, second)
    efficiency = spectral_efficiency(signal / (TYPICAL_LOAD * others.sum(axis=-1) + 1))
    share = demand / np.maximum(efficiency, LOWEST_EFFICIENCY)
    pair = strongest * cells + second + cells * cells * np.arange(episodes)[:, None]
    total = np.bincount(pair.ravel(), share.ravel(), minlength=episodes * cells * cells)
    return np.asarray(total, dtype=np.float64).reshape(episodes, cells, cells)


def of_neighbours(shares: FloatArray, neighbours: IntArray) -> FloatArray:
    """Return shares `[E, K, K]` of a cell's users at each neighbour, and of theirs at it, `[E, K, 6, 2]`."""
    cell = np.arange(len(neighbours))[:, None]
    return np.stack([shares[:, cell, neighbours], shares[:, neighbours, cell]], axis=-1)
