"""A decoder made from docs/protocol.md alone reads the page's examples and the vectors.

test_second_agreement.py holds it against the base station's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import second_decoder as second
import second_seal

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "protocol.md").read_text()
VECTORS = json.loads((ROOT / "docs" / "protocol" / "vectors.json").read_text())
SEALED = VECTORS["sealed"]
TOPIC = "networld/v1/{site}/{cell}/message"


def answer(read: Callable[[], Any]) -> Any:
    """What was read, or the reason why not."""
    try:
        return read()
    except second.Rejected as rejected:
        return str(rejected)


def about(case: dict[str, Any]) -> str:
    return str(case["about"])


# --- The worked examples of the page ---


def test_the_message_that_the_page_takes_apart() -> None:
    block = PAGE.split("## The message")[1].split("```text\n")[1].split("```")[0]
    payload = bytes.fromhex("".join(line.strip().split("  ")[0] for line in block.splitlines()))
    message = second.read_message(payload, bytes.fromhex("fa5d6a40"), 16)
    assert len(payload) == 37
    assert (message.epoch, message.slot) == (1_790_000_000, 70_000)
    assert message.values[:4] == [-1.0, -110 / 127, -93 / 127, -76 / 127]
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
