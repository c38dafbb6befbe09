"""`networld bundle`: the shipped bundle from nothing, scores for one, or a look into one."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_runtime.planner_settings import MODES
from networld_training.cli import Subparsers, add_command, natural

DATA_SETS = {"power": (512, 16), "sched": (512, 16), "sleep": (960, 20)}
"""Episodes and shards of each task's data set; every shard is of one network of the training family."""


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "bundle",
        "Make the shipped bundle from nothing (data, training, distillation, export), write what an "
        "experiment found of its ways to choose an action into it, or show one.",
        "networld bundle make --output bundles/networld",
    )
    parser.add_argument("action", choices=("make", "score", "show"))
    parser.add_argument(
        "--output", type=Path, default=Path("bundles/networld"), help="bundle folder"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/bundle"), help="data and run")
    parser.add_argument("--preset", default="default", help="default, or tiny for a quick try")
    sizes = ", ".join(f"{episodes} of {task}" for task, (episodes, _) in DATA_SETS.items())
    parser.add_argument(
        "--episodes", type=int, help=f"episodes of each data set; {sizes} if not given"
    )
    parser.add_argument(
        "--experiment",
        type=Path,
        default=Path("benchmarks/experiments/steps.toml"),
        metavar="FILE",
        help="where scores come from; it must have been run",
    )
    parser.add_argument(
        "--mode", choices=MODES, default="policy", help="how cells choose actions by default"
    )
    parser.add_argument("--seed", type=natural, default=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make or show a bundle; return 0. An interrupted `make` goes on where it stopped."""
    if arguments.action == "show":
        return _show(arguments.output)
    if arguments.action == "score":
        return _score(arguments.output, arguments.experiment)
    from networld_training import cli

    steps = make_steps(arguments)
    for number, (title, command) in enumerate(steps.items(), start=1):
        print(f"step {number} of {len(steps)}: {title}")
        code = cli.main(command)
        if code != 0:
            return code
    return 0


def make_steps(arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Return the commands of `networld` that make the bundle, in order, by what they do.

    Each finishes what an interrupted run of it began, and does nothing where all is done.
    """
    train = arguments.work / "train"
    seed = ["--seed", str(arguments.seed)]
    data = {task: arguments.work / f"data-{task}" for task in DATA_SETS}
    steps = {}
    for task, (usual, shards) in DATA_SETS.items():
        episodes = usual if arguments.episodes is None else arguments.episodes
        command = ["data", "make", "--task", task, "--output", str(data[task])]
        command += ["--episodes", str(episodes), "--shard-episodes", str(-(-episodes // shards))]
        steps[f"data set of {task}"] = [*command, *seed]
    command = ["train", "--data", *map(str, data.values()), "--output", str(train)]
    steps["training"] = [*command, "--preset", arguments.preset, *seed]
    checkpoint = ["--checkpoint", str(train / "checkpoint.safetensors")]
    command = ["distil", *checkpoint, "--data", *map(str, data.values())]
    steps["distillation"] = [*command, "--preset", arguments.preset, *seed]
    command = ["export", *checkpoint]
    steps["export"] = [*command, "--output", str(arguments.output), "--mode", arguments.mode]
    return steps


def _score(folder: Path, experiment: Path) -> int:
    """Write the scores of an experiment into a bundle's manifest."""
    import json
    from dataclasses import asdict

    from networld_runtime.bundle import MANIFEST, load_bundle
    from networld_runtime.files import write_atomically
    from networld_training.experiments.scored_ways import scored_ways

    scores = scored_ways(experiment, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    for task, entry in manifest["tasks"].items():
        load_bundle(folder, task)
        entry["scores"] = [asdict(score) for score in scores.get(task, [])]
        print(f"{task}: {len(entry['scores'])} ways have scores")
    write_atomically(folder / MANIFEST, f"{json.dumps(manifest, indent=1)}\n".encode())
    return 0


def _show(folder: Path) -> int:
    import json

    from rich.console import Console
    from rich.table import Table

    from networld_runtime.bundle import MANIFEST, load_bundle
    from networld_runtime.errors import BundleError

    if not (folder / MANIFEST).is_file():
        raise BundleError(str(folder), f"no {MANIFEST} found; make one with `networld bundle make`")
    manifest = json.loads((folder / MANIFEST).read_text())
    table = Table("task", "graph", "kB", "relative error", title=str(folder))
    for task, entry in manifest["tasks"].items():
        bundle = load_bundle(folder, task)
        for graph, path in bundle.graphs.items():
            size = f"{path.stat().st_size / 1000:.0f}"
            table.add_row(task, graph, size, f"{entry['graphs'][graph]['parity']:.1e}")
    Console().print(table)
    return 0
