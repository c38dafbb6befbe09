"""Logs between cells: exact both ways, bounded, and nothing from the network is trusted."""

from __future__ import annotations

from dataclasses import fields

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_logs import COUPLINGS, log_of

from networld_runtime.contract import Contract
from networld_runtime.episode_log import (
    LARGEST_LOG_BYTES,
    EpisodeLog,
    decode_log,
    encode_log,
)
from networld_runtime.errors import MessageError

REASONS = {"size", "malformed", "version", "contract", "range", "not_finite"}
PROPERTY = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def assert_equal(one: EpisodeLog, other: EpisodeLog) -> None:
    for part in fields(EpisodeLog):
        np.testing.assert_array_equal(getattr(one, part.name), getattr(other, part.name))


@PROPERTY
@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=12, unique=True),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 6),
    st.floats(-(2.0**59), 2.0**59, width=32),
)
def test_round_trip_is_exact(
    hybrid: Contract, slots: list[int], episode: int, epoch: int, neighbours: int, value: float
) -> None:
    names = [f"cell-{index}" for index in range(neighbours)]
    log = log_of(hybrid, names, sorted(slots), episode, epoch, value)
    assert_equal(decode_log(encode_log(log, hybrid), hybrid, COUPLINGS), log)


def test_log_of_a_task_without_masks(contract: Contract) -> None:
    log = log_of(contract, ["b"], [1, 2])
    assert_equal(decode_log(encode_log(log, contract), contract, COUPLINGS), log)


def test_the_newest_slots_of_a_long_episode_are_sent(hybrid: Contract) -> None:
    names = [f"{'n' * 31}{index}" for index in range(6)]
    log = log_of(hybrid, names, range(10_000))
    payload = encode_log(log, hybrid)
    sent = decode_log(payload, hybrid, COUPLINGS)
    slot_bytes = 4 + 4 * (6 + 6 * COUPLINGS) + 4
    assert LARGEST_LOG_BYTES - 512 - slot_bytes < len(sent.slots) * slot_bytes
    assert len(payload) <= LARGEST_LOG_BYTES
    assert_equal(sent, log.newest(len(sent.slots)))
    assert sent.slots[-1] == 9_999


@PROPERTY
@given(st.binary(max_size=200))
def test_random_bytes_only_raise_message_error(contract: Contract, payload: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        decode_log(payload, contract, COUPLINGS)
    assert caught.value.reason in REASONS


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutants_are_read_as_valid_or_refused(
    hybrid: Contract, changes: list[tuple[int, int]]
) -> None:
    payload = bytearray(encode_log(log_of(hybrid, ["b", "c"], [3, 4]), hybrid))
    for position, value in changes:
        payload[position % len(payload)] = value
    try:
        log = decode_log(bytes(payload), hybrid, COUPLINGS)
    except MessageError:
        return
    assert np.isfinite(hybrid.normalise(log.observation)).all()
    assert (log.coupling >= 0).all()
    assert log.mask.any(axis=1).all()


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (0, 1, "version"),
        (1, b"abcd", "contract"),
        (2, -1, "range"),
        (2, 1.5, "malformed"),
        (3, 2**32, "range"),
        (4, b"b,b", "range"),
        (4, b"b,C", "malformed"),
        (4, b"b,", "malformed"),
        (4, b"b,\xff", "malformed"),
        (4, b"b,../c", "malformed"),
        (4, b"b", "malformed"),  # couplings of two neighbours
        (4, b"a,b,c,d,e,f,g", "range"),
        (4, None, "malformed"),
        (5, b"", "range"),
        (5, np.array([4, 3], dtype="<u4").tobytes(), "range"),
        (5, np.array([3, 3], dtype="<u4").tobytes(), "range"),
        (5, np.array([3, 4, 5], dtype="<u4").tobytes(), "malformed"),
        (5, b"\x00" * 7, "malformed"),
        (6, b"\x00" * 44, "malformed"),
        (6, np.full(12, np.nan, dtype="<f4").tobytes(), "not_finite"),
        (6, np.full(12, -3e38, dtype="<f4").tobytes(), "range"),
        (7, np.full(8, np.inf, dtype="<f4").tobytes(), "not_finite"),
        (7, np.full(8, -1, dtype="<f4").tobytes(), "range"),
        (7, np.full(4, 1, dtype="<f4").tobytes(), "malformed"),
        (8, b"\x01" * 7, "malformed"),
        (8, b"\x01" * 7 + b"\x02", "range"),
        (8, b"\x01" * 4 + b"\x00" * 4, "range"),
        (8, "\x01" * 8, "malformed"),
    ],
)
def test_wrong_log_is_refused(hybrid: Contract, position: int, value: object, reason: str) -> None:
    fields = msgpack.unpackb(encode_log(log_of(hybrid, ["b", "c"], [3, 4]), hybrid))
    fields[position] = value
    with pytest.raises(MessageError) as caught:
        decode_log(msgpack.packb(fields), hybrid, COUPLINGS)
    assert caught.value.reason == reason


def test_too_large_or_too_many_fields_are_refused(hybrid: Contract) -> None:
    with pytest.raises(MessageError, match="size"):
        decode_log(bytes(LARGEST_LOG_BYTES + 1), hybrid, COUPLINGS)
    fields = msgpack.unpackb(encode_log(log_of(hybrid, ["b"], [3]), hybrid))
    with pytest.raises(MessageError, match="10 fields"):
        decode_log(msgpack.packb([*fields, 1]), hybrid, COUPLINGS)
