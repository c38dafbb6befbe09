"""100,000 payloads that are nearly messages: a cell counts them, never fails, and uses none that is not one.

Whether a payload is a message is decided here by a reader of its own, from what docs say about the bytes.
"""

from __future__ import annotations

import random
import struct
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import msgpack
import numpy as np
from brokers import Broker
from raw_mqtt import RawClient

from networld_runtime.config import BrokerConfig
from networld_runtime.contract import Contract
from networld_runtime.mesh.message import LARGEST_PAYLOAD_BYTES, MeanFieldMessage, encode
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.neighbours import LARGEST_LEAD_SLOTS, Neighbours

PAYLOADS = 100_000
THROUGH_A_BROKER = 5_000
FOR_ONE_NEIGHBOUR = 1_000
PAYLOADS_OF_A_SLOT = 10
SHORT_SLOT_S = 1e-6
"""However fast they come, it is no flood."""
EPOCH = 1_790_000_000
REASONS = {"size", "malformed", "version", "contract", "range", "stale", "ahead"}
PATIENCE_S = 20.0


def good(contract: Contract, slot: int, chance: random.Random) -> bytes:
    """Return a message as a neighbour sends it."""
    values = np.array([chance.uniform(-1, 1) for _ in range(contract.message_size)], np.float32)
    utility = chance.choice([None, chance.uniform(0, 10)])
    message = MeanFieldMessage(EPOCH, slot, values, utility)
    return encode(message, contract, chance.choice([8, 4]))


