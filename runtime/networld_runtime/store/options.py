"""The options of `networld-agent bundle`, without anything heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

Add = Callable[..., argparse.ArgumentParser]
"""Adds a command: where to, its name, what it is for, an example."""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser], add: Add) -> None:
    """Add `bundle` with its four sub-commands.

    Args:
        commands: The commands of `networld-agent`.
        add: Adds a command with its help, and the option `--config` unless told otherwise.
    """
    bundle = add(
        commands,
        "bundle",
        "install, list, activate and roll back the bundles of the store that a cell's configuration names",
        "networld-agent bundle install runs/bundle --config cell.toml",
        config=False,
    )
    actions = bundle.add_subparsers(dest="action", required=True, metavar="ACTION")
    install = add(
        actions,
        "install",
        "copy a signed bundle into the store, check it and try it out; it is not used yet",
        "networld-agent bundle install runs/bundle --config cell.toml",
    )
    install.add_argument("source", type=Path, metavar="BUNDLE", help="folder of the bundle")
    activate = add(
        actions,
        "activate",
        "use an installed bundle, on probation; a running cell changes to it between two slots",
        "networld-agent bundle activate 3f8a --config cell.toml",
    )
    activate.add_argument("digest", metavar="DIGEST", help="its digest, or how that begins")
    activate.add_argument(
        "--retry", action="store_true", help="use it although it failed here before"
    )
    for parser in (install, activate):
        parser.add_argument(
            "--change-contract",
            action="store_true",
            help="let it differ from the contract in use; a running cell must be started again then",
        )
    add(
        actions,
        "list",
        "show the bundles of the store and which one is in use",
        "networld-agent bundle list --config cell.toml",
    ).add_argument("--json", action="store_true", help="as JSON")
    add(
        actions,
        "rollback",
        "use the previous bundle again",
        "networld-agent bundle rollback --config cell.toml",
    )
