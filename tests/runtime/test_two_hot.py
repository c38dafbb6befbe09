"""Two-hot coding: what goes in comes out, and the edges behave."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime import two_hot
from networld_runtime.contract import (
    Action,
    ActionBins,
    BoolArray,
    Choice,
    FloatArray,
    ReturnBins,
    allowed,
)

POWER = ActionBins("power_db", -30.0, 0.0, 31, off=-40.0)
PLAIN = ActionBins("bias_db", -6.0, 6.0, 13)
USER = Choice("user", ("first", "second", "third", "mute"), masked=True)
MODE = Choice("mode", ("active", "light", "deep"))
KINDS: tuple[Action, ...] = (POWER, PLAIN, USER, MODE)


@st.composite
def actions_and_mask(draw: st.DrawFn) -> tuple[list[Action], FloatArray, BoolArray]:
    """Components of any kind, at most one masked; a native action; a mask that allows it."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    actions = [a for i, a in enumerate(kinds) if a is not USER or USER not in kinds[:i]]
    native = [
        draw(st.integers(0, action.size - 1))
        if isinstance(action, Choice)
        else draw(st.just(-40.0) if action.off and draw(st.booleans()) else in_range(action))
        for action in actions
    ]
    mask = np.array(draw(st.lists(st.booleans(), min_size=4, max_size=4)))
    if USER in actions:
        mask[int(native[actions.index(USER)])] = True
    return actions, np.array(native, dtype=np.float32), mask


def in_range(bins: ActionBins) -> st.SearchStrategy[float]:
    return st.floats(bins.low, bins.high)


@given(actions_and_mask())
def test_actions_survive_the_round_trip(
    drawn: tuple[list[Action], FloatArray, BoolArray],
) -> None:
    actions, native, mask = drawn
    coded = two_hot.encode_actions(native, actions)
    assert coded.shape == (sum(action.size for action in actions),)
    assert abs(coded.sum() - len(actions)) < 1e-5
    for given_mask in (None, mask):
        decoded = two_hot.decode_actions(coded, actions, given_mask)
        np.testing.assert_allclose(decoded, native, atol=1e-4)


@given(actions_and_mask(), st.integers(0, 2**32 - 1))
def test_whatever_the_probabilities_the_action_is_allowed(
    drawn: tuple[list[Action], FloatArray, BoolArray], seed: int
) -> None:
    actions, _, mask = drawn
    mask[3] = True
    random = np.random.default_rng(seed)
    # sharp and flat ones, in several rows, each with a mask of its own
    logits = random.normal(0, 20, (5, sum(action.size for action in actions)))
    masks = random.random((5, 4)) < 0.5
    masks[:, int(random.integers(4))] = True
    probabilities = np.exp(logits - logits.max(axis=-1, keepdims=True)).astype(np.float32)
    decoded = two_hot.decode_actions(probabilities, actions, masks)
    for index, action in enumerate(actions):
        assert allowed(action, decoded[:, index], masks)[0].all()
    for row in range(5):
        alone = two_hot.decode_actions(probabilities[row], actions, masks[row])
        np.testing.assert_allclose(alone, decoded[row], atol=1e-4)


def test_likeliest_choice_that_is_allowed_is_taken() -> None:
    probabilities = np.array([0.0, 0.7, 0.3, 0.0, 0.2, 0.3, 0.5], dtype=np.float32)
    actions = (USER, MODE)
    for mask, user in (
        (None, 1),
        ([1, 1, 1, 1], 1),
        ([1, 0, 1, 1], 2),
        ([0, 0, 0, 1], 3),  # though it has no probability at all
    ):
        allowed_now = None if mask is None else np.array(mask, dtype=np.bool_)
        decoded = two_hot.decode_actions(probabilities, actions, allowed_now)
        assert decoded.tolist() == [user, 2]


