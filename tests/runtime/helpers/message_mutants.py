"""Messages as senders should not send them: random entries, changed bytes, any bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import msgpack
import numpy as np

from networld_runtime.contract import Contract
from networld_runtime.mesh.message import MeanFieldMessage, encode

SIZES = (1, 2, 3, 4, 5, 16, 17, 250)
"""Numbers of values: with and without 4 bits, odd and even, and bodies longer than 255 bytes."""


def random_entry(draw: random.Random, contract: Contract) -> Any:
    """Something that an entry of a message is, should not be, or nearly is."""
    size = contract.message_size
    lengths = (0, 3, 4, (size + 1) // 2, (size + 1) // 2 + 1, size, size + 1, size + 2)
    kinds: list[Callable[[], Any]] = [
        lambda: draw.choice((0, 1, 2, 3, 127, 128, 2**32 - 1, 2**32, 2**64 - 1, -1, -33, -(2**63))),
        lambda: draw.randrange(2**32),
        lambda: contract.digest()[:4],
        lambda: draw.randbytes(draw.choice(lengths)),
        lambda: bytes(draw.choice(lengths)),
        lambda: draw.choice((None, True, False, 2.0, float("nan"), "text", [], [[1]], {1: 2})),
    ]
    return draw.choice(kinds)()


def random_payload(draw: random.Random, contract: Contract) -> bytes:
    """A message, one with entries of all kinds, one with some bytes changed, or any bytes."""
    values = np.array([draw.uniform(-1, 1) for _ in range(contract.message_size)], dtype=np.float32)
    utility = draw.choice((None, draw.uniform(contract.reward_low, contract.reward_high)))
    epoch, slot = (draw.choice((draw.randrange(2**32), draw.randrange(300))) for _ in range(2))
    message = MeanFieldMessage(epoch, slot, values, utility)
    payload = bytearray(encode(message, contract, draw.choice((8, 4))))
    kind = draw.randrange(5)
    if kind == 0:
        return bytes(payload)
    if kind == 1:
        entries = msgpack.unpackb(payload)
        for _ in range(draw.randint(1, 2)):
            entries[draw.randrange(5)] = random_entry(draw, contract)
        if draw.random() < 0.2:
            entries = entries[: draw.randrange(5)] + entries[: draw.randrange(6)]
        return bytes(msgpack.packb(entries))
    if kind == 2:
        return draw.randbytes(draw.choice((0, 1, 2, 5, 37, 512, 513)))
    for _ in range(draw.choice((1, 1, 2, 3))):
        at = draw.randrange(len(payload))
        byte = draw.choice((draw.randrange(256), draw.randrange(0xC0, 0xE0), payload[at] ^ 0x80))
        # The first bytes say what the others are, so half of the changes are there.
        place = draw.choice((at, min(at, draw.randrange(8))))
        removed, added = draw.choice(((1, 1), (1, 1), (1, 1), (0, 1), (1, 0), (2, 1), (1, 2)))
        payload[place : place + removed] = bytes([byte] * added)
        payload = payload or bytearray(1)
    return bytes(payload)


def payloads(seed: int, contract: Contract, count: int) -> Iterator[tuple[bytes, Contract]]:
    """So many payloads, each with the contract whose message it is or nearly is."""
    draw = random.Random(seed)
    for size in draw.choices(SIZES, k=count):
        sized = replace(contract, latent_size=max(SIZES), message_size=size)
        yield random_payload(draw, sized), sized
