"""Epochs of neighbours outlive a restart; a damaged file does no more than that it is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.mesh.known_epochs import BETWEEN_WRITES_S, LARGEST_FILE_BYTES, KnownEpochs

KEYS = {"b": b"b" * 32, "c": b"c" * 32}


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_epochs_come_back_and_only_grow(tmp_path: Path) -> None:
    known = KnownEpochs(tmp_path, KEYS)
    assert known.keep({"b": 7})
    assert not known.keep({"b": 6, "c": -1})
    assert not known.keep({"b": 7})
    assert KnownEpochs(tmp_path, KEYS).epochs == {"b": 7}
    assert (tmp_path / "neighbours.json").stat().st_size < 100


def test_without_keys_nothing_is_kept_nor_read(tmp_path: Path) -> None:
    (tmp_path / "neighbours.json").write_text("damaged")
    known = KnownEpochs(tmp_path, {})
    assert not known.keep({"b": 7})
    known.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["neighbours.json"]


def test_a_neighbour_with_ever_new_epochs_does_not_wear_the_disk_out(tmp_path: Path) -> None:
    clock = Clock()
    known = KnownEpochs(tmp_path, KEYS, clock)
    file = tmp_path / "neighbours.json"
    written: list[bytes] = []
    for epoch in range(1000):
        clock.now_s += 0.05
        assert known.keep({"b": epoch})
        if not written or file.read_bytes() != written[-1]:
            written.append(file.read_bytes())
    assert len(written) == 1 + int(999 * 0.05 / BETWEEN_WRITES_S)
    known.flush()
    assert KnownEpochs(tmp_path, KEYS).epochs == {"b": 999}


def test_an_epoch_of_another_key_says_nothing(tmp_path: Path) -> None:
    KnownEpochs(tmp_path, KEYS).keep({"b": 7, "c": 8})
    assert KnownEpochs(tmp_path, {**KEYS, "b": b"new" * 11}).epochs == {"c": 8}
    known = KnownEpochs(tmp_path, KEYS)
    known.go_on_with({"c": KEYS["c"]})
    assert known.epochs == {"c": 8}
    known.flush()
    assert KnownEpochs(tmp_path, KEYS).epochs == {"c": 8}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"version": 2, "cells": {}}',
        b'{"version": 1, "cells": []}',
        b'{"version": 1, "cells": {"b": 7}}',
        b'{"version": 1, "cells": {"b": {"epoch": -1, "key": "00"}}}',
        b'{"version": 1, "cells": {"b": {"epoch": 4294967296, "key": "00"}}}',
        b'{"version": 1, "cells": {"b": {"epoch": true, "key": "00"}}}',
        b'{"version": 1, "cells": {"b": {"epoch": 1, "key": 0}}}',
        b"[" * 100_000,
        b" " * (LARGEST_FILE_BYTES + 1),
    ],
)
def test_a_damaged_file_is_set_aside_with_a_warning(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "neighbours.json").write_bytes(damage)
    known = KnownEpochs(tmp_path, KEYS)
    assert known.epochs == {}
    assert "is damaged" in caplog.text
    assert (tmp_path / "neighbours.json.damaged").read_bytes() == damage
    known.keep({"b": 9})
    assert KnownEpochs(tmp_path, KEYS).epochs == {"b": 9}


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4), st.integers(0))
def test_whatever_the_file_became_it_is_read_or_set_aside(
    tmp_path: Path, changes: list[tuple[int, int]], length: int
) -> None:
    file = tmp_path / "neighbours.json"
    file.unlink(missing_ok=True)
    KnownEpochs(tmp_path, KEYS).keep({"b": 7, "c": 8})
    data = bytearray(file.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    file.write_bytes(bytes(data[: length % len(data) + 1]))
    epochs = KnownEpochs(tmp_path, KEYS).epochs
    assert all(0 <= epoch < 2**32 for epoch in epochs.values())
    assert epochs.keys() <= KEYS.keys()


def test_a_full_disk_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    known = KnownEpochs(tmp_path, KEYS, clock)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("networld_runtime.mesh.known_epochs.write_atomically", full)
        known.keep({"b": 7})
        known.keep({})
    assert caplog.text.count("No space left") == 1
    clock.now_s += BETWEEN_WRITES_S
    known.keep({})
    assert json.loads((tmp_path / "neighbours.json").read_text())["cells"]["b"]["epoch"] == 7
