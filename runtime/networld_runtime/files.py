"""Files that are either the old one or the new one, never half of each."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file at `path`: temporary name, flush to the disk, rename, flush the folder.

    Raises:
        OSError: The folder is missing, full or not writable.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(path: Path) -> None:
    """Flush the names in a folder to the disk: what was renamed before stays renamed after a power cut.

    Raises:
        OSError: The folder is missing or the disk fails.
    """
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def obstacle_to_writing(path: Path) -> str | None:
    """Return why no file can be written at `path`, as can be seen before the work; None if nothing."""
    if not path.absolute().parent.is_dir():
        return "the folder does not exist; make it first"
    if path.is_dir():
        return "is a folder; name a file"
    return None
