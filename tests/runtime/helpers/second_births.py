"""Births and states, written a second time from docs/protocol.md alone: see second_decoder.py."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
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
    """Check the epoch's limits."""
    if not 0 <= read["epoch"] <= UINT32_MAX:
        reject("range")


def fits_float32(value: float) -> bool:
    """Whether a number is finite in float32."""
    try:
        return math.isfinite(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return False


def is_position(value: object) -> bool:
    """Whether it is a list of two numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def is_birth(read: Mapping[str, Any]) -> bool:
    """Return whether what a reader needs is there, and everything that it looks at is of its type."""
    return (
        is_integer(read.get("version"))
        and is_integer(read.get("epoch"))
        and is_number(read.get("slot_s"))
        and isinstance(read.get("contract"), str)  # compared alone, so any text will do
        and all(isinstance(read.get(key, ""), str) for key in ("site", "cell"))
        and (read.get("position_m") is None or is_position(read["position_m"]))
    )


def read_birth(payload: bytes, site: str, cell: str) -> dict[str, Any]:
    """Read a birth on the topic of a cell; the page's list of reasons is taken for their order.

    Which keys are needed, and that a position may be null, is in asyncapi.yaml.
    """
    read = read_object(payload, MAX_BIRTH_BYTES)
    if not is_birth(read):
        reject("malformed")
    if read["version"] != 1:
        reject("version")
    check_epoch(read)
    if not fits_float32(read["slot_s"]):
        reject("range")
    if any(abs(metres) > MAX_POSITION_M for metres in read.get("position_m") or []):
        reject("range")
    if read.get("site", site) != site or read.get("cell", cell) != cell:
        reject("name")
    return read


def read_state(payload: bytes) -> dict[str, Any]:
    """Read a state."""
    read = read_object(payload, MAX_STATE_BYTES)
    if not isinstance(read.get("state"), str) or not is_integer(read.get("epoch")):
        reject("malformed")
    check_epoch(read)
    # The page does not say which reason another word has.
    return read if read["state"] in {"online", "offline", "lost"} else reject("range")


class Site:
    """Births and states of a site, from their topics."""

    def __init__(self, cells: Sequence[str] = ()) -> None:
        self.epochs: dict[str, int] = dict.fromkeys(cells, 0)

    def take(self, topic: str, payload: bytes) -> dict[str, Any]:
        """Read what came on a topic and remember the cell's epoch."""
        root, _, rest = topic.partition("/v1/")
        names = rest.split("/")
        if root != "networld" or len(names) != 3 or not all(map(is_name, names[:2])):
            reject("name")
        site, cell, leaf = names
        if leaf not in {"birth", "state"}:
            reject("name")
        read = read_birth(payload, site, cell) if leaf == "birth" else read_state(payload)
        # "A will" is taken for every state, and births for as old as their epoch, too.
        if read["epoch"] < self.epochs.get(cell, 0):
            reject("stale")
        if cell not in self.epochs and len(self.epochs) >= MAX_CELLS:
            reject("too_many")
        self.epochs[cell] = read["epoch"]
        return read
