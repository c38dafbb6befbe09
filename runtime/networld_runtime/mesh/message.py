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

import math
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
_ONE = np.float32(1)
_LEVELS = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float32) / np.float32(STEPS)
"""What each byte of a value of 8 bits means; NumPy's arithmetic on 16 values would cost more than a look."""
_TOO_LOW = bytes([STEPS + 1])
_HALVES = np.array([*range(8), *range(-8, 0)], dtype=np.float32) / np.float32(STEPS_OF_4_BITS)
_PAIRS = np.stack([np.repeat(_HALVES, 16), np.tile(_HALVES, 16)], axis=1)
"""What each byte of two values of 4 bits means."""
_PAIRS_IN_RANGE = bytes(byte for byte in range(256) if 8 not in (byte >> 4, byte & 0xF))


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
    # Python's sum of them is finite if all are, and for few values far quicker than NumPy's way.
    finite = math.isfinite(sum(told.tolist())) if told.ndim == 1 else np.isfinite(told).all()
    if not finite:
        raise ValueError("a value of a message is not finite")
    return np.rint(np.minimum(np.maximum(told, -_ONE), _ONE) * np.float32(steps)).astype(np.int8)


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
        values, end = _read_levels(body, size), size
    elif size >= SMALLEST_HALVED and len(body) in (half, half + 1):
        values, end = _read_pairs(body[:half], size), half
    else:
        raise MessageError("range", f"body of {len(body)} bytes, message_size {size}")
    utility = None
    if len(body) > end:
        count = body[end] - 256 if body[end] > STEPS else body[end]
        if count < -STEPS:
            raise MessageError("range", f"a value is below {-STEPS}")
        share = (count + STEPS) / (2 * STEPS)
        utility = contract.reward_low + share * (contract.reward_high - contract.reward_low)
    return MeanFieldMessage(epoch, slot, values, utility)


def _read_levels(body: bytes, size: int) -> FloatArray:
    """Return values of 8 bits; a utility may follow them."""
    if _TOO_LOW in body[:size]:
        raise MessageError("range", f"a value is below {-STEPS}")
    return _LEVELS[np.frombuffer(body, dtype=np.uint8, count=size)]


def _read_pairs(raw: bytes, size: int) -> FloatArray:
    """Return values of 4 bits, two in each byte."""
    if raw.translate(None, _PAIRS_IN_RANGE) or (size % 2 and raw[-1] & 0xF):
        raise MessageError(
            "range", f"a value is below {-STEPS_OF_4_BITS}, or there is one too many"
        )
    return _PAIRS[np.frombuffer(raw, dtype=np.uint8)].reshape(-1)[:size]


def _pack_halves(values: FloatArray) -> bytes:
    """Return values in [-1, 1] in 4 bits each, in two's complement; a place that is left over is zero."""
    halves = quantise(values, STEPS_OF_4_BITS).view(np.uint8) & 0xF
    if len(halves) % 2:
        halves = np.append(halves, np.uint8(0))
    return (halves[::2] << 4 | halves[1::2]).tobytes()


def _quantise_utility(utility: float, contract: Contract) -> bytes:
    """Return the byte of a utility, by the arithmetic of `quantise`."""
    span = contract.reward_high - contract.reward_low
    share = 2 * (utility - contract.reward_low) / span - 1
    if math.isnan(share):
        raise ValueError("a value of a message is not finite")
    count = round(float(np.float32(min(max(share, -1.0), 1.0)) * np.float32(STEPS)))
    return count.to_bytes(1, "big", signed=True)
