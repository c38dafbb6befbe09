"""What every action passes: nothing that is not allowed, nothing that changes too fast, a hold that fades."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.shield import LONGEST_HOLD_SLOTS, STILL_SLOTS, Shield


def power(value_db: float) -> FloatArray:
    return np.array([value_db], dtype=np.float32)


def passed_db(shield: Shield, value_db: float) -> float:
    action = shield.passed(power(value_db), None)
    assert action is not None
    return float(action[0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 0.5, -30.5])
def test_what_no_cell_may_do_does_not_pass(contract: Contract, wrong: float) -> None:
    assert Shield(contract, 3.0).passed(power(wrong), None) is None


def test_without_a_limit_everything_allowed_passes_as_it_is(contract: Contract) -> None:
    shield = Shield(contract)
    for value_db in (0.0, -20.0, -30.0, 0.0):
        assert passed_db(shield, value_db) == value_db
    assert shield.counters["limited"] == 0


def test_a_number_changes_by_so_much_at_most(contract: Contract) -> None:
    shield = Shield(contract, 3.0)
    assert passed_db(shield, 0.0) == 0  # nothing came before it
    assert [passed_db(shield, -20.0) for _ in range(3)] == [-3.0, -6.0, -9.0]
    assert passed_db(shield, -8.0) == -8.0
    assert shield.counters["limited"] == 3


def test_off_is_a_state_and_no_number(contract: Contract) -> None:
    shield = Shield(contract, 3.0)
    assert [passed_db(shield, value_db) for value_db in (0.0, -30.0, -1.0, -10.0)] == [
        0,
        -30,
        -1,
        -4,
    ]


def test_choices_are_not_limited(hybrid: Contract) -> None:
    shield = Shield(hybrid, 1.0)
    mask = np.array([True, True, True, True])
    for wanted, expected in (
        ([0, 0, 0], [0, 0, 0]),
        ([3, 5, 2], [3, 1, 2]),
        ([0, 5, 0], [0, 2, 0]),
    ):
        action = shield.passed(np.array(wanted, dtype=np.float32), mask)
        assert action is not None
        assert action.tolist() == expected


def test_a_held_action_that_the_mask_forbids_is_not_taken(hybrid: Contract) -> None:
    shield = Shield(hybrid)
    every, without = np.ones(4, dtype=np.bool_), np.array([True, False, True, True])
    chosen = np.array([1, 2, 0], dtype=np.float32)
    assert shield.passed(chosen, every) is not None
    action, held = shield.hold(without)
    assert (action.tolist(), held) == (list(hybrid.safe_action), False)
    action, held = shield.hold(every)
    assert (action.tolist(), held) == (chosen.tolist(), True)


@given(st.floats(-20, 0, width=32) | st.just(-30.0))
def test_what_is_held_fades_to_the_safe_action(contract: Contract, value_db: float) -> None:
    shield = Shield(contract)
    first = passed_db(shield, value_db)
    (safe_db,) = contract.safe_action
    held = [shield.hold(None) for _ in range(LONGEST_HOLD_SLOTS + 2)]
    values_db = [float(action[0]) for action, _ in held]
    assert values_db[:STILL_SLOTS] == [first] * STILL_SLOTS
    distances = np.abs(np.array(values_db) - safe_db)
    assert (np.diff(distances) <= 1e-5).all()
    assert [is_held for _, is_held in held] == [True] * LONGEST_HOLD_SLOTS + [False] * 2
    assert values_db[-1] == safe_db
    assert all(contract.allows(action) for action, _ in held)
    assert passed_db(shield, value_db) == first  # and the count begins again
    assert shield.hold(None)[0] == first


def test_what_is_held_and_what_is_safe_changes_no_faster(contract: Contract) -> None:
    shield = Shield(contract, 1.0)
    passed_db(shield, 0.0)
    values_db = [0.0, *(float(shield.hold(None)[0][0]) for _ in range(LONGEST_HOLD_SLOTS + 12))]
    assert np.abs(np.diff(values_db)).max() <= 1 + 1e-5
    assert values_db[-1] == contract.safe_action[0]
    assert passed_db(shield, 0.0) == contract.safe_action[0] + 1


def test_before_the_first_action_there_is_nothing_to_hold(contract: Contract) -> None:
    action, held = Shield(contract).hold(None)
    assert (action.tolist(), held) == (list(contract.safe_action), False)
