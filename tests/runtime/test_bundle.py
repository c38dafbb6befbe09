"""A bundle loads; a damaged one never does, and every problem is told at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from networld_runtime.bundle import (
    DISTILLED_GRAPHS,
    FORMAT,
    GRAPHS,
    Score,
    file_digest,
    load_bundle,
)
from networld_runtime.contract import Contract
from networld_runtime.errors import BundleError
from networld_runtime.sessions import Shape

SCORE = Score("policy", "full", 2, 8, 101.0, 99.0, 103.0)
SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"


@pytest.fixture
def folder(contract: Contract, tmp_path: Path) -> Path:
    """A bundle whose graphs are no graphs: they are only loaded when they are asked for."""
    folder = tmp_path / "bundle"
    (folder / "power").mkdir(parents=True)
    graphs: dict[str, dict[str, Any]] = {}
    for graph in GRAPHS:
        file = folder / "power" / f"{graph}.onnx"
        file.write_bytes(graph.encode() * 100)
        graphs[graph] = {"file": f"power/{graph}.onnx", "sha256": file_digest(file)}
        graphs[graph]["work"] = {"fixed_operations": 5, "plan_operations": 2, "weight_bytes": 9}
    golden = folder / "power" / "golden.safetensors"
    golden.write_bytes(b"vectors")
    entry = {
        "contract": contract.to_json(),
        "contract_hash": contract.digest().hex(),
        "candidates": 8,
        "adaptation_batch": 32,
        "couplings": 2,
        "adapter_size": 3,
        "planner": {"mode": "policy"},
        "adaptation": {"steps": 7},
        "graphs": graphs,
        "golden": {
            "file": "power/golden.safetensors",
            "sha256": file_digest(golden),
            "tolerance": {"head": 1e-3},
        },
        "scores": [asdict(SCORE)],
    }
    manifest = {"format": FORMAT, "name": "test", "version": 5, "tasks": {"power": entry}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_shipped_bundle_is_small() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 40e6


@pytest.mark.parametrize("task", ["power", "sched", "sleep"])
def test_shipped_bundle_loads(task: str) -> None:
    bundle = load_bundle(SHIPPED, task)
    assert bundle.contract.task == task
    assert set(bundle.graphs) == {*GRAPHS, *DISTILLED_GRAPHS}
    for graph in bundle.graphs:
        bundle.session(graph)


def test_a_bundle_says_what_its_manifest_does(folder: Path, contract: Contract) -> None:
    bundle = load_bundle(folder, "power")
    assert bundle.contract == contract
    assert bundle.contract.digest() == contract.digest()
    assert (bundle.name, bundle.candidates, bundle.adaptation_batch) == ("test", 8, 32)
    assert bundle.couplings == 2
    assert bundle.version == 5
    assert bundle.golden is not None
    assert bundle.golden.file == folder / "power" / "golden.safetensors"
    assert bundle.golden.tolerance == {"head": 1e-3}
    assert bundle.planner == {"mode": "policy"}
    assert set(bundle.graphs) == set(GRAPHS)
    assert bundle.work["head"].operations(3) == 5 + 3 * 2
    assert bundle.work.keys() == bundle.graphs.keys()
    assert bundle.scores == (SCORE,)


def test_a_bundle_without_a_distilled_denoiser_says_so(folder: Path) -> None:
    bundle = load_bundle(folder, "power")
    for graph in DISTILLED_GRAPHS:
        with pytest.raises(BundleError, match=f"no graph '{graph}': exported without a distilled"):
            bundle.session(graph)


def test_a_distilled_denoiser_comes_whole(folder: Path) -> None:
    def add(manifest: dict[str, Any]) -> None:
        graphs = manifest["tasks"]["power"]["graphs"]
        graphs["plan_1"] = graphs["head"]

    edit(folder, add)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder, "power")
    missing = [graph for graph in DISTILLED_GRAPHS if graph != "plan_1"]
    assert [graph in caught.value.render() for graph in missing] == [True] * len(missing)


@pytest.mark.parametrize("graph", GRAPHS)
def test_one_flipped_bit_is_noticed(folder: Path, graph: str) -> None:
    path = load_bundle(folder, "power").graphs[graph]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=rf"{graph}.onnx: damaged"):
        load_bundle(folder, "power")


def test_all_damage_is_told_at_once(folder: Path) -> None:
    graphs = load_bundle(folder, "power").graphs
    graphs["encoder"].unlink()
    graphs["head"].write_bytes(b"")
    (folder / "power" / "golden.safetensors").write_bytes(b"")
    edit(folder, lambda manifest: manifest["tasks"]["power"]["graphs"].pop("policy"))
    with pytest.raises(BundleError) as raised:
        load_bundle(folder, "power")
    assert len(raised.value.problems) == 4


def test_missing_folder_and_unknown_task_say_what_to_do(folder: Path) -> None:
    with pytest.raises(BundleError, match="export"):
        load_bundle(folder / "power", "power")
    with pytest.raises(BundleError, match="this bundle holds: power"):
        load_bundle(folder, "sleep")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 3}', '{"format": 99}'])
def test_bad_manifest_is_a_clear_error(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(BundleError):
        load_bundle(folder, "power")


def test_bundle_of_an_earlier_format_says_what_to_do(folder: Path) -> None:
    edit(folder, lambda manifest: manifest.update(format=2))
    with pytest.raises(BundleError, match="format 2, expected 8; export it again"):
        load_bundle(folder, "power")


def test_file_outside_the_bundle_is_refused(folder: Path) -> None:
    shutil.copy(folder / "power" / "head.onnx", folder.parent / "head.onnx")
    edit(
        folder,
        lambda manifest: manifest["tasks"]["power"]["graphs"]["head"].update(file="../head.onnx"),
    )
    with pytest.raises(BundleError, match="outside"):
        load_bundle(folder, "power")


def test_contract_that_was_changed_is_noticed(folder: Path) -> None:
    edit(
        folder,
        lambda manifest: manifest["tasks"]["power"]["contract"]["actions"][0].update(high=10),
    )
    with pytest.raises(BundleError, match="contract does not match its hash"):
        load_bundle(folder, "power")


def test_file_that_is_no_graph_is_refused(folder: Path) -> None:
    bundle = load_bundle(folder, "power")
    with pytest.raises(BundleError, match=r"head.onnx: does not load .*export again"):
        bundle.session("head")


def test_signatures_follow_from_the_contract(folder: Path) -> None:
    """Latents have 24 entries, of which 16 are told; an action has 22 probabilities."""
    bundle = load_bundle(folder, "power")
    now: dict[str, Shape] = {"in_latent": (1, 24), "in_mean_field": (1, 17)}
    acted: dict[str, Shape] = {"out_action": (1, 22)}
    assert bundle.signature("policy") == ({**now, "in_adapter": (3,)}, acted)
    given = {**now, "in_guidance_scale": (1,)}
    any_number: dict[str, Shape] = {"in_plan": ("candidates", 4, 24)}
    inputs, outputs = bundle.signature("denoiser")
    assert inputs == {**given, "in_plan": (8, 4, 24), "in_level": (1,)}
    assert outputs == {"out_plan": (8, 4, 24)}
    inputs, outputs = bundle.signature("distilled")
    assert inputs == {**given, **any_number, "in_level": (1,)}
    assert outputs == {"out_plan": ("candidates", 4, 24)}
    assert bundle.signature("head") == (
        {**now, **any_number},
        {"out_return": ("candidates",), "out_action": ("candidates", 22)},
    )
    for steps in (1, 2, 4):
        inputs, outputs = bundle.signature(f"plan_{steps}")
        factors: dict[str, Shape] = {"in_factors": (3 * (steps - 1),)} if steps > 1 else {}
        flat: Shape = ("candidates", 4 * 24)
        assert inputs == {"in_plan": flat, "in_step": (steps, 17), **now, **factors}
        assert outputs == {
            "out_chain": ("candidates", 5 * 24),  # the present latent before those of the plan
            "out_return": ("candidates", 1),
            "out_actions": ("candidates", 4 * 22),
        }
    inputs, outputs = bundle.signature("gradient")
    assert inputs == {
        "in_observation": (32, 7, 6),
        "in_before": (32, 7, 6),
        "in_coupling": (32, 7, 6, 2),
        "in_around": (7, 6, 7),
        "in_mask": (32, 7, 22),
        "in_uniform": (32, 7, 22),
        "in_weight": (32, 7),
        "in_asked": (32, 1, 7),
        "in_adapter": (3,),
    }
    assert outputs == {"out_loss": (1,), "out_worth": (32,), "out_gradient": (3,)}
