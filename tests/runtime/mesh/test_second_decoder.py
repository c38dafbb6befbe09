"""A decoder made from docs/protocol.md alone says of every message what the base station says.

Where the two differed the page was made clearer, or one of them mended; see helpers/second_decoder.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
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

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
VECTORS = json.loads((ROOT / "docs" / "protocol" / "vectors.json").read_text())
SEALED = VECTORS["sealed"]
TOPIC = "networld/v1/{site}/{cell}/message"
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


def about(case: dict[str, Any]) -> str:
    return str(case["about"])


# --- The worked examples of the page ---


def test_the_message_that_the_page_takes_apart() -> None:
    block = PAGE.split("## The message")[1].split("```text\n")[1].split("```")[0]
    shown = "".join(line[:24].strip() for line in block.splitlines()).replace(" ", "")
    beginning, first, rest = re.split(r"(819fc0e0)\.\.\.", shown)
    payload = bytes.fromhex(beginning + first) + bytes(12) + bytes.fromhex(rest)
    message = second.read_message(payload, bytes.fromhex("fa5d6a40"), 16)
    assert (message.epoch, message.slot) == (1_790_000_000, 70_000)
    assert message.values[:4] == [-1.0, -97 / 127, -64 / 127, -32 / 127]
    assert message.utility(-1.1, 15.0) == pytest.approx(15.0)
    assert second.write_message(message, bytes.fromhex("fa5d6a40")) == payload


def test_the_sealed_message_of_the_page_from_the_private_keys_on() -> None:
    block = PAGE.split("### A sealed message")[1].split("```text\npublic keys")[1].split("```")[0]
    public = [bytes.fromhex(key) for key in re.findall(r"([0-9a-f]{64})  cell-", block)]
    private = [bytes([number]) * 32 for number in (1, 2, 3)]
    base = (9).to_bytes(32, "little")
    for seed, key in zip(private, public, strict=True):
        scalar = second_seal.montgomery_private(seed)
        assert second_seal.x25519(scalar, base) == second_seal.montgomery_public(key)
    secrets = {
        f"cell-{other}": second_seal.pair_secret(private[0], public[0], public[other])
        for other in (1, 2)
    }
    assert [secret.hex() for secret in secrets.values()] == re.findall(
        "([0-9a-f]{64})  with", block
    )
    assert secrets["cell-2"] == second_seal.pair_secret(private[2], public[2], public[0])
    topic, message, sealed = (
        block.split(what)[1].split()[0] for what in ("topic ", "message  ", "45 bytes ")
    )
    assert second_seal.write_sealed(bytes.fromhex(message), topic, secrets).hex() == sealed
    for cell, secret in secrets.items():
        opened = second_seal.open_sealed(bytes.fromhex(sealed), secret, topic, cell)
        assert opened.hex() == message


def test_x25519_is_that_of_rfc_7748() -> None:
    scalar = "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"
    point = "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"
    product = second_seal.x25519(bytes.fromhex(scalar), bytes.fromhex(point))
    assert product.hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


# --- The vectors ---


@pytest.mark.parametrize("case", VECTORS["messages"], ids=about)
def test_vectors_of_messages(case: dict[str, Any]) -> None:
    payload, contract = bytes.fromhex(case["payload"]), VECTORS["contracts"][case["contract"]]
    tag = bytes.fromhex(contract["hash"])[:4]
    found = answer(lambda: second.read_message(payload, tag, contract["message_size"]))
    if "reason" in case:
        assert found == case["reason"]
        return
    expected = case["decoded"]
    assert (found.epoch, found.slot) == (expected["epoch"], expected["slot"])
    assert found.bits == expected["bits"]
    assert list(found.quanta) == expected["counts"]
    assert found.values == pytest.approx(expected["values"], abs=1e-6)
    assert found.utility_quantum == expected["utility_count"]
    utility = found.utility(contract["reward_low"], contract["reward_high"])
    assert utility == pytest.approx(expected["utility"], abs=1e-5)
    written = second.write_message(found, tag)
    assert second.read_message(written, tag, contract["message_size"]) == found
    assert len(written) <= len(payload)
    assert written == payload or len(written) < len(payload)  # some are not in the shortest form


@pytest.mark.parametrize("case", VECTORS["sequences"], ids=about)
def test_vectors_of_sequences(case: dict[str, Any]) -> None:
    contract = VECTORS["contracts"][case["contract"]]
    tag = bytes.fromhex(contract["hash"])[:4]
    sender = second.Sender(-1 if case["known_epoch"] is None else case["known_epoch"])
    own_slot = None
    for step in case["steps"]:
        own_slot = step["own_slot"] if step["own_slot"] is not None else own_slot
        message = second.read_message(bytes.fromhex(step["payload"]), tag, contract["message_size"])
        verdict = answer(partial(sender.take, message, own_slot))
        assert (verdict or "taken") == step["verdict"]


def _secret(own: str, other: str) -> bytes | None:
    keys = SEALED["keys"]
    if other not in keys:
        return None
    own_private, own_public, other_public = (
        bytes.fromhex(keys[cell][half])
        for cell, half in ((own, "private"), (own, "public"), (other, "public"))
    )
    return second_seal.pair_secret(own_private, own_public, other_public)


@pytest.mark.parametrize("case", SEALED["received"], ids=about)
def test_vectors_of_sealed_messages(case: dict[str, Any]) -> None:
    tag = bytes.fromhex(VECTORS["contracts"]["power"]["hash"])[:4]
    topic = TOPIC.format(site=SEALED["site"], cell=case["sender"])
    secret = _secret(case["receiver"], case["sender"])
    payload, receiver = bytes.fromhex(case["payload"]), case["receiver"]
    opened = answer(lambda: second_seal.open_sealed(payload, secret, topic, receiver))
    if "reason" not in case:
        assert opened.hex() == case["message"]
    elif isinstance(opened, str):
        assert opened == case["reason"]
    else:
        assert answer(lambda: second.read_message(opened, tag, 16)) == case["reason"]


# --- Agreement with the base station ---


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
    """Return whether an empty text or map is among the entries."""
    return entry in ("", {}) or (isinstance(entry, list) and any(map(holds_nothing, entry)))


def check_agreement(payload: bytes, contract: Contract) -> None:
    mine, theirs = both(payload, contract)
    if mine != theirs:
        # The base station takes an empty text or map for an entry of a wrong type, which may be looked
        # at later than the version or the contract; both reject it.
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
    known = {} if known_epoch < 0 else {"b": known_epoch}
    neighbours = Neighbours(contract, ["b"], 2, clock=lambda: 0.0, epochs=known)
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
    topic = TOPIC.format(site="test", cell="b")
    secrets = {
        name: second_seal.pair_secret(private["b"], public["b"], public[name]) for name in "ca"
    }
    payload = bytearray(second_seal.write_sealed(message, topic, secrets))
    assert seals["b"].close(message, list("ca")) == payload
    for at, byte in changes:
        payload[min(at, len(payload) - 1)] = byte
    sealed = bytes(payload)[: data.draw(st.none() | st.integers(0, len(payload)))]
    opened = answer(lambda: second_seal.open_sealed(sealed, secrets["a"], topic, "a"))
    assert opened == answer(lambda: seals["a"].open("b", sealed))
