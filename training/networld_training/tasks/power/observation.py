"""What a cell of the power task can measure, as the features of the contract.

The direct gain and the incoming gains come from the scheduled user's reports on reference signals,
the margins from its mobility reports, and the leakage from the sounding of the users that the
neighbours scheduled, which a cell hears as strongly as it would reach them (reciprocity in TDD).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.tasks.gains import strongest
from networld_training.tasks.power.contract import FLOOR_DB, HISTORY, SHOWN_OFF_DB, STRONGEST

# Chosen among six values on 64 drops with seeds from 3000, networks umi100 and umi200; the tests
# score seeds 1000 to 1095. Values from 0.2 to 0.5 lie within 7 points, 1 costs up to 13.
OTHERS_POWER = 0.3


@dataclass
class Measurements:
    """Linear quantities of one slot, before the cells act; powers are over the noise.

    Attributes:
        gain: From cell (last axis) to the user scheduled by cell, at full power `[E, K, K]`.
        large_scale_gain: The same without fading `[E, K, K]`.
        interference: Interference and noise of the scheduled user in the last slot `[E, K]`.
        weight: Proportional-fair weight of the scheduled user, 1 / average rate `[E, K]`.
        attached: Number of users of each cell `[E, K]`.
        active: Whether a cell has a user `[E, K]`.
        leakage: From a cell to its neighbours' users at full power `[E, K, 6]`, 0 to no user.
    """

    gain: FloatArray
    large_scale_gain: FloatArray
    interference: FloatArray
    weight: FloatArray
    attached: IntArray
    active: BoolArray
    leakage: FloatArray


def present_features(measured: Measurements) -> FloatArray:
    """Return the features of the present slot, `[E, K, 16]`; an idle cell shows floors."""
    cells = measured.active.shape[1]
    own = np.arange(cells)
    incoming = np.array(measured.gain)
    incoming[:, own, own] = 0.0
    others = np.array(measured.large_scale_gain)
    others[:, own, own] = 0.0
    serving = measured.large_scale_gain[:, own, own]
    margins = strongest(others, STRONGEST) / serving[..., None]
    idle = ~measured.active[..., None]
    user_features = np.concatenate(
        [
            _db(measured.gain[:, own, own])[..., None],
            _db(measured.interference)[..., None],
            np.log(measured.weight)[..., None],
        ],
        axis=-1,
    )
    return np.concatenate(
        [
            np.where(idle, [FLOOR_DB, 0.0, 0.0], user_features),
            _db(measured.leakage.sum(axis=-1))[..., None],
            _db(strongest(measured.leakage, STRONGEST)),
            np.where(idle, 0.0, -10 * np.log10(margins)),
            measured.attached[..., None],
            measured.active[..., None],
            np.where(idle, FLOOR_DB, _db(incoming.sum(axis=-1))[..., None]),
            np.where(idle, FLOOR_DB, _db(strongest(incoming, STRONGEST))),
        ],
        axis=-1,
    )


def log_price(measured: Measurements) -> FloatArray:
    """Return the logarithm of each cell's price of interference `[E, K]`.

    One unit more of interference over noise costs the user of cell j w_j S_j / (I_j (I_j + S_j)) of
    the weighted rate sum (Huang, Berry and Honig, 2006). The price assumes that the cell transmits
    at full power and the others at `OTHERS_POWER`; the gains of both it measures on reference
    signals. Prices at the interference measured last run away: whoever is spared interference asks
    to be spared more of it.
    """
    signal = np.diagonal(measured.gain, axis1=1, axis2=2)
    interference = OTHERS_POWER * (measured.gain.sum(axis=-1) - signal) + 1
    return np.asarray(
        np.log(measured.weight * signal) - np.log(interference * (interference + signal))
    )


def power_message(measured: Measurements, history: FloatArray) -> FloatArray:
    """Return what the cells tell in this slot, `[E, K, 5]` as `POWER_SPEC.message` names it."""
    active = measured.active
    power_db = history[..., 0]
    return np.stack(
        [
            np.where(active, log_price(measured), np.nan),
            np.where(active, np.log(measured.weight), np.nan),
            power_db,
            np.where(active, _db(measured.interference), np.nan),
            active,
        ],
        axis=-1,
    )


def empty_history(episodes: int, cells: int) -> FloatArray:
    """Return the features of the past before the first slot, `[E, K, 3 x 4]`: silence."""
    return np.tile([SHOWN_OFF_DB, 1.0, 0.0, 0.0], (episodes, cells, HISTORY))


def remember(
    history: FloatArray, power: FloatArray, efficiency: FloatArray, interference: FloatArray
) -> FloatArray:
    """Return the features of the past after a slot, latest first.

    Args:
        history: Features of the past before it.
        power: Powers used, 0 is off `[E, K]`.
        efficiency: Spectral efficiencies obtained `[E, K]`.
        interference: Interference and noise over noise of the users then scheduled `[E, K]`.
    """
    off = power == 0
    power_db = np.where(off, SHOWN_OFF_DB, 10 * np.log10(np.where(off, 1.0, power)))
    latest = np.stack([power_db, off, efficiency, _db(interference)], axis=-1)
    return np.concatenate([latest, history[..., : -latest.shape[-1]]], axis=-1)


def _db(linear: FloatArray) -> FloatArray:
    return np.asarray(10 * np.log10(np.maximum(linear, 10 ** (FLOOR_DB / 10))))
