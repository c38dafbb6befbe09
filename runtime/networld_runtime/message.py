"""The mean-field message: what a cell tells its neighbours once per slot.

One msgpack array, 41 bytes or fewer for 16 values:

| entry | type | meaning |
|---|---|---|
| version | 1 | of this layout |
| contract | 4 bytes | first bytes of `Contract.digest` |
| epoch | uint64 | milliseconds; grows whenever the sender boots or its slot counter restarts |
| slot | uint32 | running slot number of the site |
| body | int8 bytes | the values in steps of 1/127, then the utility of slot - 1 if it is known |

The slot counter runs through the episodes and never restarts within an epoch, so it is the sequence
number as well: (epoch, slot) grows with every message, and a receiver that knows in which slot its
episode began can tell the messages of that episode without being told the episode.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.wire import (
    LARGEST_SLOT,
    check_integer,
    contract_tag,
    pack_array,
    unpack_message,
)

VERSION = 1
LARGEST_PAYLOAD_BYTES = 512
LARGEST_EPOCH_MS = 2**64 - 1
STEPS = 127
_FIELDS = 5


@dataclass(frozen=True)
class MeanFieldMessage:
    """What one cell says in one slot.

    Attributes:
        epoch: Milliseconds; larger than any earlier epoch of the same sender.
        slot: Running slot number in which the message was sent.
        values: First entries of the sender's latent, `[message_size]`, in [-1, 1].
        utility: The sender's own utility in `slot - 1`, in the task's units; None if not known.
    """

    epoch: int
    slot: int
    values: FloatArray
    utility: float | None = None


def quantise(values: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Return values in [-1, 1] as int8 in [-127, 127]; those outside are clipped.

    Raises:
        ValueError: A value is not finite.
    """
    told = np.asarray(values, dtype=np.float32)
    if not np.isfinite(told).all():
        raise ValueError("a value of a message is not finite")
    return np.rint(np.clip(told, -1, 1) * STEPS).astype(np.int8)


def dequantise(steps: npt.NDArray[np.int8]) -> FloatArray:
    """Return int8 in [-127, 127] as values in [-1, 1]."""
    return np.asarray(steps.astype(np.float32) / np.float32(STEPS), dtype=np.float32)


def encode(message: MeanFieldMessage, contract: Contract) -> bytes:
    """Return the payload of `message`.

    Raises:
        ValueError: The values have the wrong shape or are not finite, or a number is out of range.
    """
    if message.values.shape != (contract.message_size,):
        raise ValueError(f"values {message.values.shape}: expected ({contract.message_size},)")
    if not (0 <= message.epoch <= LARGEST_EPOCH_MS and 0 <= message.slot <= LARGEST_SLOT):
        raise ValueError(f"epoch {message.epoch}, slot {message.slot}: out of range")
    body = quantise(message.values).tobytes()
    if message.utility is not None:
        body += _quantise_utility(message.utility, contract)
    return pack_array(VERSION, contract_tag(contract), message.epoch, message.slot, body)


def decode(payload: bytes, contract: Contract) -> MeanFieldMessage:
    """Read a payload from the network; nothing about it is trusted.

    Raises:
        MessageError: With reason `size`, `malformed`, `version`, `contract` or `range`.
    """
    fields = unpack_message(payload, LARGEST_PAYLOAD_BYTES, VERSION, contract, _FIELDS)
    epoch, slot, body = fields
    check_integer("epoch", epoch, LARGEST_EPOCH_MS)
    check_integer("slot", slot, LARGEST_SLOT)
    if not isinstance(body, bytes):
        raise MessageError("malformed", "body is not bytes")
    size = contract.message_size
    if len(body) not in (size, size + 1):
        raise MessageError("range", f"body of {len(body)} bytes, message_size {size}")
    steps = np.frombuffer(body, dtype=np.int8)
    if steps.min() < -STEPS:
        raise MessageError("range", f"a value is below {-STEPS}")
    utility = None
    if len(steps) > size:
        share = (int(steps[-1]) + STEPS) / (2 * STEPS)
        utility = contract.reward_low + share * (contract.reward_high - contract.reward_low)
    return MeanFieldMessage(epoch, slot, dequantise(steps[:size]), utility)


def _quantise_utility(utility: float, contract: Contract) -> bytes:
    span = contract.reward_high - contract.reward_low
    share = 2 * (utility - contract.reward_low) / span - 1
    return quantise([min(max(share, -1.0), 1.0)]).tobytes()  # before float32 can overflow
