"""The mean-field message: what a cell tells its neighbours once per slot.

One msgpack array, 37 bytes or fewer for 16 values:

| entry | type | meaning |
|---|---|---|
| version | 2 | of this layout |
| contract | 4 bytes | first bytes of `Contract.digest`, which stands for the task as well |
| epoch | uint32 | seconds; grows whenever the sender boots or its slot counter restarts |
| slot | uint32 | running slot number of the site |
| body | bytes | the values, then the utility of slot - 1 if it is known |

Each value is an int8 in steps of 1/127 or, of four values and more, an int4 in steps of 1/7, two in a byte,
the first in the upper half. The utility is an int8 in both. The body's length tells which of them it is.

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

VERSION = 2
LARGEST_PAYLOAD_BYTES = 512
LARGEST_EPOCH = 2**32 - 1
STEPS = 127
STEPS_OF_4_BITS = 7
BITS = (8, 4)
"""Bits of a value that a sender may choose."""
SMALLEST_HALVED = 4
"""With fewer values the body's length would not tell which it is, so they always have 8 bits."""
_FIELDS = 5


@dataclass(frozen=True)
class MeanFieldMessage:
    """What one cell says in one slot.

    Attributes:
        epoch: Seconds; larger than any earlier epoch of the same sender.
        slot: Running slot number in which the message was sent.
        values: First entries of the sender's latent, `[message_size]`, in [-1, 1].
        utility: The sender's own utility in `slot - 1`, in the task's units; None if not known.
    """

    epoch: int
    slot: int
    values: FloatArray
    utility: float | None = None


def quantise(values: npt.ArrayLike, steps: int = STEPS) -> npt.NDArray[np.int8]:
    """Return values in [-1, 1] as integers in [-steps, steps]; those outside are clipped.

    Raises:
        ValueError: A value is not finite.
    """
    told = np.asarray(values, dtype=np.float32)
    if not np.isfinite(told).all():
        raise ValueError("a value of a message is not finite")
    return np.rint(np.clip(told, -1, 1) * steps).astype(np.int8)


def dequantise(counts: npt.NDArray[np.int8], steps: int = STEPS) -> FloatArray:
    """Return integers in [-steps, steps] as values in [-1, 1]."""
    return np.asarray(counts.astype(np.float32) / np.float32(steps), dtype=np.float32)


def encode(message: MeanFieldMessage, contract: Contract, bits: int = 8) -> bytes:
    """Return the payload of `message`, its values in 8 or 4 bits.

    Raises:
        ValueError: The values have the wrong shape or are not finite, or a number is out of range.
    """
    if bits not in BITS:
        raise ValueError(f"bits = {bits}: expected one of {BITS}")
    if message.values.shape != (contract.message_size,):
        raise ValueError(f"values {message.values.shape}: expected ({contract.message_size},)")
    if not (0 <= message.epoch <= LARGEST_EPOCH and 0 <= message.slot <= LARGEST_SLOT):
        raise ValueError(f"epoch {message.epoch}, slot {message.slot}: out of range")
    halves = bits == 4 and contract.message_size >= SMALLEST_HALVED
    body = _pack_halves(message.values) if halves else quantise(message.values).tobytes()
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
    check_integer("epoch", epoch, LARGEST_EPOCH)
    check_integer("slot", slot, LARGEST_SLOT)
    if not isinstance(body, bytes):
        raise MessageError("malformed", "body is not bytes")
    size = contract.message_size
    half = (size + 1) // 2
    if len(body) in (size, size + 1):
        values, end = dequantise(_read_steps(body[:size])), size
    elif len(body) in (half, half + 1):
        values, end = _unpack_halves(body[:half], size), half
    else:
        raise MessageError("range", f"body of {len(body)} bytes, message_size {size}")
    utility = None
    if len(body) > end:
        share = (int(_read_steps(body[end:])[0]) + STEPS) / (2 * STEPS)
        utility = contract.reward_low + share * (contract.reward_high - contract.reward_low)
    return MeanFieldMessage(epoch, slot, values, utility)


def _read_steps(raw: bytes) -> npt.NDArray[np.int8]:
    steps = np.frombuffer(raw, dtype=np.int8)
    if steps.min() < -STEPS:
        raise MessageError("range", f"a value is below {-STEPS}")
    return steps


def _pack_halves(values: FloatArray) -> bytes:
    """Return values in [-1, 1] in 4 bits each, in two's complement; a place that is left over is zero."""
    halves = np.zeros(len(values) + len(values) % 2, dtype=np.uint8)
    halves[: len(values)] = quantise(values, STEPS_OF_4_BITS).view(np.uint8) & 0xF
    return bytes(halves[::2] << 4 | halves[1::2])


def _unpack_halves(raw: bytes, size: int) -> FloatArray:
    pairs = np.frombuffer(raw, dtype=np.uint8)
    halves = np.stack([pairs >> 4, pairs & 0xF], axis=1).reshape(-1)
    counts = (halves ^ 8).astype(np.int8) - np.int8(8)  # spreads the sign of 4 bits
    if counts.min() < -STEPS_OF_4_BITS or counts[size:].any():
        raise MessageError(
            "range", f"a value is below {-STEPS_OF_4_BITS}, or there is one too many"
        )
    return dequantise(counts[:size], STEPS_OF_4_BITS)


def _quantise_utility(utility: float, contract: Contract) -> bytes:
    span = contract.reward_high - contract.reward_low
    share = 2 * (utility - contract.reward_low) / span - 1
    return quantise([min(max(share, -1.0), 1.0)]).tobytes()  # before float32 can overflow
