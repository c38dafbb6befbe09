"""Bytes between a radio and its cell: observations one way, actions the other. Used on both sides.

Both are msgpack arrays without maps, strings or extensions, and begin with version and contract, as the
mean-field message does. Of a contract with D features, C components of an action and A entries of the
action mask, and of a cell with n neighbours and Q couplings, an observation is

| entry | type and limits | meaning |
|---|---|---|
| version | 3 | of this layout, the same for both payloads |
| contract | 4 bytes | first bytes of `Contract.digest` |
| episode | integer, 0 to 2^32 - 1 | number of the episode |
| slot | integer, 0 to 2^32 - 1 | running slot number of the site |
| values | 4 D bytes | little-endian float32, native units; what is not finite or beyond 1e18 is unknown |
| utility | number or nil | the cell's own utility in slot - 1, at most 1e18 in size; nil if there was none |
| answer_s | number, above 0 to 3600 | seconds from arrival within which the action counts for this slot |
| mask | A bytes, nil if A is 0 | 1 for a choice that is possible, else 0; must leave the safe action |
| couplings | 4 n Q bytes, or nil | little-endian float32, from 0 to 1e18; nil if the radio does not say |

in at most 64 + 4 D + A + 4 n Q bytes, and an action

| entry | type and limits | meaning |
|---|---|---|
| version, contract, episode, slot | as above | those of the observation that is answered |
| one for each component | number | native units; within its bounds, or the index of a choice |

in at most 64 + 9 C bytes. A slot with unknown values is a slot all the same: the cell acts in it, without its
model. Numbers are msgpack integers or floats, finite. Bounds are compared in float32,
so a cell's value is exactly what its radio reads. An action does not carry the mask: a radio refuses one
that its own mask forbids. The slot counter runs through the episodes: the first slot of an episode follows
the last one of the episode before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from networld_runtime.contract import BoolArray, Contract, FloatArray, allowed
from networld_runtime.errors import MessageError
from networld_runtime.wire import (
    LARGEST_SLOT,
    check_integer,
    check_numbers,
    contract_tag,
    pack_array,
    read_array,
    unpack_message,
)

VERSION = 3
LARGEST_EPISODE = 2**32 - 1
LONGEST_ANSWER_S = 3600.0
LARGEST_VALUE = 1e18  # beyond it float32 arithmetic overflows
HEADER_BYTES = 64
NUMBER_BYTES = 9
IGNORED_BYTES = 4096  # of couplings that mean nothing to a cell that discovers its neighbours
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
        mask: Valid choices `[mask_size]`; None if the task has no mask.
        coupling: How strongly each neighbour acts on the cell, linear `[n, Q]`; None if it is not said.
    """

    episode: int
    slot: int
    values: FloatArray
    utility: float | None
    answer_s: float
    mask: BoolArray | None = None
    coupling: FloatArray | None = None


@dataclass(frozen=True)
class ActionMessage:
    """What a cell decided for a slot.

    Attributes:
        episode: Number of the episode.
        slot: Running slot number of the site.
        action: `[C]` in native units.
    """

    episode: int
    slot: int
    action: FloatArray


def encode_observation(message: ObservationMessage, contract: Contract) -> bytes:
    """Return the payload of an observation.

    Raises:
        ValueError: The observation or its mask has the wrong shape.
    """
    if np.shape(message.values) != (contract.observation_size,):
        found = np.shape(message.values)
        raise ValueError(f"observation {found}: expected ({contract.observation_size},)")
    choices = 0 if message.mask is None else len(message.mask)
    if choices != contract.mask_size:
        raise ValueError(f"mask of {choices} choices: expected {contract.mask_size}")
    values = np.asarray(message.values, dtype=_LITTLE_ENDIAN).tobytes()
    mask = None if message.mask is None else np.asarray(message.mask, dtype=np.uint8).tobytes()
    head = (VERSION, contract_tag(contract), message.episode, message.slot)
    coupling = None
    if message.coupling is not None:
        coupling = np.asarray(message.coupling, dtype=_LITTLE_ENDIAN).tobytes()
    return pack_array(*head, values, message.utility, float(message.answer_s), mask, coupling)


