"""Real bundles of a few kilobytes: graphs that ONNX Runtime runs, golden vectors, a signature."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tiny_onnx import Node, write_graph

from networld_runtime.bundle import FORMAT, GRAPHS, file_digest, graph_signature
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.golden import vector_name
from networld_runtime.sessions import Session, Shape
from networld_runtime.store.signature import make_keys, read_private_key, sign

CANDIDATES, ADAPTER_SIZE, BATCH, COUPLINGS = 3, 10, 8, 2


def make_bundle(
    folder: Path, contract: Contract, version: int = 1, seed: int = 0, illness: str = ""
) -> Path:
    """Write a bundle; one with an illness passes its self-test and is sick at negative observations.

    The policy answers NaN then (`nan`), fails inside ONNX Runtime (`raises`), or takes seconds (`slow`).
    """
    task = contract.task
    (folder / task).mkdir(parents=True)
    graphs: dict[str, dict[str, Any]] = {}
    golden: dict[str, FloatArray] = {}
    for graph in GRAPHS:
        file = folder / task / f"{graph}.onnx"
        inputs, outputs = graph_signature(
            graph, contract, CANDIDATES, ADAPTER_SIZE, BATCH, COUPLINGS
        )
        nodes, constants = _formula(graph, contract, np.random.default_rng(seed), illness)
        write_graph(file, inputs, outputs, nodes, constants)
        work = {"fixed_operations": 1, "plan_operations": 1, "weight_bytes": 1}
        graphs[graph] = {"file": f"{task}/{graph}.onnx", "sha256": file_digest(file), "work": work}
        if graph != "gradient":
            golden |= _vectors(graph, Session(file, inputs, outputs), inputs, outputs)
    vectors = folder / task / "golden.safetensors"
    save_file(golden, vectors)
    entry = {
        "contract": contract.to_json(),
        "contract_hash": contract.digest().hex(),
        "candidates": CANDIDATES,
        "adaptation_batch": BATCH,
        "couplings": COUPLINGS,
        "adapter_size": ADAPTER_SIZE,
        "planner": {"mode": "policy"},
        "adaptation": {},
        "graphs": graphs,
        "golden": {
            "file": f"{task}/golden.safetensors",
            "sha256": file_digest(vectors),
            "tolerance": {graph: 1e-3 for graph in GRAPHS if graph != "gradient"},
        },
        "scores": [],
    }
    manifest = {"format": FORMAT, "name": "tiny", "version": version, "tasks": {task: entry}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a bundle's manifest; a signature does not fit it any more then."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def write_keys(folder: Path, name: str) -> Path:
    """Write a pair of keys and return the file of the private one."""
    folder.mkdir(parents=True, exist_ok=True)
    private, public = make_keys()
    (folder / f"{name}.key").write_text(private)
    (folder / f"{name}.pub").write_text(f"{public} for tests\n")
    return folder / f"{name}.key"


def sign_manifest(folder: Path, key: Path) -> Path:
    """Sign a bundle as it is, and return its folder."""
    signature = sign((folder / "manifest.json").read_bytes(), read_private_key(key))
    (folder / "manifest.sig").write_bytes(signature)
    return folder


def _formula(
    graph: str, contract: Contract, generator: np.random.Generator, illness: str
) -> tuple[list[Node], dict[str, Any]]:
    def weights(*shape: int) -> FloatArray:
        return generator.normal(size=shape).astype(np.float32)

    def whole(*values: int) -> Any:
        return np.array(values, dtype=np.int64)

    actions = contract.action_size
    if graph == "encoder":
        weight = np.abs(weights(contract.observation_size, contract.latent_size))
        return [
            ("MatMul", ["in_observation", "weight"], "product"),
            ("Tanh", ["product"], "out_latent"),
        ], {"weight": weight}
    if graph == "denoiser":
        return [("Add", ["in_plan", "in_latent"], "sum"), ("Tanh", ["sum"], "out_plan")], {}
    if graph == "head":
        return [
            ("ReduceMean", ["in_plan", "all"], "out_return", {"keepdims": 0}),
            ("Slice", ["in_plan", "starts", "ends", "axes"], "first"),
            ("Squeeze", ["first", "one"], "logits"),
            ("Softmax", ["logits"], "out_action", {"axis": -1}),
        ], {
            "all": whole(1, 2),
            "starts": whole(0, 0),
            "ends": whole(1, actions),
            "axes": whole(1, 2),
            "one": whole(1),
        }
    if graph == "policy":
        size = contract.latent_size + contract.mean_field_size
        nodes: list[Node] = [
            ("Concat", ["in_latent", "in_mean_field"], "known", {"axis": 1}),
            ("MatMul", ["known", "weight"], "logits"),
            ("Softmax", ["logits"], "likely" if illness else "out_action", {"axis": -1}),
        ]
        constants: dict[str, Any] = {"weight": weights(size, actions)}
        if illness:
            more, needed = _illness(illness)
            nodes += more
            constants |= needed
        return nodes, constants
    return [
        ("Identity", ["in_adapter"], "out_gradient"),
        ("ReduceMean", ["in_adapter", "first"], "out_loss", {"keepdims": 1}),
        ("ReduceMean", ["in_weight", "second"], "out_worth", {"keepdims": 0}),
    ], {"first": whole(0), "second": whole(1)}


def _illness(kind: str) -> tuple[list[Node], dict[str, Any]]:
    """Return nodes from `likely` to `out_action` that are sick where the latent is negative."""
    constants: dict[str, Any] = {
        "zero": np.zeros(1, dtype=np.float32),
        "axes": np.array([1], dtype=np.int64),
    }
    end: Node = ("Add", ["likely", "nothing"], "out_action")
    if kind == "nan":
        return [
            ("Sqrt", ["in_latent"], "roots"),
            ("ReduceMean", ["roots", "axes"], "root", {"keepdims": 1}),
            ("Mul", ["root", "zero"], "nothing"),
            end,
        ], constants
    # how negative the latent is, as a whole number: 0, or hundreds
    constants["hundreds"] = np.array([-900.0], dtype=np.float32)
    measure: list[Node] = [
        ("ReduceMean", ["in_latent", "axes"], "mean", {"keepdims": 0}),
        ("Mul", ["mean", "hundreds"], "scaled"),
        ("Relu", ["scaled"], "positive"),
        ("Cast", ["positive"], "whole", {"to": 7}),
    ]
    if kind == "raises":
        return [*measure, ("Gather", ["zero", "whole"], "nothing"), end], constants
    constants |= {
        "one": np.array([1], dtype=np.int64),
        "all": np.array([0, 1], dtype=np.int64),
    }
    nodes: list[Node] = [
        *measure,
        ("Add", ["whole", "one"], "size"),
        ("Concat", ["size", "size"], "shape", {"axis": 0}),
        ("Expand", ["zero", "shape"], "work_0"),
    ]
    steps = 400  # each of them a product that ends, so that the run can be ended between two
    nodes += [("MatMul", [f"work_{step}", "work_0"], f"work_{step + 1}") for step in range(steps)]
    nodes += [
        ("ReduceMean", [f"work_{steps}", "all"], "nothing", {"keepdims": 1}),
        end,
    ]
    return nodes, constants


def _vectors(
    graph: str, session: Session, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]
) -> dict[str, FloatArray]:
    generator = np.random.default_rng(5)
    given = {
        name: generator.uniform(
            0, 1, size=[2 if isinstance(size, str) else size for size in shape]
        ).astype(np.float32)
        for name, shape in inputs.items()
    }
    answer = dict(zip(outputs, session.run(**given), strict=True))
    return {vector_name(graph, 0, name): value for name, value in (given | answer).items()}
