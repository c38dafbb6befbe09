"""Golden vectors of a bundle, from its own graphs; and bundles of the format before, lifted to this one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from networld_runtime.bundle import (
    DISTILLED_GRAPHS,
    FORMAT,
    GRAPHS,
    INT8,
    MANIFEST,
    MAXIMUM_MANIFEST_BYTES,
    MAXIMUM_VERSION,
    file_digest,
    graph_signature,
    load_bundle,
)
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import BundleError
from networld_runtime.files import write_atomically
from networld_runtime.golden import vector_name
from networld_runtime.levels import level_grid
from networld_runtime.sessions import Session, Shape
from networld_runtime.solver import dpm_solver
from networld_runtime.step_inputs import step_inputs
from networld_runtime.store.signature import SIGNATURE

GOLDEN = "golden.safetensors"
SAMPLES = 2
PLANS = 3
"""Plans of a sample, where a graph takes any number."""
TOLERANCE = 1e-3
"""Processors add float32 in different orders; a damaged or foreign graph is off by far more."""
INT8_TOLERANCE = 0.1
"""What is rounded to a byte may be rounded the other way elsewhere."""
LIFTED_FORMAT = 7
"""The format before, which had neither version nor golden vectors."""


def write_golden(folder: Path, task: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Run the graphs of a task on drawn inputs and write both; return the manifest's entry of the file.

    The gradient graph has no vectors: it draws choices, and rounding may decide a tie.

    Args:
        folder: The bundle's folder.
        task: Name of the task.
        entry: The task's entry in the manifest.

    Raises:
        BundleError: A graph does not load or fit the contract, or answers what is not finite.
    """
    contract = Contract.from_json(entry["contract"])
    vectors: dict[str, FloatArray] = {}
    tolerance = {}
    for graph in (*GRAPHS, *DISTILLED_GRAPHS):
        if graph not in entry["graphs"] or graph == "gradient":
            continue
        sizes = (
            entry[key] for key in ("candidates", "adapter_size", "adaptation_batch", "couplings")
        )
        inputs, outputs = graph_signature(graph, contract, *sizes)
        session = Session(folder / entry["graphs"][graph]["file"], inputs, outputs)
        for sample in range(SAMPLES):
            given = _draw(inputs, np.random.default_rng(sample))
            answer = dict(zip(outputs, session.run(**given), strict=True))
            if not all(np.isfinite(values).all() for values in answer.values()):
                raise BundleError(
                    f"graph {task}/{graph}", "answers what is not finite; train again"
                )
            vectors |= {
                vector_name(graph, sample, name): np.ascontiguousarray(values)
                for name, values in (given | answer).items()
            }
        tolerance[graph] = INT8_TOLERANCE if graph.endswith(INT8) else TOLERANCE
    file = folder / task / GOLDEN
    write_atomically(file, save(dict(sorted(vectors.items()))))
    return {"file": f"{task}/{GOLDEN}", "sha256": file_digest(file), "tolerance": tolerance}


def lift_bundle(folder: Path, version: int) -> None:
    """Give a bundle a version and golden vectors, made on this computer; its signature goes.

    Args:
        folder: A bundle of this format or the one before.
        version: Counter of releases.

    Raises:
        BundleError: The folder holds no such bundle, or it is damaged.
    """
    if not 1 <= version <= MAXIMUM_VERSION:
        raise BundleError(str(folder), f"version {version}: expected 1 to {MAXIMUM_VERSION}")
    manifest = read_manifest(folder)
    try:
        if manifest["format"] not in (LIFTED_FORMAT, FORMAT):
            found = manifest["format"]
            raise BundleError(
                str(folder),
                f"format {found!r}, expected {LIFTED_FORMAT} or {FORMAT}; export it again",
            )
        manifest = {"format": FORMAT, "name": manifest["name"], "version": version, **manifest}
        manifest |= {"format": FORMAT, "version": version}
        for task, entry in manifest["tasks"].items():
            entry["golden"] = write_golden(folder, task, entry)
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            str(folder / MANIFEST), f"damaged ({type(error).__name__}: {error}); export again"
        ) from error
    write_manifest(folder, manifest)
    for task in manifest["tasks"]:
        load_bundle(folder, task)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle, which nobody has checked yet.

    Raises:
        BundleError: It is not there, too large or no JSON.
    """
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAXIMUM_MANIFEST_BYTES:
            raise BundleError(str(path), f"larger than {MAXIMUM_MANIFEST_BYTES} bytes")
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(str(path), f"cannot be read ({error}); name a bundle's folder") from error
    if not isinstance(manifest, dict):
        raise BundleError(str(path), "no JSON object; export again")
    return manifest


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Replace the manifest of a bundle; a signature of the one before is removed first."""
    (folder / SIGNATURE).unlink(missing_ok=True)
    write_atomically(folder / MANIFEST, f"{json.dumps(manifest, indent=1)}\n".encode())


def _draw(inputs: Mapping[str, Shape], generator: np.random.Generator) -> dict[str, FloatArray]:
    """Return plausible values: within [-1, 1], and plans, levels, steps and adapters as they occur."""
    drawn = {}
    values: npt.NDArray[Any]
    for name, shape in inputs.items():
        sizes = tuple(PLANS if isinstance(size, str) else size for size in shape)
        if name == "in_plan":
            values = generator.normal(size=sizes)
        elif name == "in_adapter":
            values = 0.05 * generator.normal(size=sizes)
        elif name == "in_level":
            values = generator.uniform(0.05, 0.95, size=sizes)
        elif name == "in_guidance_scale":
            values = np.full(sizes, 0.3)
        elif name in ("in_step", "in_factors"):
            count = sizes[0] if name == "in_step" else sizes[0] // 3 + 1
            values = step_inputs(dpm_solver(level_grid(count)), 0.3)[name]
        else:
            values = generator.uniform(-1, 1, size=sizes)
        drawn[name] = np.ascontiguousarray(values, dtype=np.float32)
    return drawn
