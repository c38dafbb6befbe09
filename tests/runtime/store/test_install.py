"""The fault matrix of a bundle: whatever is wrong with it, it is refused, and the store is as before."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from store_cell import StoreCell, make_cell
from tiny_bundles import edit_manifest, sign_manifest, write_keys

from networld_runtime.bundle import file_digest
from networld_runtime.contract import Contract
from networld_runtime.errors import BundleError, ConfigError, SignatureError
from networld_runtime.store import activation, copying, install

FILES = sorted(
    ["manifest.json", "manifest.sig", "power/golden.safetensors"]
    + [f"power/{graph}.onnx" for graph in ("encoder", "denoiser", "head", "policy", "gradient")]
)


def files_below(folder: Path) -> dict[str, bytes | str]:
    """Return what is in a folder: the content of files, the targets of links."""
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def refused(cell: StoreCell, source: Path, match: str, **more: Any) -> None:
    """See a bundle refused, and the store as it was."""
    before = files_below(cell.store.path) if cell.store.path.exists() else {}
    with pytest.raises((BundleError, ConfigError), match=match):
        cell.install(source, **more)
    after = files_below(cell.store.path) if cell.store.path.exists() else {}
    assert {name: after[name] for name in after if "lock" not in name} == {
        name: before[name] for name in before if "lock" not in name
    }


def edited(cell: StoreCell, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change a manifest and sign it again, as only who has the key can."""
    edit_manifest(folder, change)
    return sign_manifest(folder, cell.key)


def test_an_installed_bundle_is_a_copy_and_not_in_use(cell: StoreCell) -> None:
    source = cell.bundle(3)
    (source / "README").write_text("not in the manifest")
    digest = cell.install(source)
    assert digest == file_digest(source / "manifest.json")
    assert sorted(files_below(cell.store.folder(digest))) == FILES
    for name in FILES:
        assert (cell.store.folder(digest) / name).read_bytes() == (source / name).read_bytes()
    assert cell.record.current is None
    assert cell.store.installed() == [digest]
    assert not (cell.store.path / "incoming").exists()


def test_a_bundle_is_installed_once(cell: StoreCell) -> None:
    source = cell.bundle(1)
    digest = cell.install(source)
    found = install.install(cell.store, source, cell.keys, "power", cell.build)
    assert (found.digest, found.new, found.plan_ms) == (digest, False, None)


@pytest.mark.parametrize("damage", ["flip", "remove", "truncate"])
def test_a_damaged_installed_bundle_is_mended(cell: StoreCell, damage: str) -> None:
    source = cell.bundle(1)
    file = cell.store.folder(cell.install(source)) / "power" / "head.onnx"
    if damage == "remove":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[:-1] if damage == "truncate" else content[:-1] + b"\xff")
    assert install.install(cell.store, source, cell.keys, "power", cell.build).new
    assert file.read_bytes() == (source / "power" / "head.onnx").read_bytes()


