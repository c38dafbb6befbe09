"""From a checkpoint to a bundle; refuses to write one whose graphs differ from torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from networld_export.graphs import GraphSource, graph_sources
from networld_export.onnx_export import export_graph, parity
from networld_runtime.bundle import FORMAT, MANIFEST, file_digest, load_bundle
from networld_runtime.errors import BundleError
from networld_runtime.planner_settings import PlannerSettings
from networld_training.distillation.student import Student
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.judges import checkpoint_judge

PARITY_BOUND = 5e-4
"""Guidance divides a gradient by its own size, which magnifies rounding where it is small."""
PARITY_SAMPLES = 16
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")

Report = Callable[[str], None]


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle is exported for.

    Attributes:
        name: Name of the bundle.
        planner: Planner settings that the bundle recommends; the candidates fix a graph dimension.
        adaptation_batch: Slots in a batch of the gradient graph.
        parity_bound: Largest relative error against torch that is let through.
    """

    name: str
    planner: PlannerSettings
    adaptation_batch: int = 32
    parity_bound: float = PARITY_BOUND


def write_bundle(
    checkpoint: Checkpoint,
    folder: Path,
    settings: ExportSettings,
    report: Report,
    student: Student | None = None,
) -> dict[str, float]:
    """Write all tasks of a checkpoint as a bundle; an existing folder is replaced in one step.

    Args:
        checkpoint: A training run; its averaged weights are exported.
        folder: The bundle's folder.
        settings: What the bundle is for.
        report: Called with a line of text for each graph.
        student: The checkpoint's distilled denoiser, if there is one.

    Returns:
        The largest relative error of each graph, by `task/graph`.

    Raises:
        BundleError: A graph does not export or differs from torch, or the folder holds something
            else; nothing is written then.
    """
    folder = folder.resolve()
    _check_target(folder)
    model = checkpoint.averaged_model()
    staging = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(staging, ignore_errors=True)
    errors: dict[str, float] = {}
    tasks: dict[str, Any] = {}
    try:
        for task, contract in checkpoint.contracts.items():
            (staging / task).mkdir(parents=True)
            task_model = model.for_task(task)
            judge = checkpoint_judge(checkpoint, task)
            graphs = {}
            for source in graph_sources(
                task_model,
                judge,
                checkpoint.settings.temperature,
                settings.planner.candidates,
                settings.adaptation_batch,
                student,
            ):
                file = f"{task}/{source.name}.onnx"
                error = _export_checked(source, staging / file, settings.parity_bound)
                errors[f"{task}/{source.name}"] = error
                digest = file_digest(staging / file)
                graphs[source.name] = {"file": file, "sha256": digest, "parity": error}
                size_kb = (staging / file).stat().st_size / 1000
                report(f"{file}: {size_kb:.0f} kB, relative error {error:.1e}")
            tasks[task] = {
                "contract": contract.to_json(),
                "contract_hash": contract.digest().hex(),
                "candidates": settings.planner.candidates,
                "adaptation_batch": settings.adaptation_batch,
                "couplings": len(judge.credit.floors),
                "adapter_size": task_model.adapter_size,
                "planner": settings.planner.to_json(),
                "graphs": graphs,
            }
        manifest = {
            "format": FORMAT,
            "name": settings.name,
            "versions": {name: version(name).split("+")[0] for name in LIBRARIES},
            "training": {"seed": checkpoint.seed, "steps": checkpoint.step},
            "tasks": tasks,
        }
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        for task in tasks:
            load_bundle(staging, task)
        _replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return errors


def _export_checked(source: GraphSource, path: Path, bound: float) -> float:
    export_graph(source, path)
    error = parity(source, path, PARITY_SAMPLES)
    if not error <= bound:
        raise BundleError(
            f"graph {source.name}",
            f"relative error {error:.1e} against torch, at most {bound:.0e} is allowed; "
            "the bundle was not written",
        )
    return error


def _check_target(folder: Path) -> None:
    """Refuse to replace anything but an earlier bundle or an empty folder."""
    if folder.exists() and not (folder.is_dir() and (folder / MANIFEST).is_file()):
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise BundleError(
            str(folder), "exists and is no bundle; name another folder, nothing was changed"
        )


def _replace(staging: Path, folder: Path) -> None:
    """Put the finished folder in place; the old one is moved away first and removed last."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