def decode_observation(
    payload: bytes, contract: Contract, coupling_shape: tuple[int, int] | None
) -> ObservationMessage:
    """Read an observation; values that are unknown are NaN, others are left to `Contract.normalise`.

    Args:
        payload: The bytes.
        contract: Contract that it must have been made under.
        coupling_shape: Neighbours `n` of the cell and couplings `Q`; None ignores couplings.

    Raises:
        MessageError: With reason `size`, `malformed`, `version`, `contract`, `range` or `not_finite`.
    """
    value_bytes = _LITTLE_ENDIAN.itemsize * contract.observation_size
    coupling_bytes = IGNORED_BYTES
    if coupling_shape is not None:
        coupling_bytes = _LITTLE_ENDIAN.itemsize * coupling_shape[0] * coupling_shape[1]
    largest_bytes = value_bytes + contract.mask_size + coupling_bytes + HEADER_BYTES
    fields = _unpack(payload, contract, largest_bytes, count=9)
    episode, slot, raw, utility, answer_s, raw_mask, raw_coupling = fields
    if not isinstance(raw, bytes) or len(raw) != value_bytes:
        raise MessageError("malformed", f"values are not {value_bytes} bytes")
    values = np.frombuffer(raw, dtype=_LITTLE_ENDIAN).astype(np.float32)
    values[~(np.abs(values) <= LARGEST_VALUE)] = np.nan
    if utility is not None:
        utility = _finite("utility", utility)
        if abs(utility) > LARGEST_VALUE:
            raise MessageError("range", f"utility is beyond {LARGEST_VALUE:g}")
    answer_s = _finite("answer_s", answer_s)
    if not 0 < answer_s <= LONGEST_ANSWER_S:
        raise MessageError("range", f"answer_s = {answer_s}, above 0 to {LONGEST_ANSWER_S}")
    mask = _read_mask(raw_mask, contract)
    coupling = None
    if coupling_shape is not None:
        coupling = _read_coupling(raw_coupling, coupling_shape)
    return ObservationMessage(episode, slot, values, utility, answer_s, mask, coupling)


def encode_action(message: ActionMessage, contract: Contract) -> bytes:
    """Return the payload of an action."""
    head = (VERSION, contract_tag(contract), message.episode, message.slot)
    return pack_array(*head, *(float(value) for value in message.action))


def decode_action(payload: bytes, contract: Contract) -> ActionMessage:
    """Read an action and check that it is one that the contract allows.

    Raises:
        MessageError: With reason `size`, `malformed`, `version`, `contract`, `range` or `not_finite`.
    """
    count = len(contract.actions)
    largest_bytes = HEADER_BYTES + NUMBER_BYTES * count
    episode, slot, *numbers = _unpack(payload, contract, largest_bytes, count=4 + count)
    action = np.zeros(count, dtype=np.float32)
    for index, (component, number) in enumerate(zip(contract.actions, numbers, strict=True)):
        value = np.array(
            _finite(component.name, number)
        )  # `allowed` rounds it, and refuses what is too large
        valid, expected = allowed(component, value)
        if not valid:
            raise MessageError("range", f"{component.name} = {number}, expected {expected}")
        action[index] = value
    return ActionMessage(episode, slot, action)


def _read_mask(raw: Any, contract: Contract) -> BoolArray | None:
    """Return the mask of an observation; it must leave the safe action, so a cell can always act."""
    size = contract.mask_size
    if raw is None and size == 0:
        return None
    if not isinstance(raw, bytes) or len(raw) != size or size == 0:
        raise MessageError("malformed", f"mask is not {f'{size} bytes' if size else 'nil'}")
    values = np.frombuffer(raw, dtype=np.uint8)
    if values.max() > 1:
        raise MessageError("range", "the mask holds a byte other than 0 and 1")
    mask = values.astype(np.bool_)
    if not contract.allows(np.array(contract.safe_action), mask):
        raise MessageError("range", f"the mask forbids the safe action {contract.safe_action}")
    return mask


def _read_coupling(raw: Any, shape: tuple[int, int]) -> FloatArray | None:
    if raw is None:
        return None
    coupling: FloatArray = read_array("couplings", raw, _LITTLE_ENDIAN, shape)
    check_numbers("couplings", coupling, 0.0, LARGEST_VALUE)
    return coupling


def _unpack(payload: bytes, contract: Contract, largest_bytes: int, count: int) -> list[Any]:
    fields = unpack_message(payload, largest_bytes, VERSION, contract, count)
    episode, slot, *rest = fields
    check_integer("episode", episode, LARGEST_EPISODE)
    check_integer("slot", slot, LARGEST_SLOT)
    return [episode, slot, *rest]


def _finite(name: str, value: Any) -> float:
    if type(value) not in (int, float):
        raise MessageError("malformed", f"{name} is not a number")
    if not math.isfinite(value):
        raise MessageError("not_finite", name)
    return float(value)
