"""Load coupling: how busy cells are when each one's interference depends on how busy the others are.

The load of cell k is the share of time that it needs for its users,

    rho_k = min(sum over its users u of d_u / (B SE(SINR_u)), available_k),
    SINR_u = g_uk / (1 + sum over other cells j of rho_j g_uj),

with demands d_u, bandwidth B and gains g over the noise at full power (Siomina and Yuan, 2012). The
right-hand side grows with every load and is concave, so there is one fixed point, and Newton's method
falls onto it from above: from the loads that the full load of all cells causes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.radio.link import (
    EFFICIENCY,
    MAXIMUM_SPECTRAL_EFFICIENCY,
    MINIMUM_SINR,
)

# After three plain steps Newton's method is mostly done in two, of which each costs three plain ones.
PLAIN_STEPS = 3
ITERATIONS = 50
TOLERANCE = 5e-7
# Keep a signal of zero out of divisions; its user is out of coverage.
_TINY = 1e-30
_LOWEST_RATE = 1e-9


@dataclass(frozen=True)
class Loads:
    """The fixed point for B networks.

    Attributes:
        load: Share of time in which each cell transmits `[B, K]`.
        needed: Share that would serve all of its users; more than `load` if that is not available `[B, K]`.
        served_share: Share of its demand that each user gets `[B, U]`.
        interference: Interference and noise over the noise at each user `[B, U]`.
        efficiency: Spectral efficiency of each user in b/s/Hz, 0 out of coverage `[B, U]`.
        member: 1 where a user belongs to a cell, else 0 `[B, K, U]`.
    """

    load: FloatArray
    needed: FloatArray
    served_share: FloatArray
    interference: FloatArray
    efficiency: FloatArray
    member: FloatArray


class _Links(NamedTuple):
    """What the iteration needs of B networks, everything relative to the users' signals.

    `interferers` `[B, U, K]` and `noise` `[B, U]` over the signal, `demand` in b/s/Hz `[B, U]`,
    `member` `[B, K, U]` is 1 where a user belongs to a cell, `available` `[B, K]`.
    """

    interferers: FloatArray
    noise: FloatArray
    demand: FloatArray
    member: FloatArray
    available: FloatArray

    def at(self, chosen: BoolArray) -> _Links:
        return _Links(*(values[chosen] for values in self))


class _Response(NamedTuple):
    """What given loads lead to: 1 / SINR and rate `[B, U]`, and the shares needed `[B, K]`."""

    inverse_ratio: FloatArray
    rate: FloatArray
    needed: FloatArray


def take_out(values: FloatArray, cell: IntArray) -> FloatArray:
    """Return the entries `[B, U]` of `[B, U, K]`, in C order, for each user's cell, and put 0 there."""
    cells = values.shape[-1]
    where = cell + np.arange(0, cell.size * cells, cells).reshape(cell.shape)
    flat = values.reshape(-1)
    taken = flat[where]
    flat[where] = 0.0
    return taken


def of_cell(values: FloatArray, cell: IntArray) -> FloatArray:
    """Return the entries `[B, U]` of `[B, K]` for each user's cell."""
    starts = np.arange(0, values.size, values.shape[-1])
    return np.asarray(np.take(values, cell + starts[:, None]))


def associate(gain: FloatArray, offset_db: FloatArray, awake: BoolArray) -> IntArray:
    """Return the cell of each user `[B, U]`: the awake one with the largest gain plus offset.

    Args:
        gain: Large-scale gains `[B, U, K]`, linear.
        offset_db: Cell individual offsets `[B, K]`.
        awake: Whether a cell takes users `[B, K]`; if none does, users belong to cell 0 without a signal.
    """
    bias = np.where(awake, 10 ** (offset_db / 10), 0.0)
    return np.asarray(np.argmax(gain * bias[:, None, :], axis=-1))


