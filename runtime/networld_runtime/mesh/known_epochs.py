"""The newest epoch of every neighbour that proves who it is, kept over restarts.

A cell that starts knows no message yet, and a recording of an earlier epoch would be as good as a new one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from networld_runtime.errors import ConfigError
from networld_runtime.files import write_atomically
from networld_runtime.mesh.message import LARGEST_EPOCH

_log = logging.getLogger(__name__)

FILE = "neighbours.json"
DAMAGED = ".damaged"
VERSION = 1
LARGEST_FILE_BYTES = 1 << 20
BETWEEN_WRITES_S = 10.0
"""A neighbour that changes its epoch all the time must not wear the flash memory out."""


class KnownEpochs:
    """Epochs in the state folder, each with the public key that vouched for it.

    An epoch of another key says nothing: a cell that got a new key may begin anew.

    Args:
        directory: The state folder.
        keys: Public keys by cell; of others nothing is kept, so nothing at all without authentication.
        clock: Monotonic clock in seconds.

    Attributes:
        epochs: The newest epoch by cell.

    Raises:
        ConfigError: The file cannot be read. One that is damaged is set aside with a warning.
    """

    def __init__(
        self,
        directory: Path,
        keys: Mapping[str, bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = directory / FILE
        self._clock = clock
        self._written_s: float | None = None
        self._unwritten = False
        self._fingerprints = _fingerprints(keys)
        self.epochs: dict[str, int] = {}
        if keys:
            self.epochs = self._read()

    def keep(self, epochs: Mapping[str, int]) -> bool:
        """Note the newest epochs and write them when they changed, though not too often.

        Called by the loop between slots. Returns whether a newer one is among them.
        """
        newer = {
            name: epoch
            for name, epoch in epochs.items()
            if name in self._fingerprints and epoch > self.epochs.get(name, -1)
        }
        self.epochs.update(newer)
        self._unwritten |= bool(newer)
        now_s = self._clock()
        if self._written_s is None or now_s - self._written_s >= BETWEEN_WRITES_S:
            self.flush()
        return bool(newer)

    def flush(self) -> None:
        """Write what was not written yet; a disk that refuses is told and tried again later."""
        if not self._unwritten:
            return
        self._written_s = self._clock()
        cells = {
            name: {"epoch": epoch, "key": self._fingerprints[name]}
            for name, epoch in sorted(self.epochs.items())
        }
        try:
            write_atomically(self._file, json.dumps({"version": VERSION, "cells": cells}).encode())
            self._unwritten = False
        except OSError as error:
            _log.warning("%s cannot be written: %s", self._file, error.strerror)

    def go_on_with(self, keys: Mapping[str, bytes]) -> None:
        """Take other keys; epochs of cells whose keys changed are forgotten."""
        fingerprints = _fingerprints(keys)
        kept = {
            name: epoch
            for name, epoch in self.epochs.items()
            if fingerprints.get(name) == self._fingerprints[name]
        }
        self._unwritten |= kept != self.epochs
        self._fingerprints, self.epochs = fingerprints, kept

    def _read(self) -> dict[str, int]:
        try:
            with self._file.open("rb") as file:
                data = file.read(LARGEST_FILE_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(str(self._file), f"cannot be read: {error.strerror}") from error
        cells = _parse(data)
        if cells is None:
            self._set_aside()
            return {}
        return {
            name: epoch
            for name, (epoch, key) in cells.items()
            if self._fingerprints.get(name) == key
        }

    def _set_aside(self) -> None:
        aside = self._file.with_name(FILE + DAMAGED)
        try:
            os.replace(self._file, aside)
        except OSError as error:
            raise ConfigError(
                str(self._file), f"damaged, and cannot be set aside: {error.strerror}; remove it"
            ) from error
        _log.warning(
            "%s is damaged and was renamed to %s; until the neighbours are heard again, recordings of "
            "earlier epochs cannot be told from them",
            self._file,
            aside.name,
        )


def _parse(data: bytes) -> dict[str, tuple[int, str]] | None:
    """Return epoch and key by cell, None if the file is not what `flush` writes."""
    try:
        content = json.loads(data) if len(data) <= LARGEST_FILE_BYTES else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        return None
    cells = content.get("cells")
    if not isinstance(cells, dict) or not all(map(_is_entry, cells.values())):
        return None
    return {name: (entry["epoch"], entry["key"]) for name, entry in cells.items()}


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    epoch, key = entry.get("epoch"), entry.get("key")
    return type(epoch) is int and 0 <= epoch <= LARGEST_EPOCH and isinstance(key, str)


def _fingerprints(keys: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.blake2b(key, digest_size=8).hexdigest() for name, key in keys.items()}
