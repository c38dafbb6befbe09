"""Which bundle is in use: activation, starts, and the way back by hand and by itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from store_cell import StoreCell

from networld_runtime.errors import BundleError, ConfigError
from networld_runtime.store import activation
from networld_runtime.store.folder import Store


def damage(cell: StoreCell, digest: str, name: str = "power/policy.onnx") -> None:
    file = cell.store.folder(digest) / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_activation_is_a_probation_with_a_way_back(cell: StoreCell) -> None:
    first = cell.use(1)
    second = cell.use(2, proven=False)
    record = cell.record
    assert (record.current, record.previous, record.starts) == (second, first, 0)
    assert os.readlink(cell.store.path / "current") == f"bundles/{second}"
    assert os.readlink(cell.store.path / "previous") == f"bundles/{first}"
    activation.commit(cell.store, second, 2)
    assert (cell.record.starts, cell.record.lowest_version) == (None, 2)


def test_activating_what_is_in_use_changes_nothing(cell: StoreCell) -> None:
    first = cell.use(1)
    before = cell.record
    assert cell.activate(first) == before


def test_a_damaged_bundle_is_not_activated(cell: StoreCell) -> None:
    first, second = cell.use(1), cell.install(cell.bundle(2))
    damage(cell, second)
    with pytest.raises(BundleError, match=r"policy.onnx: damaged.*install it again"):
        cell.activate(second)
    assert cell.record.current == first


def test_a_bundle_that_failed_is_not_activated_again_unless_asked_for(cell: StoreCell) -> None:
    cell.use(1)
    second = cell.use(2, proven=False)
    assert activation.take_back(cell.store, second, "5 bad slots of 9")
    with pytest.raises(BundleError, match=r"failed before \(5 bad slots of 9\).*--retry"):
        cell.activate(second)
    assert cell.activate(second, retry=True).current == second


def test_a_verdict_on_a_bundle_that_is_not_in_use_any_more_changes_nothing(cell: StoreCell) -> None:
    first, second = cell.use(1), cell.use(2, proven=False)
    cell.activate(first)
    before = cell.record
    assert not activation.take_back(cell.store, second, "late")
    activation.commit(cell.store, second, 2)
    assert cell.record == before
    assert before.current == first


def test_going_back_by_hand(cell: StoreCell) -> None:
    with pytest.raises(BundleError, match="no previous bundle"):
        activation.roll_back(cell.store, cell.keys)
    first, second = cell.use(1), cell.use(2)
    assert activation.roll_back(cell.store, cell.keys).current == first
    assert cell.start() == first
    assert activation.roll_back(cell.store, cell.keys).current == second
    damage(cell, first)
    with pytest.raises(BundleError, match="damaged"):
        activation.roll_back(cell.store, cell.keys)
    assert cell.record.current == second


def test_an_empty_store_says_what_to_do(cell: StoreCell) -> None:
    with pytest.raises(BundleError, match="no bundle is active; `networld-agent bundle install`"):
        cell.start()


@pytest.mark.parametrize("proven", [False, True])
@pytest.mark.parametrize("name", ["power/policy.onnx", "manifest.json", "manifest.sig"])
def test_a_bundle_that_is_damaged_is_taken_back_at_the_start(
    cell: StoreCell, name: str, proven: bool
) -> None:
    first, second = cell.use(1), cell.use(2, proven=proven)
    damage(cell, second, name)
    assert cell.start() == first
    assert cell.record.current == first
    assert cell.record.failed[second].startswith("does not start: ")
    assert cell.start() == first


def test_a_bundle_that_is_missing_is_taken_back_at_the_start(cell: StoreCell) -> None:
    first, second = cell.use(1), cell.use(2)
    shutil.rmtree(cell.store.folder(second))
    assert cell.start() == first


def test_where_both_are_damaged_both_are_told_and_nothing_is_changed(cell: StoreCell) -> None:
    first, second = cell.use(1), cell.use(2)
    damage(cell, first)
    damage(cell, second, "manifest.json")
    with pytest.raises(BundleError) as caught:
        cell.start()
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "current bundle",
        "previous bundle",
    ]
    assert cell.record.current == second


def test_another_signed_bundle_in_its_place_is_noticed(cell: StoreCell) -> None:
    """Its signature is right, but it is not what was activated."""
    first = cell.use(1)
    other = cell.bundle(1, seed=5)
    shutil.rmtree(cell.store.folder(first))
    shutil.copytree(other, cell.store.folder(first))
    with pytest.raises(BundleError, match="not the manifest that was installed"):
        cell.start()


def test_a_mistake_in_the_configuration_takes_nothing_back(cell: StoreCell) -> None:
    cell.use(1)
    second = cell.use(2)
    with cell.config_file.open("a") as file:
        file.write('[planner]\nmode = "select"\ncandidates = 5\n')
    with pytest.raises(ConfigError, match="candidates = 5"):
        cell.start()
    assert cell.record.current == second


def test_starts_that_end_well_are_not_counted(cell: StoreCell) -> None:
    cell.use(1)
    second = cell.use(2, proven=False)
    for _ in range(10):
        assert cell.start() == second
        activation.forgive_start(cell.store)
    assert cell.record.starts == 0


def test_three_starts_that_end_badly_are_too_many(cell: StoreCell) -> None:
    first, second = cell.use(1), cell.use(2, proven=False)
    assert [cell.start() for _ in range(4)] == [second, second, second, first]
    assert cell.record.failed == {second: "3 starts in a row ended badly"}


def test_without_a_bundle_before_the_only_one_is_tried_on(cell: StoreCell) -> None:
    only = cell.use(1, proven=False)
    assert {cell.start() for _ in range(6)} == {only}


def test_a_store_that_cannot_be_written_does_not_keep_a_cell_from_starting(
    cell: StoreCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell.use(1)
    second = cell.use(2, proven=False)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    assert {cell.start() for _ in range(5)} == {second}


def test_where_a_failure_cannot_be_noted_the_cell_starts_with_the_bundle_before(
    cell: StoreCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = cell.use(1), cell.use(2)
    damage(cell, second)

    def fail(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "fsync", fail)
    assert cell.start() == first
    assert cell.record.current == second


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 300, b"x" * 10**6])
def test_with_a_damaged_record_a_cell_starts_with_what_the_links_show(
    cell: StoreCell, content: bytes
) -> None:
    first, second = cell.use(1), cell.use(2)
    cell.store.record_file.write_bytes(content)
    assert cell.start() == second
    damage(cell, second)
    assert cell.start() == first
    third = cell.bundle(3)
    with pytest.raises(BundleError, match=r"record.json: damaged .*; remove it and activate"):
        cell.install(third)
    (cell.store.path / "current").unlink()
    (cell.store.path / "current").symlink_to(cell.folder)
    with pytest.raises(BundleError, match=r"record.json: damaged"):
        cell.start()


def test_links_that_were_changed_are_put_right_and_never_believed(cell: StoreCell) -> None:
    first, second = cell.use(1), cell.use(2, proven=False)
    (cell.store.path / "current").unlink()
    (cell.store.path / "current").symlink_to(f"bundles/{first}")
    (cell.store.path / "previous").unlink()
    assert cell.start() == second
    assert os.readlink(cell.store.path / "current") == f"bundles/{second}"
    assert os.readlink(cell.store.path / "previous") == f"bundles/{first}"


def test_one_at_a_time(cell: StoreCell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("networld_runtime.store.folder.LOCK_WAIT_S", 0.05)
    source = cell.bundle(1)
    digest = cell.install(source)
    with (
        cell.store.incoming(),
        pytest.raises(BundleError, match=r"another process has held install.lock"),
    ):
        cell.install(cell.bundle(2))
    with (
        cell.store.locked("lock"),
        pytest.raises(BundleError, match="another process has held lock for"),
    ):
        cell.activate(digest)
    cell.activate(digest)


def test_a_digest_is_found_by_how_it_begins(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(BundleError, match="no bundle 'ab'; installed: none"):
        store.find("ab")
    for digest in ("ab" * 32, "ac" * 32):
        store.folder(digest).mkdir(parents=True)
    (tmp_path / "bundles" / "no-digest").mkdir()
    assert store.find("AB") == "ab" * 32
    with pytest.raises(BundleError, match="'a' begins several digests: abababababababab, acac"):
        store.find("a")
    with pytest.raises(BundleError, match=r"no bundle '\.\./\.\.'"):
        store.find("../..")


def test_everything_is_on_the_disk_before_it_is_named(
    cell: StoreCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a flush of what is in it, a folder may come back empty after a power cut."""
    source = cell.bundle(1)
    flushed: set[str] = set()
    unflushed: list[str] = []
    renamed: list[Path] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def note(handle: int) -> None:
        flushed.add(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def check(old: object, new: object) -> None:
        top = Path(str(old))
        if not top.is_symlink():
            paths = [top, *top.rglob("*")]
            unflushed.extend(str(path) for path in paths if str(path) not in flushed)
            flushed.update(str(new) for path in paths if path == top and path.is_file())
        renamed.append(Path(str(new)))
        flushed.discard(str(renamed[-1].parent))

    def noted_rename(old: object, new: object) -> None:
        check(old, new)
        rename(str(old), str(new))

    def noted_replace(old: object, new: object) -> None:
        check(old, new)
        replace(str(old), str(new))

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "rename", noted_rename)
    monkeypatch.setattr(os, "replace", noted_replace)
    digest = cell.install(source)
    cell.activate(digest)
    assert unflushed == []
    store = cell.store
    assert {store.folder(digest), store.record_file, store.path / "current"} <= set(renamed)
    folders = {str(path.parent) for path in renamed if "incoming" not in path.parts}
    assert folders - flushed == set()
