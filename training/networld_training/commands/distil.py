"""`networld distil`: from a checkpoint to a denoiser that needs one or two steps, kept beside it."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_training.cli import Subparsers, add_command, add_data_option, find_preset, natural


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "distil",
        "Teach a small denoiser to do in one or two steps what a checkpoint's guided one does in many; one "
        "that is there already is left as it is.",
        "networld distil --checkpoint runs/train/checkpoint.safetensors --data runs/data/power-mixed",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        default=Path("runs/train/checkpoint.safetensors"),
        help="the teacher; what is made is kept beside it",
    )
    add_data_option(parser, "data sets of the checkpoint's tasks, whose situations are planned in")
    parser.add_argument("--preset", default="default", help="default, or tiny for a quick try")
    parser.add_argument("--seed", type=natural, default=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Distil; return 0."""
    from networld_runtime.bundle import file_digest
    from networld_runtime.errors import ConfigError
    from networld_training.data.windows import read_samplers
    from networld_training.distillation.distiller import distil
    from networld_training.distillation.lessons import Lessons, make_lessons
    from networld_training.distillation.settings import PRESETS
    from networld_training.distillation.student import STUDENT, Origin, is_made, save_student
    from networld_training.model.checkpoint import load_checkpoint
    from networld_training.progress import reporting
    from networld_training.tasks.registry import LEARNING

    settings = find_preset(PRESETS, arguments.preset)
    path = arguments.checkpoint.with_name(STUDENT)
    checkpoint = load_checkpoint(arguments.checkpoint)
    teacher = file_digest(arguments.checkpoint)
    temperatures = {task: LEARNING[task].plan_temperature for task in checkpoint.contracts}
    origin = Origin(settings, teacher, arguments.seed, temperatures)
    if is_made(path, origin):
        print(f"distilled denoiser: {path}, made before")
        return 0
    samplers = read_samplers(arguments.data)
    if samplers.keys() != checkpoint.contracts.keys():
        raise ConfigError(
            "--data",
            f"data sets of {', '.join(samplers)}, but the checkpoint's tasks are "
            f"{', '.join(checkpoint.contracts)}; name one for each",
        )
    model = checkpoint.averaged_model()
    lessons: dict[str, Lessons] = {}
    for task, sampler in samplers.items():
        with reporting(f"plans of {task}", settings.lessons) as progress:
            lessons[task] = make_lessons(
                model.for_task(task),
                sampler,
                checkpoint.settings.message_loss,
                temperatures[task],
                settings,
                arguments.seed,
                progress.update,
            )
    with reporting("distil", settings.steps) as progress:
        student = distil(lessons, settings, arguments.seed, progress.update)
    save_student(path, student, origin)
    print(f"distilled denoiser: {path}")
    return 0
