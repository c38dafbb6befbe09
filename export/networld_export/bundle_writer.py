"""From a checkpoint to a bundle; refuses to write one whose graphs differ from torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from networld_export.golden import read_manifest, write_golden
from networld_export.graphs import GraphSource, graph_sources
from networld_export.onnx_export import export_graph, parity, typical
from networld_export.quantise import halve, quantise
from networld_export.work import count_work, weight_bytes
from networld_runtime.bundle import (
    FORMAT,
    FP16,
    INT8,
    MANIFEST,
    QUANTISED_GRAPHS,
    Work,
    file_digest,
    load_bundle,
)
from networld_runtime.errors import BundleError
from networld_runtime.planner_settings import PlannerSettings
from networld_training.distillation.student import Student
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.judges import checkpoint_judge
from networld_training.tasks.registry import LEARNING, planner_in

PARITY_BOUND = 5e-4
"""Guidance divides a gradient by its own size, which magnifies rounding where it is small."""
INT8_BOUND = 0.15
"""What is rounded to a byte is off by percents, and the last actions of a plan of four steps by a tenth;
whether that matters, scores say."""
FP16_BOUND = 0.02
PARITY_SAMPLES = 16
LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")

Report = Callable[[str], None]


@dataclass(frozen=True)
class ExportSettings:
    """What a bundle is exported for.

    Attributes:
        name: Name of the bundle.
        planner: Planner settings that the bundle recommends, but for the temperature; the candidates fix a
            graph dimension.
        adaptation_batch: Slots in a batch of the gradient graph.
        parity_bound: Largest relative error against torch that is let through.
        int8_bound: The same for graphs whose weights are int8, of the mean square's root, in the median of
            the samples.
        fp16_bound: The same as `int8_bound` for graphs of fp16.
        half: Whether there are graphs of fp16.
        temperature: Of the noise that plans start from; None takes each task's own.
        version: Counter of releases; None takes that of the bundle in the folder, the next one if anything
            has changed, or 1.
    """

    name: str
    planner: PlannerSettings
    adaptation_batch: int = 32
    parity_bound: float = PARITY_BOUND
    int8_bound: float = INT8_BOUND
    fp16_bound: float = FP16_BOUND
    half: bool = False
    temperature: float | None = None
    version: int | None = None

    def planner_in(self, task: str) -> PlannerSettings:
        """Return the planner settings that the bundle recommends in a task."""
        return planner_in(task, self.planner, self.temperature)


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
                for graph, entry in _write_graph(source, staging / task, settings).items():
                    graphs[graph] = {"file": f"{task}/{graph}.onnx", **entry}
                    errors[f"{task}/{graph}"] = entry["parity"]
                    size_kb = (staging / task / f"{graph}.onnx").stat().st_size / 1000
                    error = f"relative error {entry['parity']:.1e}"
                    report(f"{task}/{graph}.onnx: {size_kb:.0f} kB, {error}")
            tasks[task] = {
                "contract": contract.to_json(),
                "contract_hash": contract.digest().hex(),
                "candidates": settings.planner.candidates,
                "adaptation_batch": settings.adaptation_batch,
                "couplings": len(judge.credit.floors),
                "adapter_size": task_model.adapter_size,
                "planner": settings.planner_in(task).to_json(),
                "adaptation": {
                    "steps": LEARNING[task].adaptation_steps,
                    "learning_rate": LEARNING[task].adaptation_rate,
                },
                "graphs": graphs,
                "scores": [],
            }
            tasks[task]["golden"] = write_golden(staging, task, tasks[task])
        manifest = {
            "format": FORMAT,
            "name": settings.name,
            "version": 1 if settings.version is None else settings.version,
            "versions": {name: version(name).split("+")[0] for name in LIBRARIES},
            "training": {"seed": checkpoint.seed, "steps": checkpoint.step},
            "tasks": tasks,
        }
        if settings.version is None:
            manifest["version"] = _version_after(folder, manifest)
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        for task in tasks:
            load_bundle(staging, task)
        _replace(staging, folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return errors


def _write_graph(
    source: GraphSource, folder: Path, settings: ExportSettings
) -> dict[str, dict[str, Any]]:
    """Write a graph, and its twins of fewer bytes where there are any; return their entries in the manifest.

    Raises:
        BundleError: One of them does not export or differs from torch.
    """
    path = folder / f"{source.name}.onnx"
    export_graph(source, path)
    work = count_work(path)
    error = max(parity(source, path, PARITY_SAMPLES))
    entries = {source.name: _entry(source.name, path, error, settings.parity_bound, work)}
    twins = [(INT8, quantise, settings.int8_bound)]
    if settings.half:
        twins.append((FP16, halve, settings.fp16_bound))
    for suffix, write, bound in twins if source.name in QUANTISED_GRAPHS else ():
        name = f"{source.name}{suffix}"
        twin = folder / f"{name}.onnx"
        write(path, twin)
        errors = parity(source, twin, PARITY_SAMPLES, typical)
        error = float(np.median(errors))  # inputs as random as these are harder than any situation
        work = replace(work, weight_bytes=weight_bytes(twin))
        entries[name] = _entry(name, twin, error, bound, work)
    return entries


def _entry(name: str, path: Path, error: float, bound: float, work: Work) -> dict[str, Any]:
    if not error <= bound:
        raise BundleError(
            f"graph {name}",
            f"relative error {error:.1e} against torch, at most {bound:.0e} is allowed; "
            "the bundle was not written",
        )
    return {"sha256": file_digest(path), "parity": error, "work": asdict(work)}


def _check_target(folder: Path) -> None:
    """Refuse to replace anything but an earlier bundle or an empty folder."""
    if folder.exists() and not (folder.is_dir() and (folder / MANIFEST).is_file()):
        if folder.is_dir() and not any(folder.iterdir()):
            return
        raise BundleError(
            str(folder), "exists and is no bundle; name another folder, nothing was changed"
        )


def _version_after(folder: Path, manifest: dict[str, Any]) -> int:
    """Return the version of the bundle in a folder, the next if `manifest` says anything else; 1 if none."""
    before = read_manifest(folder) if (folder / MANIFEST).is_file() else {}
    found = before.get("version")
    if type(found) is not int or found < 1:
        return 1
    same = json.loads(json.dumps({**manifest, "version": found})) == before
    return found if same else found + 1


def _replace(staging: Path, folder: Path) -> None:
    """Put the finished folder in place; the old one is moved away first and removed last."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    staging.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
