"""Centralised power control on interfering links: weighted MMSE and fractional programming.

Both maximise the weighted sum rate of links with gains `[B, K, K]` (receiver, transmitter), noise
and a largest power, for a batch of B instances at once; an instance stops on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import sinr

ITERATIONS = 100
TOLERANCE = 0.01


@dataclass(frozen=True)
class PowerSolution:
    """What a solver found.

    Attributes:
        power: Linear powers `[B, K]`, within [0, maximum].
        iterations: Iterations of each instance `[B]`.
        objective: Weighted sum rate of each instance in nats `[B]`.
    """

    power: FloatArray
    iterations: IntArray
    objective: FloatArray


def weighted_sum_rate(
    gain: FloatArray, weight: FloatArray, noise: float, power: FloatArray
) -> FloatArray:
    """Return sum_k w_k ln(1 + SINR_k) in nats, `[B]`."""
    return np.asarray((weight * np.log1p(sinr(gain, power, noise))).sum(axis=-1))


def wmmse(
    gain: FloatArray,
    weight: FloatArray,
    noise: float = 1.0,
    maximum: float = 1.0,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> PowerSolution:
    """Maximise the weighted sum rate by weighted MMSE (Shi et al. 2011), for scalar channels.

    Starts at full power, from where it does much better than from random powers.

    Args:
        gain: Linear gains `[B, K, K]`, receiver then transmitter.
        weight: Weights `[B, K]`, not negative.
        noise: Noise power at every receiver.
        maximum: Largest power of a transmitter.
        iterations: Most iterations of an instance.
        tolerance: An instance stops when its sum rate changes by no more (nats, per unit weight).

    Returns:
        Powers, iterations and objective.
    """

    def improve(gain: FloatArray, weight: FloatArray, power: FloatArray) -> FloatArray:
        signal = np.sqrt(np.diagonal(gain, axis1=1, axis2=2))
        amplitude = np.sqrt(power)
        receiver = signal * amplitude / ((gain * power[:, None, :]).sum(axis=-1) + noise)
        urgency = weight * receiver / (1 - receiver * signal * amplitude)
        cost = (gain * (urgency * receiver)[:, :, None]).sum(axis=1)
        wanted = np.divide(urgency * signal, cost, out=np.zeros_like(cost), where=cost > 0)
        return np.asarray(np.minimum(wanted * wanted, maximum))

    return _iterate(improve, gain, weight, noise, maximum, iterations, tolerance)


def fractional_programming(
    gain: FloatArray,
    weight: FloatArray,
    noise: float = 1.0,
    maximum: float = 1.0,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> PowerSolution:
    """Maximise the weighted sum rate by closed-form fractional programming.

    Shen and Yu, "Fractional programming for communication systems, part I" (2018), algorithm 3;
    arguments and result as in `wmmse`.
    """

    def improve(gain: FloatArray, weight: FloatArray, power: FloatArray) -> FloatArray:
        signal = np.diagonal(gain, axis1=1, axis2=2)
        total = (gain * power[:, None, :]).sum(axis=-1) + noise
        ratio = signal * power / (total - signal * power)
        boosted = weight * (1 + ratio) * signal
        auxiliary = boosted * power / (total * total)
        cost = (gain * auxiliary[:, :, None]).sum(axis=1)
        wanted = np.divide(
            auxiliary * boosted, cost * cost, out=np.zeros_like(cost), where=cost > 0
        )
        return np.asarray(np.minimum(wanted, maximum))

    return _iterate(improve, gain, weight, noise, maximum, iterations, tolerance)


def _iterate(
    improve: Callable[[FloatArray, FloatArray, FloatArray], FloatArray],
    gain: FloatArray,
    weight: FloatArray,
    noise: float,
    maximum: float,
    iterations: int,
    tolerance: float,
) -> PowerSolution:
    power = np.full(weight.shape, float(maximum))
    count = np.zeros(len(weight), dtype=np.int64)
    objective = weighted_sum_rate(gain, weight, noise, power)
    pending = np.arange(len(weight))
    for _ in range(iterations):
        found = improve(gain[pending], weight[pending], power[pending])
        value = weighted_sum_rate(gain[pending], weight[pending], noise, found)
        moved = np.abs(value - objective[pending]) > tolerance
        power[pending] = found
        objective[pending] = value
        count[pending] += 1
        pending = pending[moved]
        if not len(pending):
            break
    return PowerSolution(power, count, objective)
