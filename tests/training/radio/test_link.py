"""SINR by hand, and the bounds of the rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import noise_dbm, sinr, spectral_efficiency
from networld_training.radio.propagation import path_loss_db


def test_thermal_noise() -> None:
    assert noise_dbm(10e6, 9) == pytest.approx(-95)


def test_two_cells_by_hand() -> None:
    gain = np.array([[10.0, 2.0], [4.0, 8.0]])
    power = np.array([1.0, 0.5])
    assert sinr(gain, power, 1.0) == pytest.approx([10 / (1 + 1), 4 / (4 + 1)])
    assert sinr(gain, np.array([1.0, 0.0]), 1.0) == pytest.approx([10, 0])


def test_two_cells_with_a_user_each_by_hand() -> None:
    """UMi at 3.5 GHz, 38 dBm each, 10 MHz, 9 dB; no line of sight: 104.644 dB from 100 m, 129.265 from 500.

    The signal is 38 - 104.644 = -66.644 dBm or 2.1659e-7 mW, the interference -91.265 dBm or
    7.473e-10 mW, the noise -95 dBm or 3.1623e-10 mW: 2.1659e-7 / 1.0635e-9 = 203.6 or 23.09 dB. With
    the other cell silent it is 28.36 dB.
    """
    loss_db = path_loss_db("umi", False, np.array([[100, 500], [500, 100]]), 3.5e9)
    gain_mw = 10 ** ((38 - loss_db) / 10)
    noise_mw = 10 ** (noise_dbm(10e6, 9) / 10)
    both = sinr(gain_mw, np.array([1.0, 1.0]), noise_mw)
    assert both == pytest.approx([203.6, 203.6], rel=1e-3)
    assert 10 * np.log10(both) == pytest.approx(23.09, abs=0.01)
    alone = sinr(gain_mw, np.array([1.0, 0.0]), noise_mw)
    assert 10 * np.log10(alone[0]) == pytest.approx(28.36, abs=0.01)
    assert alone[1] == 0


@given(arrays(np.float64, 20, elements=st.floats(0, 1e9)))
def test_spectral_efficiency_is_bounded_and_grows(ratios: FloatArray) -> None:
    efficiency = spectral_efficiency(np.sort(ratios))
    assert (efficiency >= 0).all()
    assert (efficiency <= 7.1).all()
    assert (np.diff(efficiency) >= 0).all()


def test_spectral_efficiency_by_hand() -> None:
    assert spectral_efficiency([1, 3, 10**-0.61, 1e6]) == pytest.approx([0.8, 1.6, 0, 7.1])


@given(arrays(np.float64, (4, 4), elements=st.floats(1e-3, 1e3)))
def test_silence_of_others_never_hurts(gain: FloatArray) -> None:
    everyone = sinr(gain, np.ones(4))
    alone = np.diagonal(gain)
    assert (everyone <= alone + 1e-9).all()
