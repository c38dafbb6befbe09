"""A decoder made from docs/protocol.md alone says of every message what the base station says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import msgpack
import numpy as np
import second_decoder as second
import second_seal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from message_mutants import SIZES, payloads

from networld_runtime.contract import Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import IdentitySeal
from networld_runtime.mesh.message import MeanFieldMessage, decode, encode
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.store.signature import public_key

TOPIC = "networld/v1/test/b/message"
PROPERTY = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def answer(read: Callable[[], Any]) -> Any:
    """What was read, or the reason why not."""
    try:
        return read()
    except second.Rejected as rejected:
        return str(rejected)
    except MessageError as error:
        return error.reason


def both(payload: bytes, contract: Contract) -> tuple[Any, Any]:
    """What the two make of a payload, as plain values."""
    tag, size = contract.digest()[:4], contract.message_size
    mine = answer(lambda: second.read_message(payload, tag, size))
    theirs = answer(lambda: decode(payload, contract))
    if isinstance(mine, second.Message):
        utility = mine.utility(contract.reward_low, contract.reward_high)
        told = None if utility is None else round(utility, 9)
        mine = (mine.epoch, mine.slot, np.array(mine.values, dtype=np.float32).tolist(), told)
    if isinstance(theirs, MeanFieldMessage):
        told = None if theirs.utility is None else round(theirs.utility, 9)
        theirs = (theirs.epoch, theirs.slot, theirs.values.tolist(), told)
    return mine, theirs


def holds_nothing(entry: Any) -> bool:
    """Return whether an empty text, map or extension is among the entries."""
    if isinstance(entry, list):
        return any(map(holds_nothing, entry))
    return entry in ("", {}) or (isinstance(entry, msgpack.ExtType) and not entry.data)


def check_agreement(payload: bytes, contract: Contract) -> None:
    mine, theirs = both(payload, contract)
    if mine != theirs:
        # The base station takes an empty text, map or extension for an entry of a wrong type,
        # which may be looked at later than the version or the contract; both reject it.
        assert mine == "malformed"
        assert isinstance(theirs, str)
        assert holds_nothing(msgpack.unpackb(payload, strict_map_key=False))


@PROPERTY
@given(st.integers(0, 2**32 - 1))
def test_both_say_the_same_of_mutants(contract: Contract, seed: int) -> None:
    for payload, sized in payloads(seed, contract, 100):
        check_agreement(payload, sized)


@PROPERTY
@given(st.sampled_from((b"", b"\x95", b"\x95\x02\xc4\x04", b"\x92\x03")), st.binary(max_size=520))
def test_both_say_the_same_of_any_bytes(
    contract: Contract, beginning: bytes, others: bytes
) -> None:
    check_agreement(beginning + others, contract)


def test_mutants_are_rejected_for_every_reason_and_some_are_good(contract: Contract) -> None:
    found = Counter(
        theirs if isinstance(theirs, str) else "good"
        for theirs in (both(*one)[1] for one in payloads(1, contract, 2000))
    )
    assert found.keys() == {"good", "size", "malformed", "version", "contract", "range"}
    assert min(found.values()) >= 10
    assert found["good"] > 200


QUANTA = {8: st.integers(-127, 127), 4: st.integers(-7, 7)}
UINT32 = st.integers(0, 2**32 - 1) | st.sampled_from((0, 127, 128, 255, 256, 65535, 65536))


@PROPERTY
@given(st.data(), st.sampled_from(SIZES), UINT32, UINT32, st.none() | QUANTA[8])
def test_each_reads_what_the_other_writes(
    contract: Contract,
    data: st.DataObject,
    size: int,
    epoch: int,
    slot: int,
    utility: int | None,
) -> None:
    sized = replace(contract, latent_size=size, message_size=size)
    tag, bits = sized.digest()[:4], data.draw(st.sampled_from((8, 4) if size >= 4 else (8,)))
    quanta = data.draw(st.lists(QUANTA[bits], min_size=size, max_size=size))
    message = second.Message(epoch, slot, tuple(quanta), utility, bits)
    payload = second.write_message(message, tag)
    read = decode(payload, sized)
    mine, theirs = both(payload, sized)
    assert mine == theirs
    assert read.values.tolist() == np.array(message.values, dtype=np.float32).tolist()
    assert encode(read, sized, bits) == payload
    assert second.read_message(payload, tag, size) == message


STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 12), st.none() | st.integers(0, 12)), max_size=30
)


@PROPERTY
@given(STEPS, st.integers(-1, 2))
def test_both_take_the_same_messages_of_a_sender(
    contract: Contract, steps: list[tuple[int, int, int | None]], known_epoch: int
) -> None:
    known = {} if known_epoch < 0 else {"b": (known_epoch, -1)}
    neighbours = Neighbours(contract, ["b"], 2, clock=lambda: 0.0, last_heard=known)
    sender, own_slot, expected = second.Sender(known_epoch), None, Counter[str]()
    values = np.zeros(contract.message_size, dtype=np.float32)
    for epoch, hundreds, now in steps:
        if now is not None:
            own_slot = now * 100
            neighbours.mean_field(own_slot)
        payload = encode(MeanFieldMessage(epoch, hundreds * 100 + 1, values), contract)
        neighbours.receive("b", payload)
        message = second.read_message(payload, contract.digest()[:4], contract.message_size)
        expected[answer(partial(sender.take, message, own_slot)) or "taken"] += 1
    found = Counter(neighbours.rejected()["b"])
    found["taken"] = neighbours.received
    assert +found == +expected


@PROPERTY
@given(
    st.binary(max_size=60), st.lists(st.tuples(st.integers(0, 30), st.integers(0, 255))), st.data()
)
def test_both_open_the_same_seals(
    message: bytes, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    private = {name: name.encode() * 32 for name in "abc"}
    public = {name: public_key(key) for name, key in private.items()}
    seals = {
        name: IdentitySeal("test", Identity(name, private[name], public), lambda: 0.0)
        for name in "ab"
    }
    secrets = {
        name: second_seal.pair_secret(private["b"], public["b"], public[name]) for name in "ca"
    }
    payload = bytearray(second_seal.write_sealed(message, TOPIC, secrets))
    assert seals["b"].close(message, list("ca")) == payload
    for at, byte in changes:
        payload[min(at, len(payload) - 1)] = byte
    sealed = bytes(payload)[: data.draw(st.none() | st.integers(0, len(payload)))]
    opened = answer(lambda: second_seal.open_sealed(sealed, secrets["a"], TOPIC, "a"))
    assert opened == answer(lambda: seals["a"].open("b", sealed))
