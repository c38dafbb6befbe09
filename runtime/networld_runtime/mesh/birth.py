"""Births and states of other cells, as they come from the network: nothing about them is trusted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from networld_runtime.errors import MessageError
from networld_runtime.mesh.message import LARGEST_EPOCH
from networld_runtime.mesh.positions import Position, is_coordinate
from networld_runtime.plain_values import is_number

BIRTH_VERSION = 1
LARGEST_BIRTH_BYTES = 4096
LARGEST_STATE_BYTES = 256
STATES = ("online", "offline", "lost")
"""What a cell says of itself, and what its last will says of it."""


@dataclass(frozen=True)
class Birth:
    """What of another cell's birth matters to one that looks for neighbours.

    Attributes:
        cell: Its name.
        epoch: Number of its boot.
        contract: Hash of its contract, hexadecimal.
        slot_s: Length of its slot.
        position_m: Where it stands; None if it does not say.
    """

    cell: str
    epoch: int
    contract: str
    slot_s: float
    position_m: Position | None


@dataclass(frozen=True)
class State:
    """Whether another cell is there, by its own word or its last will.

    Attributes:
        state: One of `STATES`.
        epoch: Number of the boot that it is about.
    """

    state: str
    epoch: int


def read_birth(payload: bytes, site: str, cell: str) -> Birth:
    """Read a birth that arrived on the topic of a cell.

    Raises:
        MessageError: With reason `size`, `malformed`, `version`, `range` or `name` (it is another's).
    """
    data = _read_object(payload, LARGEST_BIRTH_BYTES)
    if type(data.get("version")) is not int or data["version"] != BIRTH_VERSION:
        raise MessageError("version", f"expected {BIRTH_VERSION}")
    for key, expected in (("site", site), ("cell", cell)):
        if data.get(key, expected) != expected:
            raise MessageError("name", f"{key} is not {expected}, as on its topic")
    contract, slot_s = data.get("contract"), data.get("slot_s")
    if not isinstance(contract, str):
        raise MessageError("malformed", "contract is not text")
    if not is_number(slot_s):
        raise MessageError("malformed", "slot_s is not a number")
    position_m = _position(data.get("position_m"))
    return Birth(cell, _epoch(data), contract, float(slot_s or 0), position_m)


def read_state(payload: bytes) -> State:
    """Read a state, which may be a last will.

    Raises:
        MessageError: With reason `size`, `malformed` or `range`.
    """
    data = _read_object(payload, LARGEST_STATE_BYTES)
    state = data.get("state")
    if not isinstance(state, str) or state not in STATES:
        raise MessageError("malformed", f"state is none of {', '.join(STATES)}")
    return State(state, _epoch(data))


def _read_object(payload: bytes, largest_bytes: int) -> dict[str, Any]:
    if not 0 < len(payload) <= largest_bytes:
        raise MessageError("size", f"{len(payload)} bytes, at most {largest_bytes}")
    try:
        data = json.loads(
            payload.decode(), parse_constant=_refuse
        )  # of bytes it guesses the encoding
    except (ValueError, RecursionError) as error:
        raise MessageError("malformed", "not JSON") from error
    if not isinstance(data, dict):
        raise MessageError("malformed", "not a JSON object")
    return data


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _epoch(data: dict[str, Any]) -> int:
    epoch = data.get("epoch")
    if type(epoch) is not int:
        raise MessageError("malformed", "epoch is not an integer")
    if not 0 <= epoch <= LARGEST_EPOCH:
        raise MessageError("range", f"epoch is not 0 to {LARGEST_EPOCH}")
    return epoch


def _position(value: object) -> Position | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not {*map(type, value)} <= {int, float}:
        raise MessageError("malformed", "position_m is not [x, y]")
    if not all(map(is_coordinate, value)):
        raise MessageError("range", "position_m holds what is no coordinate")
    return float(value[0]), float(value[1])
