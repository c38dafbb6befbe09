"""What cells tell about themselves in JSON, as far as it is shown; nothing about it is trusted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from networld_runtime.errors import MessageError
from networld_runtime.mesh.birth import LARGEST_STATE_BYTES, STATES
from networld_runtime.mesh.identity_seal import LARGEST_SIGNED_BIRTH_BYTES
from networld_runtime.mesh.topics import NAME_PATTERN

LARGEST_BYTES = {
    "state": LARGEST_STATE_BYTES,
    "birth": LARGEST_SIGNED_BIRTH_BYTES,
    "status": 64 << 10,
}
"""Of what cells tell; who looks on keeps one of each of every cell."""
MOST_NAMES = 256
_LARGEST_COUNT = 2**53
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_CONTRACT = re.compile(r"[0-9a-f]{8,128}")


@dataclass(frozen=True)
class State:
    """`state`: whether a cell is there, and since which boot."""

    state: str
    epoch: int


@dataclass(frozen=True)
class Birth:
    """`birth`: what a cell runs."""

    epoch: int
    task: str
    contract: str
    slot_s: float
    neighbours: tuple[str, ...]


@dataclass(frozen=True)
class Status:
    """`status`: how a cell is, in its own words.

    Attributes:
        ready: Whether it is ready.
        slots: Slots since it began.
        deadlines_missed: How many of them were late.
        heard: Neighbours that its last mean field knew.
        rejected: What it rejected of each neighbour's messages and logs, by reason.
    """

    ready: bool
    slots: int
    deadlines_missed: int
    heard: int
    rejected: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def read_state(payload: bytes) -> State:
    """Read a payload of the topic `state`.

    Raises:
        MessageError: With reason `size` or `malformed`.
    """
    data = _read(payload, "state")
    if data.get("state") not in STATES:
        raise _wrong("state")
    return State(data["state"], _count(data, "epoch"))


def read_birth(payload: bytes) -> Birth:
    """Read a payload of the topic `birth`.

    Raises:
        MessageError: With reason `size` or `malformed`.
    """
    data = _read(payload, "birth")
    task, contract, slot_s = (data.get(key) for key in ("task", "contract", "slot_s"))
    neighbours = data.get("neighbours")
    if not isinstance(task, str) or not _WORD.fullmatch(task):
        raise _wrong("task")
    if not isinstance(contract, str) or not _CONTRACT.fullmatch(contract):
        raise _wrong("contract")
    if isinstance(slot_s, bool) or not isinstance(slot_s, int | float) or not 0 < slot_s <= 3600:
        raise _wrong("slot_s")
    if not isinstance(neighbours, list) or len(neighbours) > MOST_NAMES:
        raise _wrong("neighbours")
    if not all(isinstance(one, str) and NAME_PATTERN.fullmatch(one) for one in neighbours):
        raise _wrong("neighbours")
    return Birth(_count(data, "epoch"), task, contract, float(slot_s), tuple(neighbours))


def read_status(payload: bytes) -> Status:
    """Read a payload of the topic `status`.

    Raises:
        MessageError: With reason `size` or `malformed`.
    """
    data = _read(payload, "status")
    counters = data.get("counters")
    if type(data.get("ready")) is not bool or not isinstance(counters, dict):
        raise _wrong("ready or counters")
    rejected: dict[str, Counter[str]] = {}
    for key in ("messages_rejected", "logs_rejected"):
        for name, counts in _names(counters, key):
            rejected.setdefault(name, Counter()).update(counts)
    return Status(
        ready=data["ready"],
        slots=_count(counters, "slots", 0),
        deadlines_missed=_count(counters, "deadlines_missed", 0),
        heard=_count(counters, "neighbours_heard", 0),
        rejected=rejected,
    )


def _names(counters: dict[str, Any], key: str) -> list[tuple[str, dict[str, int]]]:
    found = counters.get(key, {})
    if not isinstance(found, dict) or len(found) > MOST_NAMES:
        raise _wrong(key)
    result = []
    for name, counts in found.items():
        if not NAME_PATTERN.fullmatch(name) or not isinstance(counts, dict):
            raise _wrong(key)
        if len(counts) > MOST_NAMES or not all(_WORD.fullmatch(reason) for reason in counts):
            raise _wrong(key)
        result.append((name, {reason: _count(counts, reason) for reason in counts}))
    return result


def _read(payload: bytes, leaf: str) -> dict[str, Any]:
    if not 0 < len(payload) <= LARGEST_BYTES[leaf]:
        raise MessageError("size", f"{len(payload)} bytes, at most {LARGEST_BYTES[leaf]}")
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MessageError("malformed", type(error).__name__) from error
    if not isinstance(data, dict):
        raise _wrong("object")
    return data


def _count(data: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = data.get(key, default)
    if type(value) is not int or not 0 <= value <= _LARGEST_COUNT:
        raise _wrong(key)
    return value


def _wrong(what: str) -> MessageError:
    return MessageError("malformed", f"{what} is missing or not as expected")