def test_only_the_masked_choice_heeds_the_mask() -> None:
    mask = np.array([True, False, False, False])
    probabilities = two_hot.encode_actions([1.0, 2.0], (MODE, USER))
    assert two_hot.decode_actions(probabilities, (MODE, USER), mask).tolist() == [1, 0]


def test_probabilities_that_are_not_finite_give_no_action() -> None:
    actions = (USER, PLAIN, MODE)
    probabilities = two_hot.encode_actions([1.0, 0.0, 2.0], actions)
    probabilities[0] = np.nan
    probabilities[-1] = np.inf
    assert np.isnan(two_hot.decode_actions(probabilities, actions)[[0, 2]]).all()


def test_rounding_never_leaves_the_range() -> None:
    almost = np.zeros((2, 13), dtype=np.float32)
    almost[[0, 1], [0, 12]] = 1
    almost[[0, 1], [1, 11]] = 5.9e-8  # too little to change a sum of 1, enough to move the value
    assert two_hot.decode_bins(almost, PLAIN).tolist() == [-6, 6]
    lowest = np.zeros(32, dtype=np.float32)
    lowest[[1, 2]] = 1, 5.9e-8
    assert two_hot.decode_bins(lowest, POWER) == -30  # below it is off


@given(st.floats(-30, 0))
def test_action_within_the_range_survives_the_round_trip(power_db: float) -> None:
    coded = two_hot.encode_bins(power_db, POWER)
    assert abs(coded.sum() - 1) < 1e-6
    assert np.count_nonzero(coded) <= 2
    assert abs(float(two_hot.decode_bins(coded, POWER)) - power_db) < 1e-4


@given(st.floats(-1e6, -30.001))
def test_action_below_the_range_is_off(power_db: float) -> None:
    coded = two_hot.encode_bins(power_db, POWER)
    assert coded[0] == 1
    assert coded[1:].sum() == 0
    assert two_hot.decode_bins(coded, POWER) == -40


def test_off_wins_with_half_of_the_probability_and_never_mixes() -> None:
    probabilities = np.zeros(32, dtype=np.float32)
    probabilities[[0, 31]] = 0.5, 0.5
    assert two_hot.decode_bins(probabilities, POWER) == -40
    probabilities[[0, 31]] = 0.49, 0.51
    assert abs(two_hot.decode_bins(probabilities, POWER)) < 1e-4


@given(st.floats(-100, 100))
def test_action_without_off_is_clipped_to_its_range(bias_db: float) -> None:
    decoded = float(two_hot.decode_bins(two_hot.encode_bins(bias_db, PLAIN), PLAIN))
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


def test_lowest_value_is_never_off_though_float32_rounds_it_down() -> None:
    low = np.float64(-0.1)  # a NumPy scalar is compared in float64, as NumPy 1 does with any number
    assert np.float32(low) < low
    bins = ActionBins("p", low, 0.5, 3, off=-0.2)
    lowest = two_hot.decode_bins([0.0, 1.0, 0.0, 0.0], bins)
    assert two_hot.encode_bins(lowest, bins).tolist() == [0, 1, 0, 0]
    assert two_hot.encode_bins([lowest], bins).tolist() == [[0, 1, 0, 0]]


def test_masks_cover_the_masked_choice_and_leave_all_else_possible() -> None:
    mode, user = Choice("mode", ("on", "off")), Choice("user", ("a", "b", "none"), masked=True)
    power = ActionBins("power_db", -20.0, 0.0, 3, off=-30.0)
    mask = np.array([[True, False, True], [False, False, True]])
    coded = two_hot.encode_mask(mask, (mode, user, power))
    assert coded.dtype == np.float32
    expected = [[1, 1, 1, 0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 1, 1, 1, 1]]
    assert coded.tolist() == expected
    nothing = two_hot.encode_mask(np.zeros((4, 2, 0), dtype=np.bool_), (mode, power))
    assert nothing.shape == (4, 2, 6)
    assert nothing.all()
