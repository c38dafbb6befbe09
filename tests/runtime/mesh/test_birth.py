"""Births and states from the network: hostile until checked, and each rejection has its reason."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime import report
from networld_runtime.bundle import Bundle
from networld_runtime.config import CellConfig
from networld_runtime.contract import Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.birth import (
    LARGEST_BIRTH_BYTES,
    LARGEST_STATE_BYTES,
    STATES,
    Birth,
    State,
    read_birth,
    read_state,
)

GOOD = {
    "version": 1,
    "epoch": 7,
    "site": "test",
    "cell": "b",
    "contract": "ab" * 16,
    "slot_s": 0.1,
    "position_m": [1, -2.5],
}


def _reason(payload: bytes) -> str:
    with pytest.raises(MessageError) as caught:
        read_birth(payload, "test", "b")
    return caught.value.reason


def test_what_a_cell_says_can_be_read(contract: Contract) -> None:
    bundle = Bundle(Path(), "stub", "ab" * 32, contract, 4, 7, 8, 1, {}, {})
    for position_m in ((3.0, 4.0), None):
        cell = CellConfig("test", "b", "power", ("c",), position_m)
        payload = report.birth(cell, bundle, 9, 0.1)
        expected = Birth("b", 9, contract.digest().hex(), 0.1, position_m)
        assert read_birth(payload, "test", "b") == expected
        assert len(payload) < LARGEST_BIRTH_BYTES / 4
    for state in ("online", "offline", "lost"):
        assert read_state(report.state(state, 9)) == State(state, 9)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "version"),
        ({"version": True}, "version"),
        ({"cell": "c"}, "name"),
        ({"site": "other"}, "name"),
        ({"epoch": "7"}, "malformed"),
        ({"epoch": 1.5}, "malformed"),
        ({"epoch": -1}, "range"),
        ({"epoch": 2**32}, "range"),
        ({"contract": 5}, "malformed"),
        ({"slot_s": None}, "malformed"),
        ({"slot_s": 10**400}, "malformed"),
        ({"position_m": [1]}, "malformed"),
        ({"position_m": {"x": 1}}, "malformed"),
        ({"position_m": [1, "2"]}, "malformed"),
        ({"position_m": [1, True]}, "malformed"),
        ({"position_m": [1, 1e8]}, "range"),
        ({"position_m": [1, 10**400]}, "range"),
    ],
)
def test_a_birth_of_wrong_form_is_rejected(changes: dict[str, Any], reason: str) -> None:
    assert _reason(json.dumps({**GOOD, **changes}).encode()) == reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "size"),
        (b" " * (LARGEST_BIRTH_BYTES + 1), "size"),
        (b"[" * LARGEST_BIRTH_BYTES, "malformed"),
        (b"\xff", "malformed"),
        (json.dumps(GOOD).encode("utf-16"), "malformed"),
        (json.dumps(GOOD).encode("utf-8-sig"), "malformed"),
        (b"[]", "malformed"),
        (b"null", "malformed"),
        (json.dumps(GOOD).replace("0.1", "NaN").encode(), "malformed"),
        (json.dumps(GOOD).replace("-2.5", "1e999").encode(), "range"),
        (json.dumps(GOOD).replace("-2.5", "-Infinity").encode(), "malformed"),
    ],
)
def test_bytes_that_are_no_birth_are_rejected(payload: bytes, reason: str) -> None:
    assert _reason(payload) == reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b" " * (LARGEST_STATE_BYTES + 1), "size"),
        (b'{"state": "asleep", "epoch": 1}', "malformed"),
        (b'{"state": ["lost"], "epoch": 1}', "malformed"),
        (b'{"state": "lost"}', "malformed"),
        (b'{"state": "lost", "epoch": 4294967296}', "range"),
    ],
)
def test_a_state_of_wrong_form_is_rejected(payload: bytes, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        read_state(payload)
    assert caught.value.reason == reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(st.binary(max_size=200) | st.dictionaries(st.sampled_from(sorted(GOOD)), JSON))
def test_nothing_raises_anything_else(found: bytes | dict[str, Any]) -> None:
    payload = found if isinstance(found, bytes) else json.dumps({**GOOD, **found}).encode()
    with suppress(MessageError):
        assert read_birth(payload, "test", "b").cell == "b"
    with suppress(MessageError):
        assert read_state(payload).state in STATES
