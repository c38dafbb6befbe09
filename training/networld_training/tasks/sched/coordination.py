"""Which cells transmit and to whom, decided together: MaxWeight with greedy removal of cells."""

from __future__ import annotations

import numpy as np

from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.radio.link import spectral_efficiency


def coordinated(gain: FloatArray, backlog: FloatArray) -> IntArray:
    """Return the place of the user that each cell serves `[E, K]`, -1 for a silent cell.

    All cells that have backlog start with the first user of their list. The cell whose silence raises
    the sum of backlog times served rate most is removed, again and again until none does. Then every cell
    picks the user that is best beside the cells that are left, and the removal starts afresh.

    Args:
        gain: Gains of the users on the lists from all cells at full power over noise `[E, K, N, K]`.
        backlog: What waits for them, in the slot's b/s/Hz; 0 where there is no user `[E, K, N]`.
    """
    waiting = backlog.max(axis=-1) > 0
    first = np.zeros(waiting.shape, dtype=np.int64)
    active = _remove(*_chosen(gain, backlog, first), waiting)
    best = np.argmax(_weighted_rates(gain, backlog, active), axis=-1)
    active = _remove(*_chosen(gain, backlog, best), waiting)
    return np.where(active, best, -1)


def _chosen(
    gain: FloatArray, backlog: FloatArray, place: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Return gains `[E, K, K]` and backlogs `[E, K]` of the users at a place on the lists."""
    of_user = np.take_along_axis(gain, place[..., None, None], axis=2)[:, :, 0]
    return of_user, np.take_along_axis(backlog, place[..., None], axis=-1)[..., 0]


def _weighted_rates(gain: FloatArray, backlog: FloatArray, active: BoolArray) -> FloatArray:
    """Return backlog times rate of every user, if its cell joined the active ones `[E, K, N]`."""
    own = np.arange(gain.shape[1])
    signal = gain[:, own, :, own].swapaxes(0, 1)
    others = (gain @ active[:, None, :, None].astype(np.float64))[..., 0]
    interference = np.maximum(others - signal * active[..., None], 0.0)
    rate = spectral_efficiency(signal / (interference + 1))
    return np.asarray(backlog * np.minimum(rate, backlog))


def _remove(gain: FloatArray, backlog: FloatArray, waiting: BoolArray) -> BoolArray:
    """Return the cells `[E, K]` that are left when none is worth removing."""
    active = np.array(waiting)
    cells = active.shape[1]
    total = _total(gain, backlog, active[:, None])[:, 0]
    pending = np.arange(len(active))
    for _ in range(cells - 1):
        trial = active[pending, None] & ~np.eye(cells, dtype=np.bool_)
        without = _total(gain[pending], backlog[pending], trial)
        cell = np.argmax(without, axis=-1)
        best = np.take_along_axis(without, cell[:, None], axis=-1)[:, 0]
        better = best > total[pending]
        pending, cell = pending[better], cell[better]
        if not len(pending):
            break
        active[pending, cell] = False
        total[pending] = best[better]
    return active


def _total(gain: FloatArray, backlog: FloatArray, active: BoolArray) -> FloatArray:
    """Return the sums of backlog times rate `[E, R]` for R sets of active cells `[E, R, K]`."""
    on = active.astype(np.float64)
    signal = np.diagonal(gain, axis1=1, axis2=2)[:, None]
    interference = np.maximum(on @ gain.swapaxes(1, 2) - signal * on, 0.0)
    rate = spectral_efficiency(signal / (interference + 1))
    weighted = backlog[:, None] * np.minimum(rate, backlog[:, None])
    return np.asarray((weighted * on).sum(axis=-1))
