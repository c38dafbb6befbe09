"""docs/protocol/vectors.json: what it says of each payload is what the base station makes of it."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from networld_runtime.bundle import load_bundle
from networld_runtime.contract import Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import IdentitySeal, pair_secret
from networld_runtime.mesh.message import decode
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.store.signature import public_key

ROOT = Path(__file__).parents[3]
VECTORS = json.loads((ROOT / "docs" / "protocol" / "vectors.json").read_text())
SEALED = VECTORS["sealed"]


def _id(case: dict[str, Any]) -> str:
    return "-".join(str(case[key]) for key in ("contract", "sender", "about") if key in case)


@pytest.fixture(scope="module")
def contracts() -> dict[str, Contract]:
    found = {}
    for name, parameters in VECTORS["contracts"].items():
        task = name.partition("-")[0]
        shipped = load_bundle(ROOT / "bundles" / "networld", task).contract
        found[name] = replace(shipped, message_size=parameters["message_size"])
        assert found[name].digest().hex() == parameters["hash"]
    return found


def _script() -> ModuleType:
    path = ROOT / "docs" / "update_protocol.py"
    specification = importlib.util.spec_from_file_location("update_protocol", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_file_is_what_the_script_writes() -> None:
    text = (ROOT / "docs" / "protocol" / "vectors.json").read_text()
    assert _script().vectors_text() == text, "run python docs/update_protocol.py"


def _read_reason(payload: bytes, contract: Contract) -> str:
    with pytest.raises(MessageError) as caught:
        decode(payload, contract)
    return caught.value.reason


@pytest.mark.parametrize("case", VECTORS["messages"], ids=_id)
def test_messages(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    payload, contract = bytes.fromhex(case["payload"]), contracts[case["contract"]]
    if "reason" in case:
        assert _read_reason(payload, contract) == case["reason"]
        return
    message, expected = decode(payload, contract), case["decoded"]
    assert (message.epoch, message.slot) == (expected["epoch"], expected["slot"])
    steps = {8: 127, 4: 7}[expected["bits"]]
    exact = np.array(expected["counts"], dtype=np.float32) / np.float32(steps)
    assert (message.values == exact).all()
    assert message.values == pytest.approx(expected["values"], abs=1e-6)
    if expected["utility"] is None:
        assert message.utility is None
    else:
        assert message.utility == pytest.approx(expected["utility"], abs=1e-5)


@pytest.mark.parametrize("case", VECTORS["sequences"], ids=_id)
def test_sequences(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    known = {} if case["known_epoch"] is None else {"b": case["known_epoch"]}
    neighbours = Neighbours(contracts[case["contract"]], ["b"], 2, clock=lambda: 0.0, epochs=known)
    for step in case["steps"]:
        if step["own_slot"] is not None:
            neighbours.mean_field(step["own_slot"])
        received, rejected = neighbours.received, neighbours.rejected()["b"]
        neighbours.receive("b", bytes.fromhex(step["payload"]))
        if step["verdict"] == "taken":
            assert neighbours.received == received + 1
            assert neighbours.rejected()["b"] == rejected
        else:
            count = rejected.get(step["verdict"], 0) + 1
            assert neighbours.rejected()["b"] == {**rejected, step["verdict"]: count}
            assert neighbours.received == received


def _seal(name: str) -> IdentitySeal:
    keys = {cell: bytes.fromhex(pair["public"]) for cell, pair in SEALED["keys"].items()}
    private = bytes.fromhex(SEALED["keys"][name]["private"])
    assert public_key(private) == keys.pop(name)
    return IdentitySeal(SEALED["site"], Identity(name, private, keys))


def test_the_sealed_message_is_what_its_sender_sends() -> None:
    sent = SEALED["sent"]
    private = bytes.fromhex(SEALED["keys"][sent["sender"]]["private"])
    for receiver, secret in sent["secrets"].items():
        public = bytes.fromhex(SEALED["keys"][receiver]["public"])
        assert pair_secret(private, public).hex() == secret
    closed = _seal(sent["sender"]).close(bytes.fromhex(sent["message"]), sent["receivers"])
    assert closed.hex() == sent["sealed"]


@pytest.mark.parametrize("case", SEALED["received"], ids=_id)
def test_sealed_messages(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    seal, payload = _seal(case["receiver"]), bytes.fromhex(case["payload"])
    neighbours = Neighbours(contracts["power"], [case["sender"]], 2, clock=lambda: 0.0, seal=seal)
    neighbours.receive(case["sender"], payload)
    rejected = neighbours.rejected()[case["sender"]]
    if "reason" in case:
        assert rejected == {case["reason"]: 1}
    else:
        assert rejected == {}
        assert seal.open(case["sender"], payload).hex() == case["message"]
