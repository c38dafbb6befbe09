"""docs/protocol/vectors.json: what it says of each payload is what the base station makes of it."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pytest

from networld_runtime.bundle import load_bundle
from networld_runtime.commands import parse_command
from networld_runtime.contract import Contract
from networld_runtime.episode_log import decode_log
from networld_runtime.errors import MessageError
from networld_runtime.log_book import LogBook
from networld_runtime.mesh.birth import read_birth, read_state
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.identity_seal import IdentitySeal, pair_secret
from networld_runtime.mesh.message import decode
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.radio_codec import decode_action, decode_observation
from networld_runtime.store.signature import public_key

ROOT = Path(__file__).parents[3]
VECTORS = json.loads((ROOT / "docs" / "protocol" / "vectors.json").read_text())
SEALED, SIGNED = VECTORS["sealed"], VECTORS["signed"]
_Read = TypeVar("_Read")


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


def _script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "docs")
    path = ROOT / "docs" / "update_protocol.py"
    specification = importlib.util.spec_from_file_location("update_protocol", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_file_is_what_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "protocol" / "vectors.json").read_text()
    assert _script(monkeypatch).vectors_text() == text, "run python docs/update_protocol.py"


def _read(case: dict[str, Any], read: Callable[[], _Read]) -> tuple[_Read, dict[str, Any]] | None:
    """Return what was read and what was to be read; None if it was rejected as it had to be."""
    if "reason" not in case:
        return read(), case["decoded"]
    with pytest.raises(MessageError) as caught:
        read()
    assert caught.value.reason == case["reason"]
    return None


def _same(found: npt.NDArray[Any] | None, expected: Any) -> bool:
    """Return whether an array is what JSON says, where null is what is unknown."""
    if found is None or expected is None:
        return found is None and expected is None
    wanted = np.array(expected, dtype=np.float64).reshape(found.shape)
    return np.array_equal(found.astype(np.float64), wanted, equal_nan=True)


@pytest.mark.parametrize("case", VECTORS["messages"], ids=_id)
def test_messages(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    payload, contract = bytes.fromhex(case["payload"]), contracts[case["contract"]]
    read = _read(case, lambda: decode(payload, contract))
    if read is None:
        return
    message, expected = read
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
    known = {} if case["known_epoch"] is None else {"b": (case["known_epoch"], -1)}
    neighbours = Neighbours(
        contracts[case["contract"]], ["b"], 2, clock=lambda: 0.0, last_heard=known
    )
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


@pytest.mark.parametrize("case", VECTORS["logs"], ids=_id)
def test_logs(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    payload, contract = bytes.fromhex(case["payload"]), contracts[case["contract"]]
    couplings = VECTORS["contracts"][case["contract"]]["couplings"]
    read = _read(case, lambda: decode_log(payload, contract, couplings))
    if read is None:
        return
    log, expected = read
    assert (log.epoch, log.episode) == (expected["epoch"], expected["episode"])
    assert list(log.neighbours) == expected["neighbours"]
    assert log.slots.tolist() == expected["slots"]
    assert _same(log.observation, expected["observations"])
    assert _same(log.coupling, expected["couplings"])
    assert _same(log.mask, expected["masks"])


@pytest.mark.parametrize("case", VECTORS["observations"], ids=_id)
def test_observations(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    payload, contract = bytes.fromhex(case["payload"]), contracts[case["contract"]]
    couplings = VECTORS["contracts"][case["contract"]]["couplings"]
    read = _read(case, lambda: decode_observation(payload, contract, (2, couplings)))
    if read is None:
        return
    message, expected = read
    assert (message.episode, message.slot) == (expected["episode"], expected["slot"])
    assert (message.utility, message.answer_s) == (expected["utility"], expected["answer_s"])
    assert _same(message.values, expected["values"])
    assert _same(message.mask, expected["mask"])
    assert _same(message.coupling, expected["couplings"])


@pytest.mark.parametrize("case", VECTORS["actions"], ids=_id)
def test_actions(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    payload, contract = bytes.fromhex(case["payload"]), contracts[case["contract"]]
    read = _read(case, lambda: decode_action(payload, contract))
    if read is None:
        return
    message, expected = read
    assert (message.episode, message.slot) == (expected["episode"], expected["slot"])
    assert message.action.tolist() == expected["action"]


@pytest.mark.parametrize("case", VECTORS["births"], ids=_id)
def test_births(case: dict[str, Any]) -> None:
    read = _read(case, lambda: read_birth(case["payload"].encode(), "demo", "cell-0"))
    if read is None:
        return
    birth, expected = read
    assert birth.cell == "cell-0"
    for key in ("epoch", "contract", "slot_s"):
        assert getattr(birth, key) == expected[key]
    position_m = expected.get("position_m")
    assert birth.position_m == (None if position_m is None else tuple(position_m))


@pytest.mark.parametrize("case", VECTORS["states"], ids=_id)
def test_states(case: dict[str, Any]) -> None:
    read = _read(case, lambda: read_state(case["payload"].encode()))
    if read is not None:
        state, expected = read
        assert (state.state, state.epoch) == (expected["state"], expected["epoch"])


@pytest.mark.parametrize("case", VECTORS["orders"], ids=_id)
def test_orders(case: dict[str, Any]) -> None:
    read = _read(case, lambda: parse_command(case["payload"].encode()))
    if read is not None:
        order, expected = read
        assert (order.name, order.identifier) == (expected["command"], expected.get("id"))
        assert order.on is expected.get("on", True)


@pytest.mark.parametrize("case", SIGNED["logs"], ids=_id)
def test_signed_logs(case: dict[str, Any], contracts: dict[str, Contract]) -> None:
    seal, payload = _seal(case["receiver"]), bytes.fromhex(case["payload"])
    couplings = VECTORS["contracts"]["power"]["couplings"]
    book = LogBook(contracts["power"], couplings, [case["sender"]], 100, seal)
    book.receive(case["sender"], payload)
    rejected = book.rejected()[case["sender"]]
    assert len(book.logs()[case["sender"]]) == ("message" in case)
    assert rejected == ({} if "message" in case else {case["reason"]: 1})
    if "message" in case:
        assert seal.open_log(case["sender"], payload).hex() == case["message"]
        own = _seal(case["sender"]).sign_log(bytes.fromhex(case["message"]))
        assert own == payload


@pytest.mark.parametrize("case", SIGNED["births"], ids=_id)
def test_signed_births(case: dict[str, Any]) -> None:
    seal, payload = _seal(case["receiver"]), case["payload"].encode()
    if "message" in case:
        assert seal.open_birth(case["sender"], payload).decode() == case["message"]
        return
    with pytest.raises(MessageError) as caught:
        seal.open_birth(case["sender"], payload)
    assert caught.value.reason == case["reason"]
