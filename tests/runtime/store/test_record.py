"""Whatever happens in whatever order, a record stays sound and comes back from its bytes as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.store.record import FAILED_STARTS, MOST_FAILED, Record

A, B, C, D = (letter * 64 for letter in "abcd")
VERSIONS = {A: 1, B: 2, C: 3, D: 4}

events = st.lists(
    st.one_of(
        st.tuples(st.just("activate"), st.sampled_from(sorted(VERSIONS))),
        st.tuples(st.sampled_from(["start", "forgive", "commit", "take back", "roll back"])),
    ),
    max_size=40,
)


def after(record: Record, event: tuple[str, ...]) -> Record:
    if event[0] == "activate":
        return record.activated(event[1])
    if event[0] == "start":
        return record.started()
    if event[0] == "forgive":
        return record.forgiven()
    if event[0] == "commit":
        return record if record.current is None else record.committed(VERSIONS[record.current])
    if record.previous is None:
        with pytest.raises(ValueError, match="nothing to go back to"):
            record.taken_back("bad") if event[0] == "take back" else record.rolled_back()
        return record
    return record.taken_back("bad") if event[0] == "take back" else record.rolled_back()


@given(events)
def test_every_order_of_events_leaves_a_sound_record(events: list[tuple[str, ...]]) -> None:
    record = Record()
    proven: set[str] = set()
    for event in events:
        before, record = record, after(record, event)
        if event[0] == "commit" and record.current is not None:
            proven.add(record.current)
        assert Record.from_bytes(record.to_bytes()) == record
        assert record.previous is None or record.previous != record.current
        assert record.lowest_version >= before.lowest_version
        # what may be gone back to, or is in use without a probation, has proven itself
        assert record.previous is None or record.previous in proven
        assert record.on_probation or record.current is None or record.current in proven
        # once a bundle has proven itself there is always one that has
        assert record.proven is not None or before.proven is None
        assert record.current not in record.failed


def test_a_failure_is_remembered_until_the_bundle_is_tried_again() -> None:
    record = Record().activated(A).committed(1).activated(B)
    assert (record.current, record.previous, record.starts) == (B, A, 0)
    record = record.taken_back("x" * 1000)
    assert (record.current, record.previous, record.starts) == (A, None, None)
    assert record.failed == {B: "x" * 300}
    assert record.activated(B).failed == {}


def test_only_so_many_failures_are_remembered() -> None:
    record = Record().activated(A).committed(1)
    for number in range(MOST_FAILED + 5):
        record = record.activated(f"{number:064x}").taken_back("bad")
    assert len(record.failed) == MOST_FAILED
    assert f"{MOST_FAILED + 4:064x}" in record.failed


def test_a_second_trial_keeps_the_way_back_to_the_proven_one() -> None:
    record = Record().activated(A).committed(1).activated(B).started().activated(C)
    assert (record.current, record.previous, record.starts) == (C, A, 0)


def test_going_back_by_hand_can_be_undone() -> None:
    record = Record().activated(A).committed(1).activated(B).committed(2)
    back = record.rolled_back()
    assert (back.current, back.previous, back.lowest_version) == (A, B, 2)
    assert back.rolled_back() == record
    # but a bundle that has proven nothing is nothing to go back to
    assert record.activated(C).rolled_back().previous is None


def test_starts_are_counted_on_probation_only() -> None:
    record = Record().activated(A)
    for _ in range(FAILED_STARTS):
        record = record.started()
    assert record.starts == FAILED_STARTS
    assert record.forgiven().starts == 0
    assert record.committed(1).started().starts is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"current": "../../etc"},
        {"current": A.upper()},
        {"previous": 7},
        {"starts": -1},
        {"starts": True},
        {"starts": 0.5},
        {"lowest_version": None},
        {"failed": []},
        {"failed": {"x": "y"}},
        {"failed": {A: 1}},
        {"current": None},
        {"more": 1},
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, Any]) -> None:
    data = json.loads(Record(B, A, 2, 1, {C: "bad"}).to_bytes())
    with pytest.raises(ValueError, match=r"expected|current = None"):
        Record.from_bytes(json.dumps({**data, **change}).encode())


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff", "[" * 10**5])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Record.from_bytes(text.encode("latin-1"))


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_record_with_a_changed_byte_is_refused_or_still_sound(at: int, change: int) -> None:
    data = bytearray(Record(B, A, 2, 1, {C: "bad"}).to_bytes())
    data[at % len(data)] ^= change
    try:
        record = Record.from_bytes(bytes(data))
    except ValueError:
        return
    assert Record.from_bytes(record.to_bytes()) == record
