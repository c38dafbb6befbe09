"""The protocol written a second time, from docs/protocol.md alone and with the standard library alone.

Nothing of the runtime is imported here: where the two disagree, one of them or the page is wrong. What
the page leaves open, a comment says; docs/protocol/vectors.json decided some of it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NoReturn

UINT32_MAX = 2**32 - 1
MAX_MESSAGE_BYTES = 512
MAX_SLOTS_AHEAD = 1000


class Rejected(Exception):  # noqa: N818
    """A payload was not taken; the text is the page's word for the reason."""


def reject(reason: str) -> NoReturn:
    """Reject what is being read."""
    raise Rejected(reason)


# --- msgpack: the little of it that a message needs ---------------------------------------------

# First byte -> format of the number that follows: an integer, the length of bytes, that of an array.
INTEGERS = {
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
BINS = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I"}
ARRAYS = {0xDC: ">H", 0xDD: ">I"}
OTHERS = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
"""Nil, false, true and two kinds of floats, and how many bytes follow."""


class Reader:
    """Goes through a payload from front to back; what is not there or no part of it is `malformed`."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at = payload, 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        taken = self.payload[self.at : self.at + count]
        self.at += count
        return taken if len(taken) == count else reject("malformed")

    def number(self, form: str) -> int:
        """Return the next number of a format."""
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def entry(self) -> int | bytes | None:
        """Return an integer or bytes, in any of their forms; None for a float, nil, a truth or an array."""
        first = self.take(1)[0]
        if not is_array(first):
            return self.scalar(first)
        left = self.length(first)
        while left:  # arrays in arrays, without recursion: the page sets no limit to their depth
            first = self.take(1)[0]
            left -= 1
            if is_array(first):
                left += self.length(first)
            else:
                self.scalar(first)
        return None

    def scalar(self, first: int) -> int | bytes | None:
        """Return what begins with a first byte; texts, maps and extensions are no part of any payload."""
        if first <= 0x7F or first >= 0xE0:
            return first if first <= 0x7F else first - 256
        if first in INTEGERS:
            return self.number(INTEGERS[first])
        if first in BINS:
            return self.take(self.number(BINS[first]))
        self.take(OTHERS[first] if first in OTHERS else reject("malformed"))
        return None

    def length(self, first: int) -> int:
        """Return the number of entries of an array with this first byte, at most 16."""
        count = self.number(ARRAYS[first]) if first in ARRAYS else first - 0x90
        return count if count <= 16 else reject("malformed")

    def whole(self) -> list[int | bytes | None]:
        """Return the entries of the array that the payload is, and nothing behind it."""
        first = self.take(1)[0]
        entries = [self.entry() for _ in range(self.length(first))] if is_array(first) else []
        return entries if entries and self.at == len(self.payload) else reject("malformed")


def is_array(first: int) -> bool:
    """Return whether an array begins with this byte."""
    return first in ARRAYS or 0x90 <= first <= 0x9F


# --- The message --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A message: whole numbers q as sent, and of how many bits they are."""

    epoch: int
    slot: int
    quanta: tuple[int, ...]
    utility_quantum: int | None
    bits: int

    @property
    def values(self) -> list[float]:
        """The values in [-1, 1]."""
        return [quantum / (127 if self.bits == 8 else 7) for quantum in self.quanta]

    def utility(self, reward_low: float, reward_high: float) -> float | None:
        """The utility between the contract's bounds, or None if it is not known."""
        if self.utility_quantum is None:
            return None
        return reward_low + (reward_high - reward_low) * (self.utility_quantum / 127 + 1) / 2


def signed(value: int, bits: int) -> int:
    """Two's complement of so many bits; the lowest one is an error."""
    lowest = -(1 << (bits - 1))
    quantum = value + 2 * lowest if value >= -lowest else value
    return quantum if quantum != lowest else reject("range")


def read_body(body: bytes, size: int) -> tuple[tuple[int, ...], int | None, int]:
    """Values, utility and bits of a body, whose length tells what it is."""
    half = (size + 1) // 2
    if len(body) in {size, size + 1}:
        bits, length = 8, size
        quanta = [signed(byte, 8) for byte in body[:size]]
    elif size >= 4 and len(body) in {half, half + 1}:
        bits, length = 4, half
        nibbles = [nibble for byte in body[:half] for nibble in (byte >> 4, byte & 15)]
        if any(nibbles[size:]):
            reject("range")
        quanta = [signed(nibble, 4) for nibble in nibbles[:size]]
    else:
        reject("range")  # the page does not say; n is the contract's, so it is no matter of msgpack
    return tuple(quanta), signed(body[-1], 8) if len(body) > length else None, bits


def uint32(entry: object) -> int:
    """Check an epoch or a slot."""
    if not isinstance(entry, int):
        reject("malformed")
    return entry if 0 <= entry <= UINT32_MAX else reject("range")


def read_message(payload: bytes, contract: bytes, size: int) -> Message:
    """Read a message of a contract whose `message_size` is `size`.

    The order is that of the vectors: from front to back, the version before all that it may change.
    """
    if not 0 < len(payload) <= MAX_MESSAGE_BYTES:
        reject("size")
    entries = Reader(payload).whole()
    if entries[0] != 2:
        reject("version")
    if len(entries) != 5:
        reject("malformed")
    _, tag, epoch, slot, body = entries
    if not isinstance(tag, bytes) or len(tag) != len(contract):
        reject("malformed")
    if tag != contract:
        reject("contract")
    epoch, slot = uint32(epoch), uint32(slot)
    quanta, utility, bits = read_body(
        body if isinstance(body, bytes) else reject("malformed"), size
    )
    return Message(epoch, slot, quanta, utility, bits)


def write_message(message: Message, contract: bytes) -> bytes:
    """Write a message in the shortest form of msgpack."""
    if message.bits == 8:
        body = bytes(quantum & 255 for quantum in message.quanta)
    else:
        nibbles = [quantum & 15 for quantum in message.quanta] + [0] * (len(message.quanta) % 2)
        body = bytes(high << 4 | low for high, low in zip(nibbles[::2], nibbles[1::2], strict=True))
    if message.utility_quantum is not None:
        body += bytes([message.utility_quantum & 255])
    numbers = shortest(message.epoch) + shortest(message.slot)
    return b"\x95\x02" + binary(contract) + numbers + binary(body)


def shortest(value: int) -> bytes:
    """An integer from 0 to 2^32 - 1 in its shortest form."""
    if value < 0x80:
        return bytes([value])
    first = 0xCC if value < 2**8 else 0xCD if value < 2**16 else 0xCE
    return bytes([first]) + struct.pack(INTEGERS[first], value)


def binary(content: bytes) -> bytes:
    """Bytes with the shortest header."""
    first = 0xC4 if len(content) < 2**8 else 0xC5
    return bytes([first]) + struct.pack(BINS[first], len(content)) + content


class Sender:
    """What a receiver remembers of one sender: (epoch, slot) of the last message that it took.

    Args:
        known_epoch: That of an earlier run of the receiver; -1 if there is none.
    """

    def __init__(self, known_epoch: int = -1) -> None:
        self.last = (known_epoch, -1)

    def take(self, message: Message, own_slot: int | None) -> None:
        """Take a message, or reject it as `stale` or `ahead`; as the first only before the own first slot."""
        if (message.epoch, message.slot) <= self.last:
            reject("stale")
        if own_slot is not None and message.slot > own_slot + MAX_SLOTS_AHEAD:
            reject("ahead")
        self.last = (message.epoch, message.slot)
