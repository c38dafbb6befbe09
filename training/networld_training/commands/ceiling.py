"""`networld ceiling`: train the best policy that acts on what a deployed cell sees."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_training.cli import Subparsers, add_command, natural
from networld_training.commands.output import check_files


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "ceiling",
        "Train the information ceiling of a task, with everything the simulator knows.",
        "networld ceiling --task power --output runs/ceiling/power.safetensors",
    )
    parser.add_argument("--task", default="power", help="name of the task")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="file of the weights"
    )
    parser.add_argument("--steps", type=int, default=12_000, help="optimiser steps")
    parser.add_argument("--seed", type=natural, default=0, help="of weights and episodes")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; return 0."""
    from networld_training.ceilings.policy import save_weights
    from networld_training.ceilings.training import CeilingSettings, CeilingTrainer
    from networld_training.progress import reporting

    check_files(arguments, "output")
    settings = CeilingSettings(steps=arguments.steps, seed=arguments.seed)
    trainer = CeilingTrainer(arguments.task, settings)
    with reporting("ceiling", settings.steps) as progress:
        weights = trainer.run(progress.update)
    origin = {"steps": str(settings.steps), "seed": str(settings.seed)}
    save_weights(arguments.output, weights, trainer.entry.spec, trainer.scenarios, origin)
    print(f"ceiling: {arguments.output}")
    return 0
