"""Write docs/protocol/vectors.json: payloads with what they mean, or why a receiver rejects them.

What is good is made by the base station's own encoders, what is bad by hand; what is expected of each is
written here and not computed, save what a payload was made of. So the tests can hold the code against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from networld_runtime.bundle import load_bundle
from networld_runtime.contract import Contract
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import IdentitySeal, pair_secret
from networld_runtime.mesh.message import STEPS, STEPS_OF_4_BITS, MeanFieldMessage, encode
from networld_runtime.store.signature import public_key

DOCS = Path(__file__).parent
VECTORS = DOCS / "protocol" / "vectors.json"
BUNDLE = DOCS.parent / "bundles" / "networld"
TASKS = ("power", "sched", "sleep")
EPOCH, SLOT = 1_790_000_000, 70_000
LAST = 2**32 - 1
SITE, CELLS = "demo", ("cell-0", "cell-1", "cell-2", "cell-3")
Case = dict[str, Any]


def read_contracts() -> dict[str, tuple[Contract, int]]:
    """Return contracts and their numbers of couplings: those of the shipped bundle, and odd ones."""
    bundles = {task: load_bundle(BUNDLE, task) for task in TASKS}
    contracts = {task: (bundle.contract, bundle.couplings) for task, bundle in bundles.items()}
    power, couplings = contracts["power"]
    for size in (1, 2, 3, 4, 5):
        contracts[f"power-{size}"] = (replace(power, message_size=size), couplings)
    return contracts


def parameters(contract: Contract, couplings: int) -> Case:
    """Return what a decoder needs to know of a contract."""
    return {
        "hash": contract.digest().hex(),
        "message_size": contract.message_size,
        "reward_low": contract.reward_low,
        "reward_high": contract.reward_high,
        "features": contract.observation_size,
        "mask": contract.mask_size,
        "couplings": couplings,
        "actions": contract.to_json()["actions"],
        "safe_action": list(contract.safe_action),
    }


# Messages


def said(
    contract: Contract,
    counts: Sequence[int],
    bits: int,
    utility_count: int | None,
    epoch: int,
    slot: int,
) -> tuple[bytes, Case]:
    """Return a message of integers as they are on the wire, and what it means."""
    steps = STEPS if bits == 8 else STEPS_OF_4_BITS
    values = np.array(counts, dtype=np.float32) / np.float32(steps)
    utility = None
    if utility_count is not None:
        span = contract.reward_high - contract.reward_low
        utility = contract.reward_low + span * (utility_count + STEPS) / (2 * STEPS)
    payload = encode(MeanFieldMessage(epoch, slot, values, utility), contract, bits)
    decoded = {
        "epoch": epoch,
        "slot": slot,
        "bits": bits,
        "counts": list(counts),
        "values": [round(count / steps, 7) for count in counts],
        "utility_count": utility_count,
        "utility": None if utility is None else round(utility, 7),
    }
    return payload, decoded


def counts_of(size: int, steps: int) -> list[int]:
    """Return integers from end to end of the range, the ends among them."""
    if size == 1:
        return [-steps]
    return [round(-steps + 2 * steps * place / (size - 1)) for place in range(size)]


def good_messages(contracts: Mapping[str, tuple[Contract, int]]) -> Iterator[Case]:
    """Yield messages that a receiver takes, with what they mean."""
    for name, (contract, _) in contracts.items():
        size = contract.message_size
        for bits in (8, 4) if size >= 4 else (8,):
            steps = STEPS if bits == 8 else STEPS_OF_4_BITS
            ramp = counts_of(size, steps)
            for about, counts, utility in (
                ("all of the range, no utility", ramp, None),
                ("all of the range, highest utility", ramp[::-1], STEPS),
                ("lowest values and utility", [-steps] * size, -STEPS),
                ("highest values, utility in the middle", [steps] * size, 0),
                ("zeros, utility 1", [0] * size, 1),
            ):
                payload, decoded = said(contract, counts, bits, utility, EPOCH, SLOT)
                yield case(f"{bits} bits, {about}", name, payload, decoded=decoded)
    power = contracts["power"][0]
    for number in (0, 127, 128, 255, 256, 65_535, 65_536, LAST):
        payload, decoded = said(power, [1] * 16, 8, 2, number, LAST - number)
        yield case(f"epoch {number}, slot {LAST - number}", "power", payload, decoded=decoded)
    yield from longer_forms(power)


def longer_forms(contract: Contract) -> Iterator[Case]:
    """Yield a message in forms of msgpack that are longer than needed; a receiver takes them."""
    payload, decoded = said(contract, [3] * 16, 8, 5, 7, 9)
    tag, body = contract.digest()[:4], payload[-17:]
    parts = {
        "array": (b"\x95", b"\xdc\x00\x05", b"\xdd\x00\x00\x00\x05"),
        "version": (b"\x02", b"\xcc\x02", b"\xcd\x00\x02", b"\xce\x00\x00\x00\x02", b"\xd0\x02"),
        "contract": (b"\xc4\x04", b"\xc5\x00\x04", b"\xc6\x00\x00\x00\x04"),
        "epoch": (b"\x07", b"\xce\x00\x00\x00\x07", b"\xcf" + bytes(7) + b"\x07", b"\xd1\x00\x07"),
        "slot": (b"\x09", b"\xcd\x00\x09", b"\xd3" + bytes(7) + b"\x09"),
        "body": (b"\xc4\x11", b"\xc5\x00\x11", b"\xc6\x00\x00\x00\x11"),
    }
    for long, forms in parts.items():
        for form in forms[1:]:
            one = {part: form if part == long else those[0] for part, those in parts.items()}
            raw = one["array"] + one["version"] + one["contract"] + tag
            raw += one["epoch"] + one["slot"] + one["body"] + body
            yield case(f"{long} as {form.hex()}", "power", raw, decoded=decoded)


def bad_messages(contracts: Mapping[str, tuple[Contract, int]]) -> Iterator[Case]:
    """Yield messages that a receiver rejects, with the reason that it counts."""
    power = contracts["power"][0]
    good, _ = said(power, counts_of(16, STEPS), 8, 0, EPOCH, SLOT)
    fields = msgpack.unpackb(good)
    tag, body = fields[1], fields[4]

    def changed(place: int, value: object) -> bytes:
        return bytes(msgpack.packb([*fields[:place], value, *fields[place + 1 :]]))

    for about, payload, reason in (
        ("nothing", b"", "size"),
        ("513 bytes", bytes(513), "size"),
        ("513 bytes of a good beginning", good + bytes(513 - len(good)), "size"),
        ("a byte behind the array", good + b"\x00", "malformed"),
        ("512 bytes of a good beginning", good + bytes(512 - len(good)), "malformed"),
        ("the last byte missing", good[:-1], "malformed"),
        ("the array's first byte alone", good[:1], "malformed"),
        ("an integer, no array", b"\x02", "malformed"),
        ("an empty array", b"\x90", "malformed"),
        ("a map", msgpack.packb({}), "malformed"),
        ("an array that announces 2^32 - 1 entries", b"\xdd\xff\xff\xff\xff", "malformed"),
        ("an array of 17 entries", msgpack.packb([3, *[0] * 16]), "malformed"),
        ("the byte that msgpack never uses", b"\xc1", "malformed"),
        ("arrays in arrays without end", b"\x91" * 400, "malformed"),
        ("version 1", changed(0, 1), "version"),
        ("version 3", changed(0, 3), "version"),
        ("version 3 of six entries", msgpack.packb([3, *fields[1:], 0]), "version"),
        ("version 3 alone", msgpack.packb([3]), "version"),
        ("version 2.0", changed(0, 2.0), "version"),
        ("version true", changed(0, True), "version"),
        ("version nil", changed(0, None), "version"),
        ("version 3 with a text in it", msgpack.packb([3, "text"]), "malformed"),
        ("version 3 with a map in it", msgpack.packb([3, {"a": 1}]), "malformed"),
        ("version 3 with an extension", msgpack.packb([3, msgpack.ExtType(1, b"a")]), "malformed"),
        ("four entries", msgpack.packb(fields[:4]), "malformed"),
        ("six entries", msgpack.packb([*fields, 0]), "malformed"),
        (
            "six entries of another contract",
            msgpack.packb([2, b"abcd", 0, 0, body, 0]),
            "malformed",
        ),
        ("contract of three bytes", changed(1, tag[:3]), "malformed"),
        ("contract as text", changed(1, "abcd"), "malformed"),
        ("contract as an integer", changed(1, 7), "malformed"),
        ("another contract", changed(1, bytes([tag[0] ^ 1]) + tag[1:]), "contract"),
        (
            "the contract of another task",
            changed(1, contracts["sched"][0].digest()[:4]),
            "contract",
        ),
        ("another contract, epoch nil", msgpack.packb([2, b"abcd", None, 0, body]), "contract"),
        ("epoch -1", changed(2, -1), "range"),
        ("epoch 2^32", changed(2, 2**32), "range"),
        ("epoch 2^64 - 1", changed(2, 2**64 - 1), "range"),
        ("epoch 1.0", changed(2, 1.0), "malformed"),
        ("epoch true", changed(2, True), "malformed"),
        ("epoch nil", changed(2, None), "malformed"),
        ("epoch an array", changed(2, [1]), "malformed"),
        ("epoch NaN", changed(2, float("nan")), "malformed"),
        ("slot -1", changed(3, -1), "range"),
        ("slot 2^32", changed(3, 2**32), "range"),
        ("slot nil", changed(3, None), "malformed"),
        ("epoch out of range, slot nil", msgpack.packb([2, tag, -1, None, body]), "range"),
        ("slot out of range, body nil", msgpack.packb([2, tag, 0, 2**32, None]), "range"),
        ("body an integer", changed(4, 5), "malformed"),
        ("body a text", changed(4, "a" * 17), "malformed"),
        ("body of no byte", changed(4, b""), "range"),
        ("body of 7 bytes", changed(4, bytes(7)), "range"),
        ("body of 10 bytes", changed(4, bytes(10)), "range"),
        ("body of 15 bytes", changed(4, bytes(15)), "range"),
        ("body of 18 bytes", changed(4, bytes(18)), "range"),
        ("8 bits, first value -128", changed(4, b"\x80" + bytes(15)), "range"),
        ("8 bits, last value -128", changed(4, bytes(15) + b"\x80"), "range"),
        ("8 bits, utility -128", changed(4, bytes(16) + b"\x80"), "range"),
        ("4 bits, first value -8", changed(4, b"\x80" + bytes(7)), "range"),
        ("4 bits, second value -8", changed(4, b"\x08" + bytes(7)), "range"),
        ("4 bits, last value -8", changed(4, bytes(7) + b"\x08"), "range"),
        ("4 bits, utility -128", changed(4, bytes(8) + b"\x80"), "range"),
    ):
        yield case(about, "power", payload, reason=reason)
    for name, raw in (
        ("power-5", "12345f"),  # the half that is left over is not 0
        ("power-5", "123451"),
        ("power-5", "123458"),
        ("power-3", "1200"),  # too few values for 4 bits
        ("power-2", "12"),
        ("power-1", ""),
    ):
        start = [2, contracts[name][0].digest()[:4], 0, 0]
        payload = msgpack.packb([*start, bytes.fromhex(raw)])
        yield case(f"body {raw or 'empty'}", name, payload, reason="range")


def sequences(contract: Contract) -> Iterator[Case]:
    """Yield what one sender says in a row, with a receiver's verdict on each."""

    def steps(*told: tuple[int, int, int | None, str]) -> list[Case]:
        return [
            {
                "own_slot": own,
                "payload": said(contract, [0] * 16, 8, None, epoch, slot)[0].hex(),
                "epoch": epoch,
                "slot": slot,
                "verdict": verdict,
            }
            for epoch, slot, own, verdict in told
        ]

    taken, stale, ahead = "taken", "stale", "ahead"
    for about, known, told in (
        (
            "(epoch, slot) must grow; gaps do not matter",
            None,
            [
                (5, 10, None, taken),
                (5, 10, None, stale),
                (5, 9, None, stale),
                (5, 11, None, taken),
                (5, 900, None, taken),
                (4, 901, None, stale),
                (6, 0, None, taken),
                (6, 0, None, stale),
                (5, 902, None, stale),
                (LAST, LAST, None, taken),
                (LAST, LAST, None, stale),
            ],
        ),
        (
            "at most 1,000 slots ahead of the own, in any epoch; what is rejected changes nothing",
            None,
            [
                (5, 1100, 100, taken),
                (5, 1101, 100, ahead),
                (6, 1101, 100, ahead),
                (5, 1101, 101, taken),
                (7, LAST, 101, ahead),
                (6, 3, 101, taken),
                (6, 4, 2000, taken),
            ],
        ),
        (
            "stale is looked for before ahead",
            None,
            [(5, 5000, None, taken), (5, 4000, 100, stale), (4, 9000, 100, stale)],
        ),
        (
            "no limit until the own slot is known",
            None,
            [(5, LAST, None, taken), (6, LAST - 1, None, taken), (6, LAST, 10, ahead)],
        ),
        (
            "an epoch that was known before a restart is the oldest that counts",
            5,
            [(4, 100, None, stale), (5, 0, None, taken), (5, 0, None, stale)],
        ),
    ):
        yield {"about": about, "contract": "power", "known_epoch": known, "steps": steps(*told)}


