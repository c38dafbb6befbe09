"""`networld demo`: a live network of cells on this machine, before and after they adapt."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_training.cli import Subparsers, add_command


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "demo",
        "Start a broker and one process for each cell, and let them plan, talk and adapt.",
        "networld demo --json result.json",
    )
    parser.add_argument(
        "--bundle", type=Path, default=Path("bundles/networld"), help="folder of an exported model"
    )
    parser.add_argument("--task", default="power", help="what the cells do: power, sched or sleep")
    parser.add_argument("--cells", type=int, default=7, help="cells: 7, 19, 37, 61 or 127")
    parser.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="processes that the cells share (default: one for each of 7 cells, else one for each core)",
    )
    parser.add_argument(
        "--broker",
        default="embedded",
        help="embedded (mosquitto if installed, else a Python broker), mosquitto, mqtt://host:port",
    )
    parser.add_argument("--episodes", type=int, default=6, help="drops before and after adaptation")
    parser.add_argument("--support-episodes", type=int, default=4, help="drops to learn from")
    parser.add_argument("--slots", type=int, default=100, help="slots of a drop")
    parser.add_argument(
        "--slot-ms",
        type=float,
        help="wall time of a slot (default: 60, of more than 30 cells 2 for each)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of drops and planners")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", default=Path("demo.png"), help="write a PNG"
    )
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="keep configurations and logs here"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration; return 0."""
    from dataclasses import fields

    from networld_training.demo.settings import DemoSettings, usual_slot_ms
    from networld_training.demo.show import run_demo

    if arguments.slot_ms is None:
        arguments.slot_ms = usual_slot_ms(arguments.cells)
    names = [field.name for field in fields(DemoSettings)]
    run_demo(DemoSettings(**{name: getattr(arguments, name) for name in names}))
    return 0
