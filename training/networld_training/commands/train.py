"""`networld train`: data sets to checkpoint, with progress, TensorBoard and exact resume."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from networld_training.cli import Subparsers, add_command, add_data_option, find_preset, natural


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "train",
        "Train a world model on data sets; a run in an existing folder is resumed exactly.",
        "networld train --data runs/data/power-mixed --output runs/train",
    )
    add_data_option(parser, "data sets, one a task; may be repeated")
    parser.add_argument("--output", type=Path, default=Path("runs/train"), help="run folder")
    parser.add_argument("--preset", default="default", help="default, or tiny for a quick try")
    parser.add_argument("--steps", type=int, help="optimiser steps, instead of the preset's")
    parser.add_argument("--seed", type=natural, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; return 0."""
    import torch
    from torch.utils.tensorboard import SummaryWriter

    from networld_runtime.errors import ConfigError
    from networld_training.data.windows import read_samplers
    from networld_training.model.settings import PRESETS
    from networld_training.model.trainer import Trainer
    from networld_training.progress import reporting

    if arguments.device not in {"cpu", "cuda"}:
        raise ConfigError("--device", f"{arguments.device!r}: expected cpu or cuda")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device", "cuda was asked for, but torch finds no CUDA device; use cpu")
    settings = find_preset(PRESETS, arguments.preset)
    if arguments.steps is not None:
        settings = replace(settings, steps=arguments.steps)

    samplers = read_samplers(arguments.data)
    trainer = Trainer(
        arguments.output,
        samplers,
        settings,
        arguments.seed,
        arguments.device,
    )
    with (
        reporting("train", settings.all_steps, trainer.step) as progress,
        SummaryWriter(arguments.output) as writer,
    ):

        def report(step: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)
            mean = dict.fromkeys((name.split("/")[1] for name in values), 0.0)
            for name, value in values.items():
                mean[name.split("/")[1]] += value / len(samplers)
            note = " ".join(f"{name} {value:.3f}" for name, value in mean.items())
            progress.update(step, note)

        trainer.run(report)
    print(f"checkpoint: {trainer.path}")
    return 0