# With authentication


def private_key(cell: str) -> bytes:
    """Return the key of a cell of the examples: 32 bytes of 01, 02 ..."""
    return bytes([CELLS.index(cell) + 1]) * 32


def seal_of(cell: str, site: str = SITE) -> IdentitySeal:
    """Return the seal of a cell that knows `cell-0` to `cell-2`."""
    others = {name: public_key(private_key(name)) for name in CELLS[:3] if name != cell}
    return IdentitySeal(site, Identity(cell, private_key(cell), others))


def sealed(contract: Contract) -> Case:
    """Return keys, secrets, sealed messages and forged ones; all arrive on the topic of `sender`."""
    sender, *receivers = CELLS[:3]
    message, _ = said(contract, counts_of(16, STEPS), 8, None, EPOCH, SLOT)
    good = seal_of(sender).close(message, receivers)
    other, _ = said(contract, [0] * 16, 8, None, EPOCH, SLOT)
    bulky = seal_of(sender).close(bytes(513), ["cell-1"])
    secrets = {
        name: pair_secret(private_key(sender), public_key(private_key(name))).hex()
        for name in receivers
    }
    received = [
        arrived("for two receivers", "cell-1", good, opened=message),
        arrived("for two receivers", "cell-2", good, opened=message),
        arrived("for one receiver", "cell-1", seal_of(sender).close(message, ["cell-1"]), message),
        arrived(
            "its tags in another order",
            "cell-1",
            seal_of(sender).close(message, ["cell-2", "cell-1"]),
            message,
        ),
        arrived("16 tags", "cell-1", b"\x10" + bytes(60) + good[1:5] + message, message),
        arrived(
            "for somebody else",
            "cell-2",
            seal_of(sender).close(message, ["cell-1"]),
            reason="forged",
        ),
        arrived(
            "one bit of the tag changed",
            "cell-1",
            good[:1] + bytes([good[1] ^ 1]) + good[2:],
            reason="forged",
        ),
        arrived(
            "one bit of the message changed",
            "cell-1",
            good[:-1] + bytes([good[-1] ^ 1]),
            reason="forged",
        ),
        arrived("tags of another message", "cell-1", good[:9] + other, reason="forged"),
        arrived(
            "sealed by another cell",
            "cell-1",
            seal_of("cell-2").close(message, ["cell-1"]),
            reason="forged",
        ),
        arrived(
            "its own words sent back",
            "cell-1",
            seal_of("cell-1").close(message, [sender]),
            reason="forged",
        ),
        arrived(
            "of another site",
            "cell-1",
            seal_of(sender, "other").close(message, ["cell-1"]),
            reason="forged",
        ),
        arrived("one tag fewer by its count", "cell-2", b"\x01" + good[1:], reason="forged"),
        arrived("more tags by its count", "cell-1", b"\x10" + good[1:], reason="malformed"),
        arrived("17 tags", "cell-1", b"\x11" + bytes(68) + message, reason="malformed"),
        arrived("a count and nothing", "cell-1", b"\x01", reason="malformed"),
        arrived("nothing", "cell-1", b"", reason="unsigned"),
        arrived("no tags", "cell-1", b"\x00" + message, reason="unsigned"),
        arrived("a message without a seal", "cell-1", message, reason="unsigned"),
        arrived("577 bytes", "cell-1", b"\x01" + bytes(576), reason="forged"),
        arrived("578 bytes", "cell-1", b"\x01" + bytes(577), reason="size"),
        arrived(
            "a good seal around 513 bytes; rejected when that is read",
            "cell-1",
            bulky,
            reason="size",
        ),
        arrived(
            "of a cell without a public key",
            "cell-1",
            seal_of("cell-3").close(message, ["cell-1"]),
            reason="unknown_sender",
            sender="cell-3",
        ),
    ]
    return {
        "site": SITE,
        "keys": {
            name: {
                "private": private_key(name).hex(),
                "public": public_key(private_key(name)).hex(),
            }
            for name in CELLS[:3]
        },
        "sent": {
            "sender": sender,
            "receivers": receivers,
            "secrets": secrets,
            "message": message.hex(),
            "sealed": good.hex(),
        },
        "received": received,
    }


