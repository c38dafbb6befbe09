"""Bytes between a radio and its cell: observations one way, actions the other. Used on both sides.

Both are msgpack arrays that begin with version and contract, as the mean-field message does:

    observation: [1, contract, episode, slot, values, utility or nil, seconds left to answer]
    action:      [1, contract, episode, slot, action]

`values` are little-endian float32. The slot counter runs through the episodes: the first slot of an
episode follows the last one of the episode before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.wire import (
    LARGEST_SLOT,
    check_integer,
    check_tag,
    check_version,
    contract_tag,
    pack_array,
    unpack_array,
)

VERSION = 1
LARGEST_EPISODE = 2**32 - 1
LONGEST_ANSWER_S = 3600.0
LARGEST_VALUE = 1e18  # beyond it float32 arithmetic overflows
LARGEST_ACTION_BYTES = 64
HEADER_BYTES = 64
_LITTLE_ENDIAN = np.dtype("<f4")


@dataclass(frozen=True)
class ObservationMessage:
    """What a radio measured for its cell.

    Attributes:
        episode: Number of the episode.
        slot: Running slot number of the site; it does not restart with an episode.
        values: The observation `[D]` in native units.
        utility: The cell's own utility in `slot - 1`; None if there was none.
        answer_s: Seconds from arrival within which the action still counts for this slot.
    """

    episode: int
    slot: int
    values: FloatArray
    utility: float | None
    answer_s: float


@dataclass(frozen=True)
class ActionMessage:
    """What a cell decided for a slot; `action` in native units."""

    episode: int
    slot: int
    action: float


def encode_observation(message: ObservationMessage, contract: Contract) -> bytes:
    """Return the payload of an observation.

    Raises:
        ValueError: The observation has the wrong shape.
    """
    if np.shape(message.values) != (contract.observation_size,):
        found = np.shape(message.values)
        raise ValueError(f"observation {found}: expected ({contract.observation_size},)")
    values = np.asarray(message.values, dtype=_LITTLE_ENDIAN).tobytes()
    head = (VERSION, contract_tag(contract), message.episode, message.slot)
    return pack_array(*head, values, message.utility, float(message.answer_s))


def decode_observation(payload: bytes, contract: Contract) -> ObservationMessage:
    """Read an observation; values that are finite but out of range are left to `Contract.normalise`.

    Raises:
        MessageError: With reason `size`, `malformed`, `version`, `contract`, `range` or `not_finite`.
    """
    value_bytes = _LITTLE_ENDIAN.itemsize * contract.observation_size
    fields = _unpack(payload, contract, value_bytes + HEADER_BYTES, count=7)
    episode, slot, raw, utility, answer_s = fields
    if not isinstance(raw, bytes) or len(raw) != value_bytes:
        raise MessageError("malformed", f"values are not {value_bytes} bytes")
    values = np.frombuffer(raw, dtype=_LITTLE_ENDIAN).astype(np.float32)
    if not np.isfinite(values).all():
        wrong = ", ".join(
            feature.name
            for feature, value in zip(contract.features, values, strict=True)
            if not np.isfinite(value)
        )
        raise MessageError("not_finite", wrong)
    if np.abs(values).max() > LARGEST_VALUE:
        raise MessageError("range", f"a value is beyond {LARGEST_VALUE:g}")
    if utility is not None:
        utility = _finite("utility", utility)
        if abs(utility) > LARGEST_VALUE:
            raise MessageError("range", f"utility is beyond {LARGEST_VALUE:g}")
    answer_s = _finite("answer_s", answer_s)
    if not 0 < answer_s <= LONGEST_ANSWER_S:
        raise MessageError("range", f"answer_s = {answer_s}, above 0 to {LONGEST_ANSWER_S}")
    return ObservationMessage(episode, slot, values, utility, answer_s)


def encode_action(message: ActionMessage, contract: Contract) -> bytes:
    """Return the payload of an action."""
    head = (VERSION, contract_tag(contract), message.episode, message.slot)
    return pack_array(*head, float(message.action))


def decode_action(payload: bytes, contract: Contract) -> ActionMessage:
    """Read an action and check that it is one that the contract allows.

    Raises:
        MessageError: With reason `size`, `malformed`, `version`, `contract`, `range` or `not_finite`.
    """
    episode, slot, action = _unpack(payload, contract, LARGEST_ACTION_BYTES, count=5)
    action = _finite("action", action)
    if not allows_action(contract, action):
        bins = contract.action
        raise MessageError("range", f"action = {action}, {bins.low} to {bins.high} or {bins.off}")
    return ActionMessage(episode, slot, action)


def allows_action(contract: Contract, action: float) -> bool:
    """Return whether `action` is finite and within the contract's range, or exactly "off"."""
    bins = contract.action
    slack = 1e-5 * (bins.high - bins.low)  # of float32 arithmetic
    within = bins.low - slack <= action <= bins.high + slack
    return within or (bins.off is not None and math.isclose(action, bins.off, rel_tol=1e-6))


def _unpack(payload: bytes, contract: Contract, largest_bytes: int, count: int) -> list[Any]:
    version, *fields = unpack_array(payload, largest_bytes)
    check_version(version, VERSION)
    if len(fields) != count - 1:
        raise MessageError("malformed", f"{len(fields) + 1} fields, expected {count}")
    tag, episode, slot, *rest = fields
    check_tag(tag, contract)
    check_integer("episode", episode, LARGEST_EPISODE)
    check_integer("slot", slot, LARGEST_SLOT)
    return [episode, slot, *rest]


def _finite(name: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise MessageError("malformed", f"{name} is not a number")
    if not math.isfinite(value):
        raise MessageError("not_finite", name)
    return float(value)
