"""The epoch of a cell: a number that grows with every boot, kept in the state folder.

Neighbours throw away what is not newer than the last (epoch, slot) they saw, so an epoch must grow even
on a device whose clock starts in the past.
"""

from __future__ import annotations

from pathlib import Path

from networld_runtime.errors import ConfigError
from networld_runtime.files import write_atomically
from networld_runtime.mesh.message import LARGEST_EPOCH
from networld_runtime.realtime import new_epoch


def next_epoch(directory: Path) -> int:
    """Return an epoch in seconds larger than all before, and keep it.

    Creates the folder, readable by its owner only, if it is not there.

    Raises:
        ConfigError: The folder cannot be written.
    """
    file = directory / "epoch"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        epoch = new_epoch(_stored(file))
        write_atomically(file, str(epoch).encode())
    except OSError as error:
        raise ConfigError(
            str(directory), f"state.directory cannot be written: {error.strerror}"
        ) from error
    return epoch


def _stored(file: Path) -> int:
    try:
        epoch = int(file.read_bytes()[:20])
    except (FileNotFoundError, ValueError):
        return 0
    return epoch if 0 < epoch < LARGEST_EPOCH else 0