def arrived(
    about: str,
    receiver: str,
    payload: bytes,
    opened: bytes | None = None,
    reason: str | None = None,
    sender: str = CELLS[0],
) -> Case:
    """Return what a receiver makes of a payload on the topic of a sender."""
    verdict = {"reason": reason} if opened is None else {"message": opened.hex()}
    return {
        "about": about,
        "sender": sender,
        "receiver": receiver,
        "payload": payload.hex(),
        **verdict,
    }


def case(about: str, contract: str, payload: bytes, **verdict: Any) -> Case:
    """Return a payload and what a receiver makes of it."""
    return {"about": about, "contract": contract, "payload": payload.hex(), **verdict}


def vectors() -> Case:
    """Return all vectors."""
    contracts = read_contracts()
    return {
        "contracts": {name: parameters(*those) for name, those in contracts.items()},
        "messages": [*good_messages(contracts), *bad_messages(contracts)],
        "sequences": [*sequences(contracts["power"][0])],
        "sealed": sealed(contracts["power"][0]),
    }


def vectors_text() -> str:
    """Return docs/protocol/vectors.json: one line for each case, so that changes can be read."""
    return laid_out(vectors()) + "\n"


def laid_out(data: Any, depth: int = 0) -> str:
    """Return JSON in which the entries of the first levels stand on lines of their own."""
    short = json.dumps(data)
    if depth == 3 or not isinstance(data, dict | list) or not data or len(short) < 100:
        return short
    indent = "\n" + "  " * (depth + 1)
    if isinstance(data, list):
        parts = [laid_out(entry, 3 if "steps" not in entry else depth + 1) for entry in data]
    else:
        parts = [f"{json.dumps(key)}: {laid_out(entry, depth + 1)}" for key, entry in data.items()]
    opening, closing = ("[", "]") if isinstance(data, list) else ("{", "}")
    return f"{opening}{indent}{(',' + indent).join(parts)}\n{'  ' * depth}{closing}"


if __name__ == "__main__":
    VECTORS.write_text(vectors_text())
