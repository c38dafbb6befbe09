"""Files that commands write: checked before the work, written after it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from networld_runtime.errors import ConfigError
from networld_runtime.files import obstacle_to_writing, write_atomically


def check_files(arguments: argparse.Namespace, *options: str) -> None:
    """Raise one error for all options that name a file which cannot be written, or the same one.

    Args:
        arguments: Of the command.
        options: Names of options with a path or None.

    Raises:
        ConfigError: Some files cannot be written; lists all of them.
    """
    problems = []
    taken: dict[Path, str] = {}
    for option in options:
        file: Path | None = getattr(arguments, option)
        if file is None:
            continue
        if obstacle := obstacle_to_writing(file):
            problems.append(f"--{option}: {file}: {obstacle}")
        elif (first := taken.setdefault(file.resolve(), option)) != option:
            problems.append(f"--{option}: {file}: is the file of --{first}; name another")
    if problems:
        raise ConfigError("files", problems)


def check_folder(option: str, folder: Path) -> None:
    """Raise an error if a file is where a folder shall be.

    Raises:
        ConfigError: There is one.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--{option}", f"{folder}: is a file; name a folder")


def write_json(file: Path | None, data: object) -> None:
    """Write data as JSON, if there is a file for it."""
    if file is not None:
        write_atomically(file, (json.dumps(data, indent=1) + "\n").encode())
