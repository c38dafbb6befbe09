"""What was heard last outlives a restart; a damaged file does no more than that it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.mesh.last_heard import (
    BETWEEN_SLOTS_S,
    BETWEEN_WRITES_S,
    LARGEST_FILE_BYTES,
    LastHeard,
)

KEYS = {"b": b"b" * 32, "c": b"c" * 32}


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _at_once(task: Callable[[], None]) -> None:
    task()


def _known(folder: Path, keys: Mapping[str, bytes], clock: Clock | None = None) -> LastHeard:
    return LastHeard(folder, keys, clock or Clock(), _at_once)


def test_what_was_heard_comes_back_and_only_grows(tmp_path: Path) -> None:
    known = _known(tmp_path, KEYS)
    assert known.keep({"b": (7, 40)})
    assert not known.keep({"b": (6, 90), "z": (9, 9)})
    assert not known.keep({"b": (7, 39)})
    assert not known.keep({"b": (7, 41)})  # a later slot is no later epoch
    known.flush()
    assert _known(tmp_path, KEYS).newest == {"b": (7, 41)}
    assert (tmp_path / "neighbours.json").stat().st_size < 150


def test_without_keys_nothing_is_kept_nor_read(tmp_path: Path) -> None:
    (tmp_path / "neighbours.json").write_text("damaged")
    known = _known(tmp_path, {})
    assert not known.keep({"b": (7, 1)})
    known.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["neighbours.json"]


@pytest.mark.parametrize(
    ("growing", "between_s"), [("epoch", BETWEEN_WRITES_S), ("slot", BETWEEN_SLOTS_S)]
)
def test_a_neighbour_that_goes_on_and_on_does_not_wear_the_disk_out(
    tmp_path: Path, growing: str, between_s: float
) -> None:
    clock = Clock()
    known = _known(tmp_path, KEYS, clock)
    file = tmp_path / "neighbours.json"
    written: list[bytes] = []
    for count in range(3000):
        clock.now_s += 0.05
        known.keep({"b": (count, 0) if growing == "epoch" else (7, count)})
        if not written or file.read_bytes() != written[-1]:
            written.append(file.read_bytes())
    assert len(written) == 1 + int(2999 * 0.05 / between_s)
    known.flush()
    newest = (2999, 0) if growing == "epoch" else (7, 2999)
    assert _known(tmp_path, KEYS).newest == {"b": newest}


def test_what_another_key_vouched_for_says_nothing_until_that_key_is_back(tmp_path: Path) -> None:
    known = _known(tmp_path, KEYS)
    known.keep({"b": (7, 40), "c": (8, 1)})
    other = {**KEYS, "b": b"new" * 11}
    assert _known(tmp_path, other).newest == {"c": (8, 1)}
    known.go_on_with(other)
    assert known.newest == {"c": (8, 1)}
    known.keep({"b": (3, 2)})
    known.go_on_with({"c": KEYS["c"]})
    assert known.newest == {"c": (8, 1)}
    known.flush()
    assert _known(tmp_path, KEYS).newest == {"b": (7, 40), "c": (8, 1)}
    assert _known(tmp_path, other).newest == {"b": (3, 2), "c": (8, 1)}


def test_the_loop_does_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, done = threading.Event(), threading.Event()

    def write(*_: object) -> None:
        assert slow.wait(20)
        done.set()

    monkeypatch.setattr("networld_runtime.mesh.last_heard.write_atomically", write)
    known = LastHeard(tmp_path, KEYS)
    assert known.keep({"b": (7, 1)})  # comes back though the disk does not
    assert not done.is_set()
    slow.set()
    known.flush()
    assert done.is_set()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 1, "cells": []}',
        b'{"version": 2, "cells": {}}',
        b'{"version": 2, "cells": [7]}',
        b'{"version": 2, "cells": [{"cell": "b", "epoch": -1, "slot": 0, "key": "00"}]}',
        b'{"version": 2, "cells": [{"cell": "b", "epoch": 4294967296, "slot": 0, "key": "00"}]}',
        b'{"version": 2, "cells": [{"cell": "b", "epoch": true, "slot": 0, "key": "00"}]}',
        b'{"version": 2, "cells": [{"cell": "b", "epoch": 1, "slot": 0, "key": 0}]}',
        b'{"version": 2, "cells": [{"cell": "b", "epoch": 1, "key": "00"}]}',
        b'{"version": 2, "cells": [{"cell": 5, "epoch": 1, "slot": 0, "key": "00"}]}',
        b"[" * 100_000,
        b" " * (LARGEST_FILE_BYTES + 1),
    ],
)
def test_a_damaged_file_is_set_aside_with_a_warning(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "neighbours.json").write_bytes(damage)
    known = _known(tmp_path, KEYS)
    assert known.newest == {}
    assert "is damaged" in caplog.text
    assert (tmp_path / "neighbours.json.damaged").read_bytes() == damage
    known.keep({"b": (9, 1)})
    assert _known(tmp_path, KEYS).newest == {"b": (9, 1)}


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4), st.integers(0))
def test_whatever_the_file_became_it_is_read_or_set_aside(
    tmp_path: Path, changes: list[tuple[int, int]], length: int
) -> None:
    file = tmp_path / "neighbours.json"
    file.unlink(missing_ok=True)
    _known(tmp_path, KEYS).keep({"b": (7, 1), "c": (8, 2)})
    data = bytearray(file.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    file.write_bytes(bytes(data[: length % len(data) + 1]))
    newest = _known(tmp_path, KEYS).newest
    assert all(0 <= number < 2**32 for heard in newest.values() for number in heard)
    assert newest.keys() <= KEYS.keys()


def test_a_full_disk_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    known = _known(tmp_path, KEYS, clock)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("networld_runtime.mesh.last_heard.write_atomically", full)
        known.keep({"b": (7, 1)})
        known.keep({})
    assert caplog.text.count("No space left") == 1
    clock.now_s += BETWEEN_WRITES_S
    known.keep({})
    assert json.loads((tmp_path / "neighbours.json").read_text())["cells"][0]["epoch"] == 7
