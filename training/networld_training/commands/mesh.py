"""`networld mesh`: who is there at a broker, live or from a recording."""

from __future__ import annotations

import argparse
from pathlib import Path

from networld_training.cli import Subparsers, add_command


def add_parser(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = add_command(
        subparsers,
        "mesh",
        "Show the cells at a broker, their rates, ages, bytes and rejects; record and replay it.",
        "networld mesh --broker mqtt://127.0.0.1:1883 --site lab --record fault.rec",
    )
    parser.add_argument("--broker", metavar="URL", help="mqtt://host:port or mqtts://host:port")
    parser.add_argument(
        "--site", default="+", metavar="NAME", help="cells of this site; + lists all sites"
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="end by itself; else at Ctrl-C")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write a summary at the end")
    parser.add_argument("--record", type=Path, metavar="FILE", help="record what is seen")
    parser.add_argument(
        "--record-limit-mb", type=float, default=1000.0, metavar="N", help="largest file, in MB"
    )
    parser.add_argument(
        "--all-topics", action="store_true", help="logs, orders, observations and actions as well"
    )
    parser.add_argument(
        "--replay", type=Path, metavar="FILE", help="play a recording, to --broker if it is given"
    )
    parser.add_argument(
        "--speed",
        metavar="X",
        help="1 as it was (the usual on a terminal and to a broker), 10 ten times as fast, or max",
    )
    parser.add_argument(
        "--as-site", metavar="NAME", help="play to the broker under the name of another site"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="PNG of the recording")
    parser.add_argument("--username", metavar="NAME", help="name at the broker")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="holds the password")
    parser.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="authority of the broker's certificate"
    )
    parser.add_argument("--certificate-file", type=Path, metavar="FILE", help="our certificate")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="its key")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Watch or replay; return 0."""
    from dataclasses import fields

    from networld_training.commands.output import check_files
    from networld_training.mesh.settings import MeshSettings
    from networld_training.mesh.show import run_mesh

    names = [field.name for field in fields(MeshSettings)]
    settings = MeshSettings(**{name: getattr(arguments, name) for name in names})
    check_files(arguments, "json", "record", "picture")
    run_mesh(settings)
    return 0
