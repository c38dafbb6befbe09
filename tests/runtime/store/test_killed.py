"""kill -9 before every step: what is left is usable, and the same done again ends as if never killed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from killed import OPERATIONS, Killer
from store_cell import StoreCell

from networld_runtime.store import activation
from networld_runtime.store.contents import check_files


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    killer = Killer()
    yield killer
    killer.close()


def check_usable(cell: StoreCell, usable: set[str]) -> None:
    """See that what the record names can be loaded, and that all that is installed is whole."""
    record = cell.record
    assert record.current in usable
    for digest in {record.current, record.previous} - {None}:
        assert digest is not None
        activation.load(cell.store, digest, cell.keys, cell.build)
    for digest in cell.store.installed():
        contents = activation.stored_contents(cell.store, digest, cell.keys)
        check_files(cell.store.folder(digest), contents)


def check_links(cell: StoreCell) -> None:
    for name in ("current", "previous"):
        link, digest = cell.store.path / name, getattr(cell.record, name)
        assert link.is_symlink() == (digest is not None)
        assert digest is None or link.resolve() == cell.store.folder(digest).resolve()
    assert not list(cell.store.path.glob("*.tmp"))


def each_kill(
    killer: Killer, cell: StoreCell, operation: str, argument: str | Path, usable: set[str]
) -> int:
    """Kill something at each of its steps, from the same beginning; return how many steps it has."""
    beginning = cell.folder / "beginning"
    shutil.copytree(cell.store.path, beginning, symlinks=True)

    def do() -> None:
        OPERATIONS[operation](cell, str(argument))

    do()
    check_links(cell)
    check_usable(cell, usable)
    wanted = (cell.record, cell.store.installed())
    step = 0
    while True:
        step += 1
        shutil.rmtree(cell.store.path)
        shutil.copytree(beginning, cell.store.path, symlinks=True)
        if not killer.killed(step, operation, cell, argument):
            break
        check_usable(cell, usable)
        if cell.record != wanted[0] or operation == "install":
            do()
        else:  # it was done; only the links may not show it yet
            cell.store.change(lambda record: record)
        check_links(cell)
        assert (cell.record, cell.store.installed()) == wanted
    assert (cell.record, cell.store.installed()) == wanted
    return step - 1


def test_installation(killer: Killer, cell: StoreCell) -> None:
    first = cell.use(1)
    assert each_kill(killer, cell, "install", cell.bundle(2), {first}) > 20


def test_installation_that_removes_what_is_too_old(killer: Killer, cell: StoreCell) -> None:
    for version in (1, 2):
        cell.use(version)
    third = cell.use(3)
    assert len(cell.store.installed()) == 3
    assert each_kill(killer, cell, "install", cell.bundle(4), {third}) > 30
    assert len(cell.store.installed()) == 3


def test_installation_over_a_damaged_one(killer: Killer, cell: StoreCell) -> None:
    """It is neither in use nor what would be gone back to, so that the cell never needs it."""
    first, source = cell.use(1), cell.bundle(2)
    damaged = cell.store.folder(cell.install(source)) / "power" / "head.onnx"
    step = 0
    while True:
        step += 1
        damaged.parent.mkdir(parents=True, exist_ok=True)
        damaged.write_bytes(b"damaged")
        if not killer.killed(step, "install", cell, source):
            break
        assert cell.start() == first
    assert step > 20
    check_usable(cell, {first})


@pytest.mark.parametrize("operation", ["activate", "take back", "roll back", "commit", "start"])
def test_changes_of_what_is_in_use(killer: Killer, cell: StoreCell, operation: str) -> None:
    first = cell.use(1)
    second = cell.install(cell.bundle(2))
    if operation != "activate":
        cell.activate(second)
    assert each_kill(killer, cell, operation, second, {first, second}) >= 3


def test_a_start_that_is_one_too_many(killer: Killer, cell: StoreCell) -> None:
    first, second = cell.use(1), cell.use(2, proven=False)
    for _ in range(3):
        activation.count_start(cell.store)
    assert each_kill(killer, cell, "start", second, {first, second}) >= 3
    assert cell.record.current == first
    assert cell.record.failed == {second: "3 starts in a row ended badly"}


def test_the_first_activation(killer: Killer, cell: StoreCell) -> None:
    digest = cell.install(cell.bundle(1))
    step = 1
    while killer.killed(step, "activate", cell, digest):
        assert cell.record.current in (None, digest)
        for file in ("record.json", "current"):
            (cell.store.path / file).unlink(missing_ok=True)
        step += 1
    assert step > 4
    assert cell.start() == digest


def test_three_killed_starts_and_the_fourth_takes_the_bundle_before(
    killer: Killer, cell: StoreCell
) -> None:
    """Killed while they load, as by a graph that brings the process down."""
    first, second = cell.use(1), cell.use(2, proven=False)
    step = 1
    while killer.killed(step, "start", cell, second):
        step += 1
    cell.activate(second, retry=True)  # counts from 0 again
    for number in (1, 2, 3):
        assert killer.killed(step - 1, "start", cell, second)
        assert (cell.record.current, cell.record.starts) == (second, number)
    assert cell.start() == first
    assert second in cell.record.failed
