"""From powers to rates: thermal noise, signal to interference and noise, spectral efficiency."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from networld_training.radio.arrays import FloatArray

# Least-squares fit to NR link adaptation (MCS table 2, 10 % block errors) from -6 to 20 dB.
EFFICIENCY = 0.8
MAXIMUM_SPECTRAL_EFFICIENCY = 7.1
MINIMUM_SINR = 10 ** (-6 / 10)


def noise_dbm(bandwidth_hz: float, noise_figure_db: float) -> float:
    """Return the thermal noise power at the receiver: -174 dBm/Hz, bandwidth and noise figure."""
    return float(-174 + 10 * np.log10(bandwidth_hz) + noise_figure_db)


def sinr(gain: FloatArray, power: FloatArray, noise: float | FloatArray = 1.0) -> FloatArray:
    """Return the signal to interference and noise ratio of each link.

    Args:
        gain: Linear gains `[..., K, K]`, from transmitter (last axis) to the receiver of each link.
        power: Linear powers `[..., K]`.
        noise: Noise power in the unit of gain times power.

    Returns:
        Linear ratios `[..., K]`.
    """
    received = gain * power[..., None, :]
    signal = np.diagonal(received, axis1=-2, axis2=-1)
    interference = np.maximum(received.sum(axis=-1) - signal, 0.0)
    return np.asarray(signal / (interference + noise))


def spectral_efficiency(ratio: npt.ArrayLike) -> FloatArray:
    """Return 0.8 log2(1 + SINR) in b/s/Hz, at most 7.1, and 0 below -6 dB."""
    ratio = np.asarray(ratio, dtype=np.float64)
    efficiency = np.minimum(EFFICIENCY * np.log2(1 + ratio), MAXIMUM_SPECTRAL_EFFICIENCY)
    return np.where(ratio < MINIMUM_SINR, 0.0, efficiency)
