"""What a cell of the scheduling task can measure, as the features of the interface.

The rates and the gains of its first user come from that user's reports on reference signals, the
interference from its last slot. Before it decides, each cell has the first user of its list sound;
the neighbours hear it as strongly as they would reach it (reciprocity in TDD): the leakage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.tasks.gains import strongest
from networld_training.tasks.sched.contract import (
    FLOOR_DB,
    LISTED,
    LOWEST_RATE,
    MEGABIT,
    STRONGEST,
)

# Which of gain, interference, leakage (4) and incoming gains (4) are of the own first user.
_OF_FIRST_USER = np.array([True] * 2 + [False] * (1 + STRONGEST) + [True] * (1 + STRONGEST))


@dataclass
class Measurements:
    """One slot before the cells act. Gains are at full power over the noise, linear.

    A list holds the users of a cell, those with the largest backlog times estimated rate first, then
    those without backlog; users beyond the eighth are not in it.

    Attributes:
        user: Users on the lists `[E, K, 8]`, 0 where there is none.
        present: Whether there is a user `[E, K, 8]`.
        backlog_bits: Bits that wait, a whole number, 0 where there is no user `[E, K, 8]`.
        head_age: Slots that the oldest file has waited `[E, K, 8]`.
        rate: Estimated rate in the interference of the last slot, b/s/Hz `[E, K, 8]`.
        average_rate: Exponential average of the rate, b/s/Hz `[E, K, 8]`.
        attached: Number of users of each cell `[E, K]`.
        cell_bits: Bits that wait for all users of a cell `[E, K]`.
        waiting: Whether the first user of the list has backlog `[E, K]`.
        gain: From cell (last axis) to the first user of each list `[E, K, K]`.
        interference: Interference and noise of the first user in the last slot `[E, K]`.
        leakage: From a cell to its neighbours' first users, 0 to none `[E, K, 6]`.
    """

    user: IntArray
    present: BoolArray
    backlog_bits: FloatArray
    head_age: FloatArray
    rate: FloatArray
    average_rate: FloatArray
    attached: IntArray
    cell_bits: FloatArray
    waiting: BoolArray
    gain: FloatArray
    interference: FloatArray
    leakage: FloatArray

    @property
    def signal(self) -> FloatArray:
        """Gain from a cell to its own first user `[E, K]`."""
        return np.asarray(np.diagonal(self.gain, axis1=1, axis2=2))

    @property
    def incoming(self) -> FloatArray:
        """Gains from all other cells to a cell's first user, summed `[E, K]`."""
        return np.asarray(np.maximum(self.gain.sum(axis=-1) - self.signal, 0.0))


def ranked_users(
    serving_cell: IntArray, key: FloatArray, cells: int
) -> tuple[IntArray, BoolArray, IntArray]:
    """Return the users of each cell, highest key first, and how many there are.

    Args:
        serving_cell: Cell of each user `[E, U]`.
        key: What they are sorted by `[E, U]`.
        cells: Number of cells K.

    Returns:
        Users on the lists `[E, K, 8]`, whether there is one `[E, K, 8]`, and users of a cell `[E, K]`.
    """
    episodes = len(key)
    order = np.lexsort((-key, serving_cell), axis=-1)
    flat = serving_cell + cells * np.arange(episodes)[:, None]
    attached = np.bincount(flat.ravel(), minlength=episodes * cells).reshape(episodes, cells)
    start = np.cumsum(attached, axis=-1) - attached
    position = np.arange(LISTED)
    present = position < attached[..., None]
    place = np.where(present, start[..., None] + position, 0).reshape(episodes, -1)
    listed = np.take_along_axis(order, place, axis=-1)
    return np.where(present, listed.reshape(present.shape), 0), present, attached


def observed(measured: Measurements, last: FloatArray) -> npt.NDArray[np.float32]:
    """Return the features `[E, K, D]`; a cell without backlog shows floors for its first user.

    Args:
        measured: The present slot.
        last: Whether each cell transmitted in the last slot, and at what rate `[E, K, 2]`.
    """
    own = np.arange(measured.attached.shape[1])
    per_user = np.stack(
        [
            np.log(1 + measured.backlog_bits / MEGABIT),
            np.log(1 + measured.head_age),
            measured.rate,
            np.log(np.maximum(measured.average_rate, LOWEST_RATE)),
        ],
        axis=-1,
    )
    incoming = np.array(measured.gain)
    incoming[:, own, own] = 0.0
    first_user = np.concatenate(
        [
            measured.signal[..., None],
            measured.interference[..., None],
            measured.leakage.sum(axis=-1, keepdims=True),
            strongest(measured.leakage, STRONGEST),
            measured.incoming[..., None],
            strongest(incoming, STRONGEST),
        ],
        axis=-1,
    )
    # The leakage does not concern the own first user: it is known without one.
    idle = np.where(_OF_FIRST_USER, 10 ** (FLOOR_DB / 10), first_user)
    idle[..., 1] = 1.0
    first_user = np.where(measured.waiting[..., None], first_user, idle)
    return np.concatenate(
        [
            per_user.reshape(*measured.attached.shape, -1),
            measured.attached[..., None],
            (measured.backlog_bits > 0).sum(axis=-1, keepdims=True),
            np.log(1 + measured.cell_bits / MEGABIT)[..., None],
            _db(first_user),
            last,
        ],
        axis=-1,
        dtype=np.float32,
    )


def sched_message(measured: Measurements, last: FloatArray) -> FloatArray:
    """Return what the cells tell in this slot, `[E, K, 5]` as `SCHED_SPEC.message` names it.

    Backlog, direct gain and incoming gains of the first user are what a neighbour needs to know what
    its interference would cost there.
    """
    first_user = np.stack(
        [
            np.log(1 + measured.backlog_bits[..., 0] / MEGABIT),
            _db(measured.signal),
            _db(measured.incoming),
        ],
        axis=-1,
    )
    return np.concatenate(
        [
            np.where(measured.waiting[..., None], first_user, np.nan),
            np.log(1 + measured.cell_bits / MEGABIT)[..., None],
            last[..., :1],
        ],
        axis=-1,
    )


def _db(linear: FloatArray) -> FloatArray:
    return np.asarray(10 / np.log(10) * np.log(np.maximum(linear, 10 ** (FLOOR_DB / 10))))
