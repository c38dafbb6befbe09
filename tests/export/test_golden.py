"""Golden vectors, and bundles of the format before that get them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_bundles import edit_manifest, make_bundle

from networld_export.bundle_writer import _version_after
from networld_export.golden import lift_bundle, read_manifest
from networld_runtime.bundle import DISTILLED_GRAPHS, GRAPHS, load_bundle
from networld_runtime.contract import ActionBins, Contract, Feature, ReturnBins
from networld_runtime.errors import BundleError
from networld_runtime.golden import relative_error, vector_name
from networld_training import cli

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"
CONTRACT = Contract(
    task="power",
    slot_s=0.1,
    features=tuple(Feature(f"feature_{index}", "dB", -50.0, 50.0) for index in range(6)),
    actions=(ActionBins("power_db", -20.0, 0.0, 21, off=-30.0),),
    safe_action=(-10.0,),
    reward_low=0.0,
    reward_high=10.0,
    returns=ReturnBins(0.0, 40.0, 41),
    discount=0.9,
    latent_size=24,
    message_size=16,
    horizon=4,
)


def to_format_before(folder: Path) -> None:
    """Take away what the format before had not."""

    def strip(manifest: dict[str, Any]) -> None:
        manifest["format"] = 7
        del manifest["version"]
        for entry in manifest["tasks"].values():
            (folder / entry.pop("golden")["file"]).unlink()

    edit_manifest(folder, strip)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", CONTRACT)


def test_the_shipped_vectors_are_what_the_command_writes(tmp_path: Path) -> None:
    copy = tmp_path / "networld"
    shutil.copytree(SHIPPED, copy)
    version = read_manifest(SHIPPED)["version"]
    to_format_before(copy)
    assert cli.main(["bundle", "lift", "--output", str(copy), "--version", str(version)]) == 0
    found, shipped = read_manifest(copy), read_manifest(SHIPPED)
    for task in shipped["tasks"]:
        wanted = load_file(SHIPPED / task / "golden.safetensors")
        again = load_file(copy / task / "golden.safetensors")
        assert again.keys() == wanted.keys()
        for name, values in wanted.items():
            if "/in_" in name:
                np.testing.assert_array_equal(again[name], values)
            else:  # another processor rounds in another way
                bound = 0.1 if "_int8/" in name else 1e-3
                assert relative_error(again[name], values) <= bound
        for one in (found, shipped):
            del one["tasks"][task]["golden"]["sha256"]
    assert found == shipped
    assert list(found)[:3] == ["format", "name", "version"]


@pytest.mark.parametrize("task", ["power", "sched", "sleep"])
def test_every_graph_that_acts_has_vectors(task: str) -> None:
    golden = load_bundle(SHIPPED, task).golden
    assert golden is not None
    acting = {*GRAPHS, *DISTILLED_GRAPHS} - {"gradient"}
    assert golden.tolerance.keys() == acting
    vectors = load_file(golden.file)
    for graph in acting:
        assert any(name.startswith(vector_name(graph, 1, "out_")) for name in vectors)


def test_vectors_are_no_constants(folder: Path) -> None:
    """Inputs that hardly differ would test hardly anything."""
    lift_bundle(folder, 1)
    vectors = load_file(folder / "power" / "golden.safetensors")
    for graph in ("encoder", "denoiser", "head", "policy"):
        one, other = (
            np.concatenate(
                [
                    values.ravel()
                    for name, values in vectors.items()
                    if name.startswith(vector_name(graph, sample, "out_"))
                ]
            )
            for sample in (0, 1)
        )
        assert np.abs(one - other).max() > 1e-3


def test_the_version_rises_with_every_change(folder: Path) -> None:
    lift_bundle(folder, 4)
    manifest = read_manifest(folder)
    assert _version_after(folder, manifest) == 4
    assert _version_after(folder, {**manifest, "name": "other"}) == 5
    to_format_before(folder)
    assert _version_after(folder, manifest) == 1
    assert _version_after(folder / "none", manifest) == 1


def test_lifting_again_sets_the_version_and_takes_the_signature_away(folder: Path) -> None:
    (folder / "manifest.sig").write_bytes(bytes(64))
    lift_bundle(folder, 9)
    assert load_bundle(folder, "power").version == 9
    assert not (folder / "manifest.sig").exists()
    before = (folder / "manifest.json").read_bytes()
    lift_bundle(folder, 9)
    assert (folder / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: manifest.update(format=6), "format 6, expected 7 or 8"),
        (lambda manifest: manifest.pop("tasks"), "damaged"),
        (lambda manifest: manifest["tasks"]["power"].pop("couplings"), "damaged"),
    ],
)
def test_what_cannot_be_lifted_stays_as_it_is(
    folder: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit_manifest(folder, change)
    before = (folder / "manifest.json").read_bytes()
    with pytest.raises(BundleError, match=said):
        lift_bundle(folder, 2)
    assert (folder / "manifest.json").read_bytes() == before


def test_a_folder_without_a_bundle_and_a_bad_version_are_clear_errors(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bundle", "lift", "--output", str(tmp_path / "none")]) == 4
    assert "manifest.json: cannot be read" in capsys.readouterr().err
    assert cli.main(["bundle", "lift", "--output", str(folder), "--version", "0"]) == 4
    assert "version 0: expected 1 to" in capsys.readouterr().err
    (folder / "manifest.json").write_text(json.dumps([1]))
    assert cli.main(["bundle", "lift", "--output", str(folder)]) == 4
