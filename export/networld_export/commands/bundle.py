"""`networld bundle`: the shipped bundle from nothing, or a look into one."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_training.cli import Subparsers, add_command, natural

DATA_EPISODES = 6144
DATA_SLOTS = 100


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "bundle",
        "Make the shipped bundle from nothing (data, training, export), or show one.",
        "networld bundle make --output bundles/networld",
    )
    parser.add_argument("action", choices=("make", "show"))
    parser.add_argument("--output", type=Path, default=Path("bundles/networld"), help="bundle folder")
    parser.add_argument("--work", type=Path, default=Path("runs/bundle"), help="data and run")
    parser.add_argument("--preset", default="default", help="default, or tiny for a quick try")
    parser.add_argument("--episodes", type=int, default=DATA_EPISODES)
    parser.add_argument("--seed", type=natural, default=0)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make or show a bundle; return 0. An interrupted `make` goes on where it stopped."""
    if arguments.action == "show":
        return _show(arguments.output)
    from networld_training import cli

    data, train = arguments.work / "data", arguments.work / "train"
    checkpoint = train / "checkpoint.safetensors"
    seed = ["--seed", str(arguments.seed)]
    make = [
        "data",
        "make",
        "--output",
        str(data),
        "--scenario",
        "power/train",
        "--episodes",
        str(arguments.episodes),
        "--slots",
        str(DATA_SLOTS),
        *seed,
    ]
    fit = [
        "train",
        "--data",
        str(data),
        "--output",
        str(train),
        "--preset",
        arguments.preset,
        *seed,
    ]
    write = ["export", "--checkpoint", str(checkpoint), "--output", str(arguments.output)]
    for step in (make, fit, write):
        code = cli.main(step)
        if code != 0:
            return code
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
