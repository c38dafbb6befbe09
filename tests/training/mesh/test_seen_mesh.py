"""What is counted of a mesh from outside, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_training.mesh import seen_mesh
from networld_training.mesh.mesh_report import CellRow
from networld_training.mesh.seen_mesh import SeenMesh, filters
from networld_training.mesh.told import LARGEST_BYTES

PREFIX = "networld/v1/lab"
EPOCH = 1_790_000_000
BIRTH: dict[str, Any] = {
    "version": 1,
    "epoch": EPOCH,
    "software": "0.1.0",
    "task": "power",
    "contract": "ab" * 32,
    "bundle": "cd" * 32,
    "slot_s": 0.05,
    "neighbours": ["b", "c"],
}
STATUS: dict[str, Any] = {
    "ready": True,
    "counters": {
        "slots": 9,
        "deadlines_missed": 1,
        "neighbours_heard": 2,
        "messages_rejected": {"b": {"stale": 3}, "c": {"contract": 1}},
        "logs_rejected": {"b": {"stale": 2}},
    },
}


def message(slot: int, epoch: int = EPOCH) -> bytes:
    return bytes(msgpack.packb([2, b"abcd", epoch, slot, bytes(17)]))


def tell(mesh: SeenMesh, leaf: str, data: object, now_s: float = 0.0, cell: str = "a") -> None:
    payload = data if isinstance(data, bytes) else json.dumps(data).encode()
    mesh.take(f"{PREFIX}/{cell}/{leaf}", payload, False, now_s)


def only_row(mesh: SeenMesh, now_s: float = 0.0) -> CellRow:
    (row,) = mesh.look(now_s).cells
    return row


def with_slots(*headers: tuple[int, int]) -> CellRow:
    mesh = SeenMesh()
    for epoch, slot in headers:
        tell(mesh, "message", message(slot, EPOCH + epoch))
    return only_row(mesh)


def test_a_cell_is_told_from_all_that_it_says() -> None:
    mesh = SeenMesh()
    tell(mesh, "birth", BIRTH)
    tell(mesh, "state", {"state": "online", "epoch": EPOCH})
    tell(mesh, "status", STATUS)
    for slot in range(1, 201):
        tell(mesh, "message", message(slot), 0.05 * slot)
        if slot % 10 == 0:
            mesh.look(0.05 * slot)
    row = only_row(mesh, 10.02)
    assert (row.site, row.cell, row.task, row.state) == ("lab", "a", "power", "online")
    assert row.age_s == pytest.approx(0.02)
    assert row.messages_per_s == pytest.approx(20, rel=0.03)
    size = len(message(1))
    assert row.bytes_per_message == pytest.approx(size, abs=1)
    assert row.bytes_per_s == pytest.approx(20 * size, rel=0.05)
    assert (row.messages, row.gaps, row.late, row.restarts) == (200, 0, 0, 0)
    assert row.rejects == {"stale": 5, "contract": 1}
    assert row.rejected["b"] == {"stale": 5}
    assert (row.heard, row.neighbours, row.ready, row.deadlines_missed) == (2, ("b", "c"), True, 1)
    assert (row.contract, row.sealed, row.unreadable) == ("61626364", False, {})


@pytest.mark.parametrize(
    ("headers", "gaps", "late", "restarts"),
    [
        ([(0, 1), (0, 2), (0, 3)], 0, 0, 0),
        ([(0, 1), (0, 5)], 3, 0, 0),
        ([(0, 1), (0, 3), (0, 2), (0, 4)], 1, 1, 0),
        ([(0, 1), (0, 1)], 0, 1, 0),
        ([(0, 500), (1, 1), (1, 2)], 0, 0, 1),
        ([(1, 5), (0, 6), (1, 6)], 0, 1, 0),
        ([(0, 1), (0, 2**32 - 1)], 0, 0, 0),
        ([(0, 1), (0, 1001)], 999, 0, 0),
    ],
)
def test_slots_tell_what_was_lost(
    headers: list[tuple[int, int]], gaps: int, late: int, restarts: int
) -> None:
    row = with_slots(*headers)
    assert (row.gaps, row.late, row.restarts) == (gaps, late, restarts)


def test_sealed_messages_are_read_and_damaged_ones_counted() -> None:
    mesh = SeenMesh()
    tell(mesh, "message", b"\x02" + b"tag1tag2" + message(1))
    tell(mesh, "message", b"\x02" + b"tag1tag2" + message(4))
    tell(mesh, "message", b"\xff" * 20)
    tell(mesh, "message", msgpack.packb([1, b"abcd", 1, 1, b""]))
    row = only_row(mesh)
    assert (row.sealed, row.gaps, row.messages) == (True, 2, 4)
    assert row.unreadable == {"message malformed": 1, "message version": 1}


def state_of(states: list[tuple[str, int]], now_s: float, heard: bool, birth: bool = True) -> str:
    mesh = SeenMesh()
    if birth:
        tell(mesh, "birth", BIRTH)
    for state, epoch in states:
        tell(mesh, "state", {"state": state, "epoch": EPOCH + epoch})
    if heard:
        tell(mesh, "message", message(1), 0.0)
    return only_row(mesh, now_s).state


@pytest.mark.parametrize(
    ("states", "now_s", "heard", "expected"),
    [
        ([("online", 0)], 1.0, True, "online"),
        ([("online", 0)], 1.0, False, "online"),
        ([("online", 0)], 2.5, True, "silent"),
        ([("online", 0)], 2.5, False, "silent"),
        ([("online", 0), ("lost", 0)], 0.1, True, "lost"),
        ([("online", 0), ("offline", 0)], 0.1, True, "offline"),
        ([("online", 0), ("lost", -1)], 0.1, True, "online"),  # the will of a former boot
        ([], 0.1, True, "unknown"),
        ([], 9.0, True, "silent"),
    ],
)
def test_states(states: list[tuple[str, int]], now_s: float, heard: bool, expected: str) -> None:
    assert state_of(states, now_s, heard) == expected


def test_long_slots_are_waited_for() -> None:
    mesh = SeenMesh()
    tell(mesh, "birth", {**BIRTH, "slot_s": 1.0})
    tell(mesh, "state", {"state": "online", "epoch": EPOCH})
    tell(mesh, "message", message(1), 0.0)
    assert only_row(mesh, 9.0).state == "online"
    assert only_row(mesh, 11.0).state == "silent"


def test_a_cell_that_was_removed_says_so_until_it_is_back() -> None:
    mesh = SeenMesh()
    tell(mesh, "state", b"", cell="never-seen")
    assert mesh.look(0.0).cells == ()
    tell(mesh, "state", {"state": "online", "epoch": EPOCH})
    tell(mesh, "state", b"")
    assert only_row(mesh).state == "removed"
    tell(mesh, "state", {"state": "online", "epoch": EPOCH})
    assert only_row(mesh).state == "online"


def test_rates_forget_what_is_long_ago() -> None:
    mesh = SeenMesh()
    for number in range(100):
        tell(mesh, "message", message(number), 0.05 * number)
    for half in range(10, 25):
        mesh.look(0.5 * half)
    assert only_row(mesh, 12.5).messages_per_s == 0
    assert mesh.look(12.5).to_json()["totals"]["mean_messages_per_s"] == 8


@pytest.mark.parametrize(
    ("leaf", "data", "reason"),
    [
        ("state", {"state": "on fire", "epoch": 1}, "state malformed"),
        ("state", {"state": "online"}, "state malformed"),
        ("state", {"state": "online", "epoch": -1}, "state malformed"),
        ("state", [], "state malformed"),
        ("state", b"[" * 250, "state malformed"),
        ("state", b"\xff\xfe", "state malformed"),
        ("birth", {**BIRTH, "task": "[red]x"}, "birth malformed"),
        ("birth", {**BIRTH, "contract": "\x1b[2J"}, "birth malformed"),
        ("birth", {**BIRTH, "slot_s": 0}, "birth malformed"),
        ("birth", {**BIRTH, "slot_s": True}, "birth malformed"),
        ("birth", {**BIRTH, "slot_s": float("nan")}, "birth malformed"),
        ("birth", {**BIRTH, "neighbours": ["b"] * 300}, "birth malformed"),
        ("birth", {**BIRTH, "neighbours": ["\x1b[2J"]}, "birth malformed"),
        ("birth", {**BIRTH, "neighbours": "bc"}, "birth malformed"),
        ("status", {"ready": 1, "counters": {}}, "status malformed"),
        ("status", {"ready": True, "counters": []}, "status malformed"),
        ("status", {"ready": True, "counters": {"slots": 1e99}}, "status malformed"),
        (
            "status",
            {"ready": True, "counters": {"messages_rejected": {"b": {"\x1b[2J": 1}}}},
            "status malformed",
        ),
        (
            "status",
            {"ready": True, "counters": {"messages_rejected": {"b": {"stale": "many"}}}},
            "status malformed",
        ),
        (
            "status",
            {"ready": True, "counters": {"logs_rejected": {"/": {"stale": 1}}}},
            "status malformed",
        ),
    ],
)
def test_what_is_told_wrongly_is_counted_once_and_shown_nowhere(
    leaf: str, data: object, reason: str
) -> None:
    mesh = SeenMesh()
    tell(mesh, leaf, data)
    mesh.look(0.0)
    row = only_row(mesh)
    assert row.unreadable == {reason: 1}
    assert (row.task, row.neighbours, row.heard, row.rejects) == (None, None, None, {})


@pytest.mark.parametrize(
    "topic",
    [
        "networld/v1/lab/a",
        "networld/v1/lab/a/message/more",
        "networld/v2/lab/a/message",
        "networld/v1/lab/A/message",
        "networld/v1/\x1b[2J/a/message",
        "networld/v1/lab/a/else",
        "",
    ],
)
def test_topics_of_others_are_counted(topic: str) -> None:
    mesh = SeenMesh()
    mesh.take(topic, b"", False, 0.0)
    report = mesh.look(0.0)
    assert report.foreign == {"topic": 1}
    assert report.cells == ()


def test_nobody_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_mesh, "MOST_CELLS", 10)
    mesh = SeenMesh()
    for number in range(100):
        tell(mesh, "message", message(1), cell=f"cell-{number}")
    for leaf, largest in LARGEST_BYTES.items():
        tell(mesh, leaf, bytes(largest + 1), cell="cell-0")
    report = mesh.look(0.0)
    assert len(report.cells) == 10
    assert report.foreign == {"too_many": 90, "size": 3}
    assert len(mesh._topics) == 13


def test_other_topics_and_old_messages_are_no_messages() -> None:
    mesh = SeenMesh()
    mesh.take(f"{PREFIX}/a/message", message(1), True, 0.0)
    mesh.take(f"{PREFIX}/a/observation", bytes(70), False, 0.0)
    assert only_row(mesh).messages == 0
    assert mesh.look(0.0).other_bytes == 70


def test_cells_are_in_natural_order_and_sites_apart() -> None:
    mesh = SeenMesh()
    for site, cell in (("b", "cell-2"), ("a", "cell-10"), ("a", "cell-9"), ("a", "cell-09")):
        mesh.take(f"networld/v1/{site}/{cell}/message", message(1), False, 0.0)
    report = mesh.look(0.0)
    assert [row.cell for row in report.cells] == ["cell-09", "cell-9", "cell-10", "cell-2"]
    assert {site: len(one.cells) for site, one in report.of_sites().items()} == {"a": 3, "b": 1}


def test_filters_take_what_is_needed_and_all_on_demand() -> None:
    assert filters("lab", False) == [
        f"networld/v1/lab/+/{leaf}" for leaf in ("message", "state", "birth", "status")
    ]
    assert len(filters("+", True)) == 9


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["message", "state", "birth", "status", "log", "x"]),
            st.one_of(
                st.binary(max_size=60),
                st.dictionaries(
                    st.sampled_from([*BIRTH, "state", "ready", "counters"]),
                    st.recursive(
                        st.none() | st.integers() | st.floats() | st.text(max_size=5),
                        lambda inner: (
                            st.lists(inner, max_size=3)
                            | st.dictionaries(st.text(max_size=5), inner, max_size=3)
                        ),
                        max_leaves=6,
                    ),
                ).map(lambda data: json.dumps(data).encode()),
            ),
            st.booleans(),
            st.floats(0, 100),
        ),
        max_size=10,
    )
)
def test_nothing_that_comes_is_an_exception(told: list[tuple[str, bytes, bool, float]]) -> None:
    mesh = SeenMesh()
    for leaf, payload, retained, now_s in told:
        mesh.take(f"{PREFIX}/a/{leaf}", payload, retained, now_s)
        report = mesh.look(now_s)
        json.dumps(report.to_json(), allow_nan=False)
