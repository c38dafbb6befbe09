"""Two-hot coding: what goes in comes out, and the edges behave."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime import two_hot
from networld_runtime.contract import ActionBins, ReturnBins

POWER = ActionBins("power_db", -30.0, 0.0, 31, off=-40.0)
PLAIN = ActionBins("bias_db", -6.0, 6.0, 13)


@given(st.floats(-30, 0))
def test_action_within_the_range_survives_the_round_trip(power_db: float) -> None:
    coded = two_hot.encode_action(power_db, POWER)
    assert coded.sum() == np.float32(1)
    assert np.count_nonzero(coded) <= 2
    assert abs(float(two_hot.decode_action(coded, POWER)) - power_db) < 1e-4


@given(st.floats(-1e6, -30.001))
def test_action_below_the_range_is_off(power_db: float) -> None:
    coded = two_hot.encode_action(power_db, POWER)
    assert coded[0] == 1
    assert coded[1:].sum() == 0
    assert two_hot.decode_action(coded, POWER) == -40


def test_off_wins_with_half_of_the_probability_and_never_mixes() -> None:
    probabilities = np.zeros(32, dtype=np.float32)
    probabilities[[0, 31]] = 0.5, 0.5
    assert two_hot.decode_action(probabilities, POWER) == -40
    probabilities[[0, 31]] = 0.49, 0.51
    assert abs(two_hot.decode_action(probabilities, POWER)) < 1e-4


@given(st.floats(-100, 100))
def test_action_without_off_is_clipped_to_its_range(bias_db: float) -> None:
    decoded = float(two_hot.decode_action(two_hot.encode_action(bias_db, PLAIN), PLAIN))
    assert abs(decoded - np.clip(bias_db, -6, 6)) < 1e-4


@given(st.lists(st.floats(-5, 20), min_size=1, max_size=20))
def test_return_is_coded_elementwise(returns: list[float]) -> None:
    bins = ReturnBins(-1.0, 12.0, 51)
    coded = two_hot.encode_return(returns, bins)
    assert coded.shape == (len(returns), 51)
    np.testing.assert_allclose(
        two_hot.decode(coded, bins.low, bins.high), np.clip(returns, -1, 12), atol=1e-4
    )


def test_edges_fall_on_the_outer_bins() -> None:
    coded = two_hot.encode([0.0, 1.0], 0.0, 1.0, 5)
    assert coded[0].argmax() == 0
    assert coded[1].argmax() == 4