def couple_loads(
    gain: FloatArray,
    serving: IntArray,
    demand: FloatArray,
    available: FloatArray,
    tolerance: float = TOLERANCE,
) -> Loads:
    """Return the loads of cells that interfere with each other.

    Users below -6 dB are out of coverage: those who are without any interference, and those who would be
    with all others connected; without them everybody else is above. Within a cell every user gets the
    same share of its demand.

    Args:
        gain: Gains at full power over the noise `[B, U, K]`.
        serving: Cell of each user `[B, U]`.
        demand: Demand of each user over the bandwidth, b/s/Hz `[B, U]`.
        available: Share of time that each cell can give to its users `[B, K]`; 0 is asleep.
        tolerance: Largest residual of a load.
    """
    # In C order, as `take_out` changes it in place.
    interferers = np.multiply(gain, (available > 0)[:, None, :], order="C")
    signal = take_out(interferers, serving)
    noise = 1 / np.maximum(signal, _TINY)
    interferers *= noise[..., None]
    covered = noise <= 1 / MINIMUM_SINR
    member = (serving[:, None, :] == np.arange(gain.shape[-1])[:, None]).astype(np.float64)
    links = _Links(interferers, noise, demand * covered, member, available)

    result = _fixed_point(links, tolerance)
    lost = covered & (result.inverse_ratio > 1 / MINIMUM_SINR)
    if lost.any():
        covered &= ~lost
        again = np.asarray((lost & (demand > 0)).any(axis=-1))
        rest = _fixed_point(links._replace(demand=demand * covered).at(again), tolerance)
        for values, corrected in zip(result, rest, strict=True):
            values[again] = corrected

    load = np.minimum(result.needed, available)
    share = np.divide(load, result.needed, out=np.ones_like(load), where=result.needed > 0)
    return Loads(
        load=load,
        needed=result.needed,
        served_share=covered * of_cell(share, serving),
        interference=np.maximum(result.inverse_ratio * signal, 1.0),
        efficiency=covered * result.rate,
        member=member,
    )


def _fixed_point(links: _Links, tolerance: float) -> _Response:
    load = links.available
    for _ in range(PLAIN_STEPS):
        load = np.minimum(_response(links, load).needed, links.available)
    result = now = _response(links, load)
    pending = np.arange(len(load))
    for _ in range(ITERATIONS):
        excess = load - np.minimum(now.needed, links.available)
        moving = np.abs(excess).max(axis=-1) > tolerance
        if not moving.any():
            break
        if not moving.all():
            pending, links, load, excess = (
                pending[moving],
                links.at(moving),
                load[moving],
                excess[moving],
            )
            now = _Response(*(values[moving] for values in now))
        step = np.linalg.solve(_steepness(links, now), excess[..., None])[..., 0]
        load = np.minimum(np.maximum(load - step, 0.0), links.available)
        now = _response(links, load)
        for values, latest in zip(result, now, strict=True):
            values[pending] = latest
    return result


def _response(links: _Links, load: FloatArray) -> _Response:
    inverse_ratio = np.matmul(links.interferers, load[..., None])[..., 0]
    inverse_ratio += links.noise
    rate = np.log2(1 + 1 / inverse_ratio)
    rate *= EFFICIENCY
    np.maximum(rate, _LOWEST_RATE, out=rate)
    np.minimum(rate, MAXIMUM_SPECTRAL_EFFICIENCY, out=rate)
    needed = np.matmul(links.member, (links.demand / rate)[..., None])[..., 0]
    return _Response(inverse_ratio, rate, needed)


def _steepness(links: _Links, at: _Response) -> FloatArray:
    """Return the derivative of load minus its right-hand side, `[B, K, K]`."""
    slope = links.demand / (at.rate * at.rate * at.inverse_ratio * (at.inverse_ratio + 1))
    slope *= (EFFICIENCY / np.log(2)) * (at.rate < MAXIMUM_SPECTRAL_EFFICIENCY)
    free = at.needed < links.available
    growth = np.matmul(links.member * slope[:, None, :], links.interferers)
    return np.asarray(np.eye(free.shape[-1]) - growth * free[..., None])
