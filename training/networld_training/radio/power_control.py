"""Centralised power control on interfering links: weighted MMSE and fractional programming.

Both raise the weighted sum rate of links with gains `[B, K, K]` (receiver, transmitter) and powers
of at most 1, for a batch of B instances at once; each instance stops on its own. They start at full
power, from where they do much better than from random powers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from networld_training.radio.arrays import FloatArray, IntArray

ITERATIONS = 100


@dataclass(frozen=True)
class PowerSolution:
    """What a solver found: powers `[B, K]` within [0, 1] and the iterations `[B]` it took."""

    power: FloatArray
    iterations: IntArray


class _Iterate(NamedTuple):
    """Powers, SINRs and received powers with noise `[B, K]`, and the objective `[B]`."""

    power: FloatArray
    ratio: FloatArray
    total: FloatArray
    objective: FloatArray


_Improve = Callable[[FloatArray, FloatArray, _Iterate], _Iterate]


def wmmse(gain: FloatArray, weight: FloatArray, tolerance: float = 0.01) -> PowerSolution:
    """Raise the weighted sum rate by weighted MMSE (Shi et al. 2011), for scalar channels.

    Args:
        gain: Gains `[B, K, K]`, receiver then transmitter, over the noise at full power.
        weight: Weights `[B, K]`, not negative.
        tolerance: An instance stops when its weighted sum rate grows by no more, in b/s/Hz.

    Returns:
        Powers and iterations.
    """

    def improve(gain: FloatArray, weight: FloatArray, last: _Iterate) -> _Iterate:
        signal = np.diagonal(gain, axis1=1, axis2=2)
        receiver = np.sqrt(signal * last.power) / last.total
        urgency = weight * receiver * (1 + last.ratio)
        cost = (gain * (urgency * receiver)[:, :, None]).sum(axis=1)
        power = np.minimum(_divide(urgency * urgency * signal, cost * cost), 1.0)
        total = _received(gain, power)
        ratio = _ratio(signal * power, total)
        return _Iterate(power, ratio, total, (weight * np.log2(1 + ratio)).sum(axis=-1))

    return _iterate(improve, gain, weight, tolerance)


def fractional_programming(
    gain: FloatArray, weight: FloatArray, tolerance: float = 0.001
) -> PowerSolution:
    """Raise the weighted sum rate by closed-form fractional programming.

    Shen and Yu, "Fractional programming for communication systems, part I" (2018), section V. The
    auxiliary variables are updated before the SINRs that they depend on, as in the benchmark of
    Nasir and Guo; in the other order the iterations are those of `wmmse`.

    Args:
        gain: Gains `[B, K, K]`, receiver then transmitter, over the noise at full power.
        weight: Weights `[B, K]`, not negative.
        tolerance: An instance stops when its quadratic transform grows by no more.

    Returns:
        Powers and iterations.
    """

    def improve(gain: FloatArray, weight: FloatArray, last: _Iterate) -> _Iterate:
        signal = np.diagonal(gain, axis1=1, axis2=2)
        auxiliary = np.sqrt(weight * (1 + last.ratio) * signal * last.power) / last.total
        ratio = _ratio(signal * last.power, last.total)
        boosted = auxiliary * np.sqrt(weight * (1 + ratio) * signal)
        cost = (gain * (auxiliary * auxiliary)[:, :, None]).sum(axis=1)
        power = np.minimum(_divide(boosted * boosted, cost * cost), 1.0)
        total = _received(gain, power)
        objective = 2 * boosted * np.sqrt(power) - auxiliary * auxiliary * total
        return _Iterate(power, ratio, total, objective.sum(axis=-1))

    return _iterate(improve, gain, weight, tolerance)


def _iterate(
    improve: _Improve, gain: FloatArray, weight: FloatArray, tolerance: float
) -> PowerSolution:
    power = np.ones_like(weight)
    count = np.zeros(len(weight), dtype=np.int64)
    pending = np.arange(len(weight))
    total = _received(gain, power)
    ratio = _ratio(np.diagonal(gain, axis1=1, axis2=2), total)
    state = _Iterate(power, ratio, total, np.zeros(len(weight)))
    for _ in range(ITERATIONS):
        following = improve(gain, weight, state)
        power[pending] = following.power
        count[pending] += 1
        growing = following.objective - state.objective > tolerance
        if not growing.any():
            break
        if growing.all():
            state = following
            continue
        pending, gain, weight = pending[growing], gain[growing], weight[growing]
        state = _Iterate(*(values[growing] for values in following))
    return PowerSolution(power, count)


def _received(gain: FloatArray, power: FloatArray) -> FloatArray:
    return np.asarray((gain * power[:, None, :]).sum(axis=-1) + 1)


def _ratio(signal: FloatArray, total: FloatArray) -> FloatArray:
    # Rounding may leave less than the noise beside a strong signal.
    return np.asarray(signal / np.maximum(total - signal, 1.0))


def _divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    # A transmitter that nobody hears may as well be silent.
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)
