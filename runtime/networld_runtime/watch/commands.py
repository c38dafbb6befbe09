"""`networld-agent status`, `diagnostics` and `exit-codes`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from networld_runtime.exit_codes import ExitCode, table

AddCommand = Callable[..., argparse.ArgumentParser]


def add_parsers(commands: object, add_command: AddCommand) -> None:
    """Add the three sub-commands; each names its function as `handler`."""
    status = add_command(
        commands,
        "status",
        "ask a running cell how it is; ends with 0 if it is ready",
        "networld-agent status --config cell.toml",
    )
    status.add_argument("--json", action="store_true", help="print the whole status as JSON")
    status.set_defaults(handler=show_status)
    diagnostics = add_command(
        commands,
        "diagnostics",
        "write an archive for somebody who helps from afar, without secrets",
        "networld-agent diagnostics --config cell.toml --output diagnostics.tar.gz",
    )
    diagnostics.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="archive to write, .tar.gz"
    )
    diagnostics.set_defaults(handler=make_diagnostics)
    codes = add_command(
        commands,
        "exit-codes",
        "explain every exit code",
        "networld-agent exit-codes",
        config=False,
    )
    codes.set_defaults(handler=show_exit_codes)


def show_status(options: argparse.Namespace) -> int:
    """Print the status of the cell that runs with a configuration."""
    from networld_runtime.config_reader import load_config  # noqa: PLC0415
    from networld_runtime.watch.query import ask_for_status, summary  # noqa: PLC0415

    status = ask_for_status(load_config(options.config, options.changes).watch)
    print(json.dumps(status, indent=2, sort_keys=True) if options.json else summary(status))
    return ExitCode.SUCCESS if status["ready"] else ExitCode.NOT_READY


def make_diagnostics(options: argparse.Namespace) -> int:
    """Write the diagnostics archive."""
    from networld_runtime.config_reader import load_config  # noqa: PLC0415
    from networld_runtime.watch.diagnostics import write_diagnostics  # noqa: PLC0415

    names = write_diagnostics(load_config(options.config, options.changes), options.output)
    print(f"{options.output}: {', '.join(names)}; look through it before you send it")
    return ExitCode.SUCCESS


def show_exit_codes(options: argparse.Namespace) -> int:
    """Print the table of exit codes."""
    del options
    print(table())
    return ExitCode.SUCCESS
