"""Births and states, written a second time from docs/protocol.md alone: see second_decoder.py."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping
from typing import Any

from second_decoder import UINT32_MAX, reject

MAX_BIRTH_BYTES, MAX_STATE_BYTES, MAX_CELLS = 4096, 256, 4096
MAX_POSITION_M = 10_000_000
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


def is_integer(value: object) -> bool:
    """Whether JSON wrote it as an integer: neither true nor 1.0."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a JSON number."""
    return is_integer(value) or isinstance(value, float)


def is_name(value: object) -> bool:
    """Whether it is a name of a site or a cell."""
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def read_object(payload: bytes, max_bytes: int) -> dict[str, Any]:
    """A JSON object in UTF-8; NaN and Infinity are no JSON."""
    # The page does not say what an empty payload is: as with messages.
    if not 0 < len(payload) <= max_bytes:
        reject("size")
    try:
        read = json.loads(payload.decode("utf-8"), parse_constant=lambda _: reject("malformed"))
    except (ValueError, RecursionError):
        reject("malformed")
    return read if isinstance(read, dict) else reject("malformed")


def check_epoch(read: Mapping[str, Any]) -> None:
    """Check the epoch's type and limits."""
    if not is_integer(read.get("epoch")):
        reject("malformed")
    if not 0 <= read["epoch"] <= UINT32_MAX:
        reject("range")


def fits_float32(value: float) -> bool:
    """Whether a number is finite in float32."""
    try:
        return math.isfinite(struct.unpack("<f", struct.pack("<f", float(value)))[0])
    except OverflowError:
        return False


def is_position(value: object) -> bool:
    """Whether it is a list of two numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def read_birth(payload: bytes, site: str, cell: str) -> dict[str, Any]:
    """Read a birth on the topic of a cell."""
    read = read_object(payload, MAX_BIRTH_BYTES)
    if not is_integer(read.get("version")) or read["version"] != 1:
        reject("version")
    if read.get("site", site) != site or read.get("cell", cell) != cell:
        reject("name")
    if not isinstance(read.get("contract"), str):  # compared alone, so any text will do
        reject("malformed")
    if not is_number(read.get("slot_s")) or not fits_float32(read["slot_s"]):
        reject("malformed")
    position_m = read.get("position_m")
    if not (position_m is None or is_position(position_m)):
        reject("malformed")
    if any(abs(metres) > MAX_POSITION_M for metres in position_m or []):
        reject("range")
    check_epoch(read)
    return read


def read_state(payload: bytes) -> dict[str, Any]:
    """Read a state."""
    read = read_object(payload, MAX_STATE_BYTES)
    if read.get("state") not in ("online", "offline", "lost"):
        reject("malformed")
    check_epoch(read)
    return read


class Site:
    """Births and states of a site, from their topics."""

    def __init__(self) -> None:
        self.epochs: dict[str, dict[str, int]] = {}

    def take(self, topic: str, payload: bytes) -> dict[str, Any]:
        """Read what came on a topic and remember its epoch."""
        root, version, site, cell, leaf = topic.split("/")
        if (root, version) != ("networld", "v1") or not (is_name(site) and is_name(cell)):
            reject("name")
        read = read_birth(payload, site, cell) if leaf == "birth" else read_state(payload)
        if cell not in self.epochs and len(self.epochs) >= MAX_CELLS:
            reject("too_many")
        known = self.epochs.setdefault(cell, {"birth": -1, "state": -1})
        if read["epoch"] < (known["birth"] if leaf == "birth" else max(known.values())):
            reject("stale")
        known[leaf] = read["epoch"]
        return read
