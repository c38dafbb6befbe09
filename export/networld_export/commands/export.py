"""`networld export`: checkpoint to bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_runtime.planner_settings import DENOISERS, MODES, PlannerSettings
from networld_training.cli import Subparsers, add_command


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "export",
        "Export a checkpoint, and the distilled denoiser beside it, as a bundle of ONNX graphs; refuses one "
        "that differs from torch.",
        "networld export --checkpoint runs/train/checkpoint.safetensors --output runs/bundle",
    )
    parser.add_argument(
        "--checkpoint", type=Path, default=Path("runs/train/checkpoint.safetensors")
    )
    parser.add_argument("--output", type=Path, default=Path("runs/bundle"), help="bundle folder")
    parser.add_argument("--name", help="name of the bundle; the folder's name if not given")
    parser.add_argument(
        "--half", action="store_true", help="add graphs of fp16, for GPUs (denoiser distilled-fp16)"
    )
    parser.add_argument(
        "--version",
        type=int,
        metavar="N",
        help="counter of releases; that of the bundle in the folder, or the next if it changes, if not given",
    )
    add_planner_options(parser)
    parser.set_defaults(run=run)


def add_planner_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that set how the bundle's planner works by default; the names are its settings'."""
    default = PlannerSettings()
    parser.add_argument(
        "--mode",
        choices=MODES,
        default=default.mode,
        help="the policy's one pass, or plans: one or the best of several, guided or not",
    )
    parser.add_argument(
        "--denoiser",
        choices=DENOISERS,
        default=default.denoiser,
        help="plans by the full one, or by the distilled one, which needs one or two steps",
    )
    parser.add_argument("--steps", type=int, default=default.steps, help="denoising steps")
    parser.add_argument(
        "--candidates",
        type=int,
        default=default.candidates,
        help="plans to choose from; the full denoiser computes so many whether the mode needs them or not",
    )
    parser.add_argument(
        "--guidance-scale", type=float, default=default.guidance_scale, help="0 is unguided"
    )
    parser.add_argument(
        "--temperature", type=float, help="of the initial noise; each task's own if not given"
    )


def run(arguments: argparse.Namespace) -> int:
    """Export; return 0."""
    from networld_export.bundle_writer import ExportSettings, write_bundle
    from networld_runtime.bundle import file_digest
    from networld_training.distillation.student import STUDENT, load_student
    from networld_training.model.checkpoint import load_checkpoint

    planner = PlannerSettings(
        mode=arguments.mode,
        denoiser=arguments.denoiser,
        steps=arguments.steps,
        candidates=arguments.candidates,
        guidance_scale=arguments.guidance_scale,
    )
    name, temperature = arguments.name or arguments.output.name, arguments.temperature
    settings = ExportSettings(
        name, planner, temperature=temperature, half=arguments.half, version=arguments.version
    )
    checkpoint = load_checkpoint(arguments.checkpoint)
    path = arguments.checkpoint.with_name(STUDENT)
    student = None
    if path.exists() or planner.needs_distilled:
        student = load_student(path, file_digest(arguments.checkpoint), checkpoint.contracts)
    write_bundle(checkpoint, arguments.output, settings, print, student)
    print(f"bundle: {arguments.output}")
    return 0
