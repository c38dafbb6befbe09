"""The shipped bundle loads; a damaged one never does, and every problem is told at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from networld_runtime.bundle import GRAPHS, load_bundle
from networld_runtime.contract import Contract
from networld_runtime.errors import BundleError

SHIPPED = Path(__file__).parents[2] / "bundles" / "power"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(SHIPPED, tmp_path / "bundle")
    return tmp_path / "bundle"


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_shipped_bundle_loads_and_is_small() -> None:
    bundle = load_bundle(SHIPPED, "power")
    assert set(bundle.graphs) == set(GRAPHS)
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 8e6
    for graph in GRAPHS:
        bundle.session(graph)


@pytest.mark.parametrize("graph", GRAPHS)
def test_one_flipped_bit_is_noticed(copy: Path, graph: str) -> None:
    path = load_bundle(copy, "power").graphs[graph]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{graph}.onnx: damaged"):
        load_bundle(copy, "power")


def test_all_damage_is_told_at_once(copy: Path) -> None:
    graphs = load_bundle(copy, "power").graphs
    graphs["encoder"].unlink()
    graphs["head"].write_bytes(b"")
    edit(copy, lambda manifest: manifest["tasks"]["power"]["graphs"].pop("gradient"))
    with pytest.raises(BundleError) as raised:
        load_bundle(copy, "power")
    assert len(raised.value.problems) == 3


def test_missing_folder_and_unknown_task_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="export"):
        load_bundle(tmp_path, "power")
    with pytest.raises(BundleError, match="this bundle holds: power"):
        load_bundle(SHIPPED, "sleep")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 2}', '{"format": 99}'])
def test_bad_manifest_is_a_clear_error(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError):
        load_bundle(copy, "power")


def test_file_outside_the_bundle_is_refused(copy: Path) -> None:
    shutil.copy(copy / "power" / "head.onnx", copy.parent / "head.onnx")
    edit(
        copy,
        lambda manifest: manifest["tasks"]["power"]["graphs"]["head"].update(file="../head.onnx"),
    )
    with pytest.raises(BundleError, match="outside"):
        load_bundle(copy, "power")


def test_contract_that_was_changed_is_noticed(copy: Path) -> None:
    edit(
        copy, lambda manifest: manifest["tasks"]["power"]["contract"]["actions"][0].update(high=10)
    )
    with pytest.raises(BundleError, match="contract does not match its hash"):
        load_bundle(copy, "power")


def test_graphs_of_other_shapes_are_refused(copy: Path) -> None:
    edit(copy, lambda manifest: manifest["tasks"]["power"].update(candidates=3))
    bundle = load_bundle(copy, "power")
    with pytest.raises(BundleError, match=r"in_plan.*expected \(3,"):
        bundle.session("denoiser")


def test_contract_survives_json() -> None:
    contract = load_bundle(SHIPPED, "power").contract
    again = Contract.from_json(json.loads(json.dumps(contract.to_json())))
    assert again == contract
    assert again.digest() == contract.digest()
