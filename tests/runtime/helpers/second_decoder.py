"""The protocol written a second time, from docs/protocol.md alone and with the standard library alone.

Nothing of the runtime is imported here: where the two disagree, one of them or the page is wrong. Where
the page leaves something open, a comment begins with "The page does not say".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
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

# First byte -> format of what follows: an integer, the length of bytes, the length of an array.
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


class Reader:
    """Goes through a payload from front to back; whatever is not there or of another type is `malformed`."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.at = payload, 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        taken = self.payload[self.at : self.at + count]
        self.at += count
        return taken if len(taken) == count else reject("malformed")

    def number(self, formats: Mapping[int, str], first: int) -> int:
        """The number after a first byte, in the format that the byte stands for."""
        if first not in formats:
            reject("malformed")
        value: int = struct.unpack(formats[first], self.take(struct.calcsize(formats[first])))[0]
        return value

    def integer(self) -> int:
        """An integer of any length; the page asks writers for the shortest form, not readers."""
        first = self.take(1)[0]
        if first <= 0x7F:
            return first
        return first - 256 if first >= 0xE0 else self.number(INTEGERS, first)

    def binary(self) -> bytes:
        """Bytes."""
        return self.take(self.number(BINS, self.take(1)[0]))

    def array(self) -> int:
        """The length of an array, whose entries follow."""
        first = self.take(1)[0]
        return first - 0x90 if 0x90 <= first <= 0x9F else self.number(ARRAYS, first)


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
        # The page does not say which reason a length has that is in no row. "malformed" is listed with all
        # that it covers and comes before the contract, which has n; so it is "range".
        reject("range")
    return tuple(quanta), signed(body[-1], 8) if len(body) > length else None, bits


def read_message(payload: bytes, contract: bytes, size: int) -> Message:
    """Read a message of a contract whose `message_size` is `size`; checks are in the page's order."""
    if not 0 < len(payload) <= MAX_MESSAGE_BYTES:
        reject("size")
    reader = Reader(payload)
    if reader.array() != 5:
        reject("malformed")
    version, tag = reader.integer(), reader.binary()
    epoch, slot, body = reader.integer(), reader.integer(), reader.binary()
    if reader.at != len(
        payload
    ):  # The page does not say what bytes after the array are: not msgpack.
        reject("malformed")
    if version != 2:
        reject("version")
    if tag != contract:  # The page does not say what another length than 4 is: another contract.
        reject("contract")
    if not (0 <= epoch <= UINT32_MAX and 0 <= slot <= UINT32_MAX):
        reject("range")
    return Message(epoch, slot, *read_body(body, size))


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
    """What a receiver remembers of one sender: (epoch, slot) of the last message that it took."""

    def __init__(self) -> None:
        self.last = (-1, -1)

    def take(self, message: Message, own_slot: int) -> None:
        """Take a message that was read, or reject it as `stale` or `ahead`, which changes nothing."""
        if (message.epoch, message.slot) <= self.last:
            reject("stale")
        if message.slot > own_slot + MAX_SLOTS_AHEAD:
            reject("ahead")
        self.last = (message.epoch, message.slot)