@pytest.fixture(scope="module")
def shared(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> tuple[StoreCell, Path]:
    """A cell with a bundle in use and a newer one, for the tests that only try to install that."""
    cell = make_cell(tmp_path_factory.mktemp("shared"), contract)
    cell.use(1)
    return cell, cell.bundle(2)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_changed_byte_of_any_file_is_noticed(
    shared: tuple[StoreCell, Path], data: st.DataObject
) -> None:
    cell, source = shared
    name = data.draw(st.sampled_from(FILES))
    content = (source / name).read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        (source / name).write_bytes(changed)
        refused(cell, source, "damaged|not signed")
    finally:
        (source / name).write_bytes(content)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("size", ["empty", "one byte less", "one byte more", "missing"])
def test_a_file_of_another_size_is_noticed(
    shared: tuple[StoreCell, Path], name: str, size: str
) -> None:
    cell, source = shared
    content = (source / name).read_bytes()
    changed = {"empty": b"", "one byte less": content[:-1], "one byte more": content + b"\0"}
    try:
        (source / name).unlink()
        if size in changed:
            (source / name).write_bytes(changed[size])
        refused(cell, source, "damaged|not signed|cannot be read|signature of|are allowed")
    finally:
        (source / name).write_bytes(content)


def test_swapped_files_are_noticed(shared: tuple[StoreCell, Path]) -> None:
    cell, source = shared
    head, policy = source / "power" / "head.onnx", source / "power" / "policy.onnx"
    one, other = head.read_bytes(), policy.read_bytes()
    try:
        head.write_bytes(other)
        policy.write_bytes(one)
        with pytest.raises(BundleError) as caught:
            cell.install(source)
        assert len(caught.value.problems) == 2
    finally:
        head.write_bytes(one)
        policy.write_bytes(other)


def test_the_manifest_of_another_bundle_is_noticed(shared: tuple[StoreCell, Path]) -> None:
    """Both are signed, but their parts cannot be mixed."""
    cell, source = shared
    mixed = cell.folder / "mixed"
    shutil.copytree(source, mixed)
    other = cell.bundle(3, seed=9)
    for name in ("manifest.json", "manifest.sig"):
        shutil.copy(other / name, mixed / name)
    refused(cell, mixed, "encoder.onnx: damaged")
    shutil.copy(source / "manifest.sig", mixed / "manifest.sig")
    refused(cell, mixed, "not signed by a trusted key")


def test_an_unsigned_bundle_is_refused(cell: StoreCell) -> None:
    source = cell.bundle(1)
    (source / "manifest.sig").unlink()
    refused(cell, source, r"manifest.sig: cannot be read")


def test_a_bundle_signed_with_another_key_is_refused(cell: StoreCell) -> None:
    other = write_keys(cell.folder / "theirs", "theirs")
    source = sign_manifest(cell.bundle(1), other)
    refused(cell, source, r"not signed by a trusted key \(ours.pub\)")
    shutil.copy(cell.folder / "theirs" / "theirs.pub", cell.folder / "trusted")
    assert cell.install(source) in cell.store.installed()


def test_a_key_that_is_trusted_no_more_signs_nothing(cell: StoreCell) -> None:
    digest = cell.use(1)
    write_keys(cell.folder / "trusted", "new")
    (cell.folder / "trusted" / "ours.pub").unlink()
    with pytest.raises(SignatureError, match=r"not signed by a trusted key \(new.pub\)"):
        cell.start()
    with pytest.raises(SignatureError):
        cell.activate(digest)


def test_an_older_version_is_refused_though_it_is_signed(cell: StoreCell) -> None:
    old = cell.bundle(4)
    cell.use(5)
    refused(cell, old, "has version 4, but version 5 was in use here already; versions never go")
    cell.install(cell.bundle(5, seed=1))


def test_a_version_counts_only_once_it_has_proven_itself(cell: StoreCell) -> None:
    cell.use(1)
    bad = cell.use(7, proven=False)
    activation.take_back(cell.store, bad, "bad")
    cell.install(cell.bundle(2))


def test_an_older_version_that_was_installed_before_is_not_activated(cell: StoreCell) -> None:
    old = cell.install(cell.bundle(1))
    cell.use(2)
    with pytest.raises(BundleError, match="versions never go back"):
        cell.activate(old)


@pytest.mark.parametrize(
    "name",
    [
        "../outside.onnx",
        "power/../../outside.onnx",
        "/etc/passwd",
        "power//head.onnx",
        "./power/head.onnx",
        "",
        ".",
        "..",
        "power/.hidden",
        "power\\head.onnx",
        "power/head\n.onnx",
        "power/head\0.onnx",
        "power/é.onnx",
        "manifest.json",
        "manifest.sig",
        "a" * 201,
        "power/",
        7,
        None,
    ],
)
def test_names_that_lead_elsewhere_are_refused(cell: StoreCell, name: object) -> None:
    source = cell.bundle(1)
    shutil.copy(source / "power" / "head.onnx", cell.folder / "outside.onnx")
    graphs = "graphs"
    edited(cell, source, lambda data: data["tasks"]["power"][graphs]["head"].update(file=name))
    refused(cell, source, "expected a name inside the bundle")


def test_names_of_other_tasks_are_checked_too(cell: StoreCell) -> None:
    source = cell.bundle(1)

    def add(data: dict[str, Any]) -> None:
        entry = {**data["tasks"]["power"]}
        entry["golden"] = {**entry["golden"], "file": "../golden.safetensors"}
        data["tasks"]["other"] = entry

    refused(cell, edited(cell, source, add), "golden.safetensors.*inside the bundle")


@pytest.mark.parametrize("digest", ["", "0" * 63, "G" * 64, "A" * 64, 5, None])
def test_a_digest_that_is_none_is_refused(cell: StoreCell, digest: object) -> None:
    source = cell.bundle(1)
    edited(cell, source, lambda data: data["tasks"]["power"]["golden"].update(sha256=digest))
    refused(cell, source, "sha256 = .* expected 64 hexadecimal digits")


def test_one_name_with_two_digests_is_refused(cell: StoreCell) -> None:
    source = cell.bundle(1)

    def double(data: dict[str, Any]) -> None:
        graphs = data["tasks"]["power"]["graphs"]
        graphs["head"]["file"] = graphs["policy"]["file"]

    refused(cell, edited(cell, source, double), "named twice")


@pytest.mark.parametrize("name", ["power/head.onnx", "manifest.json", "manifest.sig", "power"])
def test_links_are_not_followed(cell: StoreCell, name: str) -> None:
    """Not even to the very file."""
    source = cell.bundle(1)
    elsewhere = cell.folder / "elsewhere"
    (source / name).rename(elsewhere)
    (source / name).symlink_to(elsewhere)
    refused(cell, source, "links are not followed")


def test_a_hard_link_is_copied_and_shares_nothing_with_the_store(cell: StoreCell) -> None:
    source = cell.bundle(1)
    head = source / "power" / "head.onnx"
    content = head.read_bytes()
    os.link(head, cell.folder / "other-name")
    digest = cell.install(source)
    (cell.folder / "other-name").write_bytes(b"changed later")
    assert (cell.store.folder(digest) / "power" / "head.onnx").read_bytes() == content


@pytest.mark.parametrize("name", ["power/head.onnx", "manifest.json"])
@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused(cell: StoreCell, name: str, kind: str) -> None:
    source = cell.bundle(1)
    (source / name).unlink()
    if kind == "pipe":
        os.mkfifo(source / name)
    else:
        (source / name).mkdir()
    refused(cell, source, "no plain file")


def test_an_oversized_manifest_is_refused_before_it_is_read(cell: StoreCell) -> None:
    source = cell.bundle(1)
    with (source / "manifest.json").open("ab") as file:
        file.truncate(1 << 40)  # a hole: takes no room
    refused(cell, source, "1099511627776 bytes, at most 1048576 are allowed")


def test_an_oversized_graph_is_refused_before_it_is_read(cell: StoreCell) -> None:
    source = cell.bundle(1)
    with (source / "power" / "head.onnx").open("ab") as file:
        file.truncate(1 << 40)
    refused(cell, source, "head.onnx: 1099511627776 bytes, at most 268435456 are allowed")


def test_a_file_that_grows_while_it_is_read_is_cut_off(
    cell: StoreCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cell.folder / "file"
    file.write_bytes(bytes(100))
    fstat = os.fstat

    def grow(handle: int) -> os.stat_result:
        found = fstat(handle)
        with file.open("ab") as more:
            more.write(bytes(100))
        return found

    monkeypatch.setattr(os, "fstat", grow)
    with pytest.raises(BundleError, match="more than 150 bytes are not allowed"):
        copying.read_inside(cell.folder, "file", 150)


def test_a_bundle_too_large_in_all_is_refused(
    cell: StoreCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "MAXIMUM_BUNDLE_BYTES", 1 << 20)
    refused(cell, cell.bundle(1), "bytes in all, at most 1048576 are allowed")


def test_a_full_disk_is_told_beforehand(cell: StoreCell, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(cell.folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    refused(cell, cell.bundle(1), "1000 bytes free, .* are needed; make room")


@pytest.mark.parametrize("call", ["fsync", "mkdir", "rename", "replace"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_fails_leaves_the_store_as_it_was(
    shared: tuple[StoreCell, Path], call: str, error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell, source = shared

    def fail(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, call, fail)
    refused(cell, source, f"cannot be written: {os.strerror(error)}")


def test_too_many_files_are_refused(cell: StoreCell) -> None:
    source = cell.bundle(1)

    def add(data: dict[str, Any]) -> None:
        graphs = data["tasks"]["power"]["graphs"]
        graphs |= {f"more_{number}": graphs["head"] for number in range(1100)}

    refused(cell, edited(cell, source, add), "1106 files, at most 1024 are allowed")


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "2", None, 1 << 60])
def test_a_version_that_is_none_is_refused(cell: StoreCell, version: object) -> None:
    source = cell.bundle(1)
    refused(
        cell,
        edited(cell, source, lambda data: data.update(version=version)),
        "version = .* expected a whole number",
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("version"),
        lambda data: data.pop("tasks"),
        lambda data: data.update(tasks=[]),
        lambda data: data.update(format=7),
        lambda data: data["tasks"]["power"].pop("golden"),
        lambda data: data["tasks"]["power"].update(graphs=3),
        lambda data: data["tasks"]["power"]["graphs"].update(head=None),
        lambda data: data["tasks"]["power"].update(contract_hash="0" * 64),
        lambda data: data["tasks"]["power"].update(planner={"mode": "fly"}),
        lambda data: data["tasks"]["power"].update(planner={"unknown": 1}),
        lambda data: data["tasks"]["power"]["golden"].update(tolerance=[]),
        lambda data: data["tasks"]["power"]["golden"].update(tolerance={"head": "x"}),
    ],
)
def test_a_signed_manifest_that_makes_no_sense_is_refused(
    cell: StoreCell, change: Callable[[dict[str, Any]], object]
) -> None:
    refused(cell, edited(cell, cell.bundle(1), change), r".")


def test_another_task_is_refused(cell: StoreCell) -> None:
    cell.config_file.write_text(cell.config_file.read_text().replace('"power"', '"sleep"'))
    with pytest.raises(BundleError, match="'tiny' has no task 'sleep'; it holds: power"):
        install.install(cell.store, cell.bundle(1), cell.keys, "sleep", cell.build)


def test_another_contract_than_the_one_in_use_must_be_asked_for(
    cell: StoreCell, contract: Contract
) -> None:
    cell.use(1)
    other = cell.bundle(2, contract=replace(contract, discount=0.5))
    refused(cell, other, "would not understand its neighbours; give --change-contract")
    digest = cell.install(other, change_contract=True)
    with pytest.raises(BundleError, match="would not understand its neighbours"):
        cell.activate(digest)
    assert cell.activate(digest, change_contract=True).current == digest


def test_a_setting_of_the_cell_that_does_not_fit_is_refused(cell: StoreCell) -> None:
    with cell.config_file.open("a") as file:
        file.write('[planner]\nmode = "select"\ncandidates = 5\n')
    refused(cell, cell.bundle(1), "full denoiser was exported for 3")


@pytest.mark.parametrize("graph", ["encoder", "policy", "head", "denoiser"])
def test_a_bundle_that_answers_otherwise_here_is_refused(cell: StoreCell, graph: str) -> None:
    """As if a graph ran wrongly on this board: all is intact and signed, but the answer is another."""
    source = cell.bundle(1)
    file = source / "power" / "golden.safetensors"
    vectors = load_file(file)
    name = next(name for name in vectors if name.startswith(f"{graph}/0/out_"))
    vectors[name] = vectors[name] * np.float32(1.01)
    save_file(vectors, file)
    digest = file_digest(file)
    edited(cell, source, lambda data: data["tasks"]["power"]["golden"].update(sha256=digest))
    refused(cell, source, f"self-test of graph '{graph}': relative error .* is allowed")


@pytest.mark.parametrize("change", ["missing", "shape", "nan", "no tensors"])
def test_damaged_golden_vectors_are_refused(cell: StoreCell, change: str) -> None:
    source = cell.bundle(1)
    file = source / "power" / "golden.safetensors"
    vectors = load_file(file)
    if change == "missing":
        vectors = {name: value for name, value in vectors.items() if "policy/" not in name}
    elif change == "shape":
        vectors["policy/0/out_action"] = np.zeros((1, 2), dtype=np.float32)
    elif change == "nan":
        vectors["policy/0/out_action"] = vectors["policy/0/out_action"] * np.float32(np.nan)
    if change == "no tensors":
        file.write_bytes(b"no tensors")
    else:
        save_file(vectors, file)
    digest = file_digest(file)
    edited(cell, source, lambda data: data["tasks"]["power"]["golden"].update(sha256=digest))
    refused(cell, source, "golden.safetensors: ")


def test_a_graph_that_is_none_is_refused_even_if_the_cell_does_not_use_it(cell: StoreCell) -> None:
    source = cell.bundle(1)
    file = source / "power" / "gradient.onnx"
    file.write_bytes(b"no graph")
    digest = file_digest(file)
    graph = "gradient"
    edited(cell, source, lambda data: data["tasks"]["power"]["graphs"][graph].update(sha256=digest))
    refused(cell, source, "gradient.onnx: does not load")


def test_a_bundle_too_slow_for_the_slot_is_refused(cell: StoreCell) -> None:
    refused(cell, cell.bundle(1), "a slot has 1e-06 ms; choose a faster mode", slot_s=1e-9)


def test_what_can_never_be_used_again_is_removed(cell: StoreCell) -> None:
    first, second, third = (cell.use(version) for version in (1, 2, 3))
    (cell.store.folder("f" * 64)).mkdir()
    fourth = cell.install(cell.bundle(4))
    assert cell.store.installed() == sorted([second, third, fourth])
    assert first not in cell.store.installed()


def test_litter_of_a_killed_installation_is_removed(cell: StoreCell) -> None:
    litter = cell.store.path / "incoming" / "half"
    litter.mkdir(parents=True)
    (litter / "file").write_text("half")
    (cell.store.path / "incoming" / "link").symlink_to(cell.folder)
    cell.install(cell.bundle(1))
    assert not (cell.store.path / "incoming").exists()
    assert cell.config_file.exists()
