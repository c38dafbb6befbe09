"""What was heard last of every neighbour that proves who it is, kept over restarts and changes of keys.

A cell that starts knows no message yet, and a recording would be as good as a new message. So the epoch and
the slot of each neighbour's last message are kept, of every key that ever vouched for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from networld_runtime.errors import ConfigError
from networld_runtime.files import write_atomically
from networld_runtime.mesh.message import LARGEST_EPOCH
from networld_runtime.wire import LARGEST_SLOT

_log = logging.getLogger(__name__)

FILE = "neighbours.json"
DAMAGED = ".damaged"
VERSION = 2
LARGEST_FILE_BYTES = 1 << 20
LARGEST_ENTRIES = 4096
BETWEEN_WRITES_S = 10.0
"""A neighbour that changes its epoch all the time must not wear the flash memory out."""
BETWEEN_SLOTS_S = 60.0
"""Slots grow all the time; only of those that a crash kept from the disk could a recording be used."""

Heard = tuple[int, int]
"""Epoch and slot."""


class LastHeard:
    """Epoch and slot of each neighbour's last message, in the state folder.

    What another key vouched for says nothing of the present one: a cell that got a new key may begin anew. It
    is kept all the same, in case that the old key comes back.

    Args:
        directory: The state folder.
        keys: Public keys by cell; of others nothing is kept, so nothing at all without authentication.
        clock: Monotonic clock in seconds.
        start: Starts a task beside the loop, which must not wait for a disk.

    Raises:
        ConfigError: The file cannot be read. One that is damaged is set aside with a warning.
    """

    def __init__(
        self,
        directory: Path,
        keys: Mapping[str, bytes],
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._file = directory / FILE
        self._clock = clock
        self._start = start or self._in_a_thread
        self._writing = threading.Lock()
        self._written_s: float | None = None
        self._unwritten = self._pressing = False
        self._fingerprints = _fingerprints(keys)
        self._by_key: dict[tuple[str, str], Heard] = self._read() if keys else {}

    @property
    def newest(self) -> dict[str, Heard]:
        """Epoch and slot by cell, of the present keys."""
        found = {
            name: self._by_key.get((name, fingerprint))
            for name, fingerprint in self._fingerprints.items()
        }
        return {name: heard for name, heard in found.items() if heard is not None}

    def keep(self, newest: Mapping[str, Heard]) -> bool:
        """Note what was heard last and write it when that is due.

        Called by the loop between slots. Returns whether a neighbour is in a newer epoch.
        """
        grown = False
        for name, heard in newest.items():
            entry = (name, self._fingerprints.get(name, ""))
            before = self._by_key.get(entry, (-1, -1))
            if entry[1] and heard > before:
                self._by_key[entry] = heard
                self._unwritten = True
                grown |= heard[0] > before[0]
        self._pressing |= grown
        if self._unwritten and self._is_due():
            self._written_s = self._clock()
            self._start(self._write)
        return grown

    def flush(self) -> None:
        """Write what was not written yet, and wait for it."""
        if self._unwritten:
            self._written_s = self._clock()
            self._write()
        with self._writing:
            pass  # a write that was begun beside the loop has ended

    def go_on_with(self, keys: Mapping[str, bytes]) -> None:
        """Take other keys."""
        self._fingerprints = _fingerprints(keys)

    def _is_due(self) -> bool:
        if self._written_s is None:
            return True
        between_s = BETWEEN_WRITES_S if self._pressing else BETWEEN_SLOTS_S
        return self._clock() - self._written_s >= between_s

    def _in_a_thread(self, task: Callable[[], None]) -> None:
        threading.Thread(target=task, name="last-heard", daemon=True).start()

    def _write(self) -> None:
        """Write everything; a disk that refuses is told and tried again later."""
        with self._writing:
            self._unwritten = self._pressing = False
            newest_last = list(self._by_key.items())[-LARGEST_ENTRIES:]
            cells = [
                {"cell": name, "key": key, "epoch": epoch, "slot": slot}
                for (name, key), (epoch, slot) in newest_last
            ]
            try:
                write_atomically(
                    self._file, json.dumps({"version": VERSION, "cells": cells}).encode()
                )
            except OSError as error:
                self._unwritten = self._pressing = True
                _log.warning("%s cannot be written: %s", self._file, error.strerror)

    def _read(self) -> dict[tuple[str, str], Heard]:
        try:
            with self._file.open("rb") as file:
                data = file.read(LARGEST_FILE_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(str(self._file), f"cannot be read: {error.strerror}") from error
        found = _parse(data)
        if found is None:
            self._set_aside()
        return found or {}

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
            "what they said cannot be told from them",
            self._file,
            aside.name,
        )


def _parse(data: bytes) -> dict[tuple[str, str], Heard] | None:
    """Return epoch and slot by cell and key, None if the file is not what is written."""
    try:
        content = json.loads(data) if len(data) <= LARGEST_FILE_BYTES else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        return None
    cells = content.get("cells")
    if not isinstance(cells, list) or not all(map(_is_entry, cells)):
        return None
    return {(one["cell"], one["key"]): (one["epoch"], one["slot"]) for one in cells}


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    texts = (entry.get(name) for name in ("cell", "key"))
    return (
        all(isinstance(text, str) for text in texts)
        and _is_up_to(entry.get("epoch"), LARGEST_EPOCH)
        and _is_up_to(entry.get("slot"), LARGEST_SLOT)
    )


def _is_up_to(value: Any, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _fingerprints(keys: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.blake2b(key, digest_size=8).hexdigest() for name, key in keys.items()}
