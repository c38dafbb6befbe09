"""`networld bench`: a bundle's graphs and other planners in torch, timed in one run."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_runtime.bench.options import add_options
from networld_training.cli import Subparsers, add_command


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "bench",
        "Time all ways to choose an action with a bundle, and the same plan and others' planners in torch, "
        "on one core. `networld-agent bench` does so without torch, on a board.",
        "networld bench --bundle bundles/networld --quick",
    )
    add_options(parser)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the rows as a table")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="score beside time, PNG")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and write; return 0."""
    from networld_export.bench.picture import draw_pareto
    from networld_export.bench.timing import time_peers
    from networld_runtime.bench import command
    from networld_runtime.files import write_atomically

    results = command.run_with(arguments, time_peers)
    if arguments.csv is not None:
        write_atomically(arguments.csv, results.to_csv().encode())
    if arguments.picture is not None:
        draw_pareto(results, arguments.picture)
    return 0