def fuzzed(contract: Contract, count: int, seed: int) -> Iterator[bytes]:
    """Yield payloads: mutants of a good message, arrays of anything, plain noise, and a few that are good."""
    chance = random.Random(seed)
    tag = contract.digest()[:4]
    for number in range(count):
        original = good(contract, number // PAYLOADS_OF_A_SLOT, chance)
        kind = chance.randrange(8)
        if kind == 0:
            yield original
        elif kind == 1:
            yield chance.randbytes(chance.choice([0, 1, 36, 37, 64, LARGEST_PAYLOAD_BYTES + 1]))
        elif kind == 2:
            yield original[: chance.randrange(len(original))]
        elif kind == 3:
            yield original + chance.randbytes(chance.randint(1, 4))
        elif kind == 4:
            yield _array(chance, tag)
        else:
            mutant = bytearray(original)
            for _ in range(chance.randint(1, 3)):
                mutant[chance.randrange(len(mutant))] = chance.choice(
                    [0, 0x7F, 0x80, 0xC0, 0xFF, chance.randrange(256)]
                )
            yield bytes(mutant)


def _array(chance: random.Random, tag: bytes) -> bytes:
    """Return an array of five entries, each of them as it should be or of any other type and size."""
    anything: list[object] = [
        None,
        True,
        -1,
        2**40,
        1.5,
        float("nan"),
        "text",
        b"",
        [],
        {},
        [1] * 20,
    ]
    fields = [
        2,
        tag,
        EPOCH,
        chance.randrange(3000),
        chance.randbytes(chance.choice([8, 9, 16, 17])),
    ]
    for _ in range(chance.randint(0, 2)):
        fields[chance.randrange(5)] = chance.choice(anything)
    return bytes(msgpack.packb(fields))


def read(payload: bytes, contract: Contract) -> tuple[int, int, list[float]] | None:
    """Return epoch, slot and values of a payload that is a message by the words of the protocol."""
    try:
        fields = msgpack.unpackb(payload, strict_map_key=False)
    except (ValueError, TypeError):
        return None
    if len(payload) > LARGEST_PAYLOAD_BYTES or not isinstance(fields, list):
        return None
    if [type(one) for one in fields] != [int, bytes, int, int, bytes]:
        return None
    version, tag, epoch, slot, body = fields
    numbers = version == 2 and 0 <= epoch < 2**32 and 0 <= slot < 2**32
    values = _values(body, contract.message_size)
    if not numbers or tag != contract.digest()[:4] or values is None:
        return None
    return epoch, slot, values


def _values(body: bytes, size: int) -> list[float] | None:
    if len(body) in (size, size + 1):
        steps = struct.unpack(f"{len(body)}b", body)
        return None if min(steps) < -127 else [one / 127 for one in steps[:size]]
    if len(body) in (size // 2, size // 2 + 1):
        halves = [half for byte in body[: size // 2] for half in (byte >> 4, byte & 15)]
        signed = [half - 16 if half > 7 else half for half in halves]
        utility = body[size // 2 :]
        return None if min(signed) < -7 or utility == b"\x80" else [one / 7 for one in signed]
    return None


def test_100_000_payloads_are_counted_and_none_is_used_that_is_no_message(
    contract: Contract,
) -> None:
    payloads = fuzzed(contract, PAYLOADS, seed=1)
    rejected: Counter[str] = Counter()
    accepted = 0
    # A neighbour of their own for every thousand: one mutant of a far epoch makes all after it stale.
    for first in range(0, PAYLOADS, FOR_ONE_NEIGHBOUR):
        some = list(islice(payloads, FOR_ONE_NEIGHBOUR))
        now_s = 0.0
        neighbours = Neighbours(contract, ["b"], 4, clock=lambda: now_s)  # noqa: B023
        own_slot = first // PAYLOADS_OF_A_SLOT
        neighbours.begin_episode(own_slot)
        newest, used = (-1, -1), 0
        for payload in some:
            now_s += 1.0  # so that it is no flood
            neighbours.receive("b", payload)
            message = read(payload, contract)
            if message is None:
                continue
            epoch, slot, values = message
            if (epoch, slot) <= newest or slot > own_slot + LARGEST_LEAD_SLOTS:
                continue
            newest, used = (epoch, slot), used + 1
            own_slot = slot + 1
            mean_field = neighbours.mean_field(own_slot)
            if slot >= first // PAYLOADS_OF_A_SLOT:
                np.testing.assert_allclose(mean_field, [*values, 1], atol=1e-6)
            else:
                assert not mean_field.any()  # of an earlier episode
        assert neighbours.received == used
        accepted += used
        rejected.update(neighbours.rejected()["b"])
    assert accepted + rejected.total() == PAYLOADS
    assert accepted > 500
    assert set(rejected) == REASONS
    assert min(rejected.values()) > 20


def test_what_a_broker_carries_is_counted_as_well(contract: Contract, each_broker: Broker) -> None:
    neighbours = Neighbours(contract, ["b"], 4, slot_s=SHORT_SLOT_S)
    neighbours.begin_episode(0)
    transport = MqttTransport(BrokerConfig(port=each_broker.port), "listener")
    transport.subscribe({"fuzz/b": lambda payload: neighbours.receive("b", payload)}, fresh=True)
    transport.connect()
    payloads = list(fuzzed(contract, THROUGH_A_BROKER, seed=2))
    with RawClient(each_broker.port, "fuzzer") as client:
        client.subscribe("fuzz/echo")
        for start in range(0, len(payloads), 50):
            some = payloads[start : start + 50]
            client.publish("fuzz/b", *some)
            client.publish("fuzz/echo", b"")  # goes no faster than the broker does
            assert client.payloads(1) == [b""]
    twin = Neighbours(contract, ["b"], 4, slot_s=SHORT_SLOT_S)
    twin.begin_episode(0)
    for payload in payloads:
        twin.receive("b", payload)
    _until_equal(neighbours, twin)
    assert transport.counters["handler_errors"] == 0
    assert transport.counters["connections"] == 1
    transport.close()


def _until_equal(neighbours: Neighbours, twin: Neighbours) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while (neighbours.received, neighbours.rejected()) != (twin.received, twin.rejected()):
        assert time.monotonic() < deadline_s, (neighbours.rejected(), twin.rejected())
        time.sleep(0.01)
