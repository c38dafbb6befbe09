"""The command `networld`: every installed distribution adds its sub-commands.

A sub-command is a module in the entry-point group `networld.commands` with `add_parser(subparsers)`, which
must not import anything slow, and `run(arguments) -> int`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TypeVar

from networld_runtime.errors import INTERRUPTED, ConfigError, NetWorldError

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

T = TypeVar("T")
Subparsers = argparse._SubParsersAction  # the only name that argparse has for it


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit code (0 success, 2 usage, others in `errors`)."""
    parser = argparse.ArgumentParser(
        prog="networld",
        description="Train, export, evaluate and demonstrate NetWorld's diffusion world model.",
        epilog="example: networld demo --json result.json",
    )
    parser.add_argument("--version", action="version", version=version("networld-training"))
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for entry in sorted(entry_points(group="networld.commands"), key=lambda entry: entry.name):
        entry.load().add_parser(subparsers)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except NetWorldError as error:
        print(f"networld: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"networld: {error.filename or 'system'}: {error.strerror}", file=sys.stderr)
        return NetWorldError.exit_code
    except KeyboardInterrupt:
        print("networld: interrupted", file=sys.stderr)
        return INTERRUPTED


def natural(text: str) -> int:
    """Read an option that is a whole number, 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more")
    return value


def add_data_option(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add the option that names data sets, one a task."""
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        action="extend",
        required=True,
        metavar="FOLDER",
        help=purpose,
    )


def find_preset(presets: Mapping[str, T], name: str) -> T:
    """Return a preset by name.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in presets:
        raise ConfigError("--preset", f"{name!r} is not a preset; known: {', '.join(presets)}")
    return presets[name]


def add_command(
    subparsers: Subparsers[argparse.ArgumentParser], name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    """Add a sub-command with a one-line summary and an example in its help."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example: {example}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )


if __name__ == "__main__":
    sys.exit(main())
