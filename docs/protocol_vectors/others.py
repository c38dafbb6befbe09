"""Logs, what a radio sends and takes, births, states and orders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np

from networld_runtime.contract import Contract
from networld_runtime.episode_log import EpisodeLog, encode_log
from networld_runtime.radio_codec import (
    ActionMessage,
    ObservationMessage,
    encode_action,
    encode_observation,
)
from protocol_vectors.contracts import EPOCH, LAST, SLOT, Case, Contracts, case

BIRTH = {
    "version": 1,
    "epoch": EPOCH,
    "site": "demo",
    "cell": "cell-0",
    "contract": "ab" * 32,
    "slot_s": 0.02,
}


def log(contract: Contract, couplings: int) -> tuple[bytes, Case]:
    """Return a log of three slots of a cell with two neighbours, and what it means."""
    slots, names = [SLOT, SLOT + 1, SLOT + 3], ("cell-1", "cell-2")
    observation = np.arange(3 * contract.observation_size, dtype=np.float32).reshape(3, -1) / 4 - 8
    coupling = np.arange(3 * 2 * couplings, dtype=np.float32).reshape(3, 2, couplings) / 8
    mask = np.ones((3, contract.mask_size), dtype=np.bool_)
    mask[1:, :1] = False
    told = EpisodeLog(EPOCH, 7, names, np.array(slots), observation, coupling, mask)
    decoded = {
        "epoch": EPOCH,
        "episode": 7,
        "neighbours": list(names),
        "slots": slots,
        "observations": observation.tolist(),
        "couplings": coupling.tolist(),
        "masks": mask.astype(int).tolist(),
    }
    return encode_log(told, contract), decoded


def logs(contracts: Contracts) -> Iterator[Case]:
    """Yield logs with what they mean, or why a receiver rejects them."""
    for name in ("power", "sched", "sleep"):
        payload, decoded = log(*contracts[name])
        yield case("three slots of a cell with two neighbours", name, payload, decoded=decoded)
    contract = contracts["sched"][0]
    fields = msgpack.unpackb(log(*contracts["sched"])[0])
    not_finite, large = (np.array([value], dtype="<f4").tobytes() for value in (np.nan, 2e18))

    def changed(**values: Any) -> bytes:
        places = (
            "version",
            "contract",
            "epoch",
            "episode",
            "names",
            "slots",
            "seen",
            "couplings",
            "masks",
        )
        return bytes(
            msgpack.packb([values.get(key, one) for key, one in zip(places, fields, strict=True)])
        )

    seen, couplings, masks = fields[6:]
    impossible = bytes(contract.mask_size) + masks[contract.mask_size :]
    for about, payload, reason in (
        ("nothing", b"", "size"),
        ("version 1", changed(version=1), "version"),
        ("eight entries", msgpack.packb(fields[:8]), "malformed"),
        ("another contract", changed(contract=b"abcd"), "contract"),
        ("epoch 2^32", changed(epoch=LAST + 1), "range"),
        ("episode nil", changed(episode=None), "malformed"),
        ("names as text", changed(names="cell-1,cell-2"), "malformed"),
        ("a name that is none", changed(names=b"cell-1,Cell"), "malformed"),
        ("a name twice", changed(names=b"cell-1,cell-1"), "range"),
        ("seven neighbours", changed(names=b"a,b,c,d,e,f,g"), "range"),
        ("no slot", changed(slots=b"", seen=b"", couplings=b"", masks=b""), "range"),
        ("slots that do not rise", changed(slots=fields[5][4:8] * 3), "range"),
        ("a slot of 3 bytes", changed(slots=fields[5][:-1]), "malformed"),
        ("observations of another length", changed(seen=seen[:-4]), "malformed"),
        ("an observation that is not finite", changed(seen=seen[:-4] + not_finite), "not_finite"),
        ("an observation beyond 1e18", changed(seen=seen[:-4] + large), "range"),
        ("a coupling below 0", changed(couplings=couplings[:-1] + b"\xbf"), "range"),
        (
            "couplings of one neighbour",
            changed(couplings=couplings[: len(couplings) // 2]),
            "malformed",
        ),
        ("a mask of 2", changed(masks=b"\x02" + masks[1:]), "range"),
        (
            "a slot in which nothing was possible",
            changed(masks=impossible),
            "range",
        ),
    ):
        yield case(about, "sched", payload, reason=reason)


def observations(contracts: Contracts) -> Iterator[Case]:
    """Yield observations of a cell with two neighbours, as in `logs`."""
    for name in ("power", "sched", "sleep"):
        contract, couplings = contracts[name]
        values = np.arange(contract.observation_size, dtype=np.float32) / 4
        mask = np.ones(contract.mask_size, dtype=np.bool_) if contract.mask_size else None
        coupling = np.ones((2, couplings), dtype=np.float32) / 2
        for about, utility, told in (
            ("all", -0.5, coupling),
            ("no utility, no couplings", None, None),
        ):
            message = ObservationMessage(7, SLOT, values, utility, 0.02, mask, told)
            decoded = {
                "episode": 7,
                "slot": SLOT,
                "values": values.tolist(),
                "utility": utility,
                "answer_s": 0.02,
                "mask": None if mask is None else mask.astype(int).tolist(),
                "couplings": None if told is None else told.tolist(),
            }
            yield case(about, name, encode_observation(message, contract), decoded=decoded)
    contract, couplings = contracts["sched"]
    values = np.zeros(contract.observation_size, dtype=np.float32)
    mask, coupling = np.ones(9, dtype=np.bool_), np.ones((2, couplings), dtype=np.float32)
    first = ObservationMessage(7, SLOT, values, 1.0, 0.02, mask, coupling)
    fields = msgpack.unpackb(encode_observation(first, contract))

    def changed(place: int, value: object) -> bytes:
        return bytes(msgpack.packb([*fields[:place], value, *fields[place + 1 :]]))

    unknown = np.array([np.nan, np.inf, -2e18, 1e18], dtype="<f4").tobytes() + fields[4][16:]
    decoded = {
        "episode": 7,
        "slot": SLOT,
        "values": values.tolist(),
        "utility": 1.0,
        "answer_s": 1,
        "mask": [1] * 9,
        "couplings": [[1.0]] * 2,
    }
    yield case("a number as an integer", "sched", changed(6, 1), decoded=decoded)
    known = [None, None, None, float(np.float32(1e18)), *values[4:].tolist()]
    decoded = {**decoded, "values": known, "answer_s": 0.02}
    yield case("values that are unknown", "sched", changed(4, unknown), decoded=decoded)
    for about, payload, reason in (
        ("version 2", changed(0, 2), "version"),
        ("eight entries", msgpack.packb(fields[:8]), "malformed"),
        ("another contract", changed(1, b"abcd"), "contract"),
        ("episode -1", changed(2, -1), "range"),
        ("slot 1.0", changed(3, 1.0), "malformed"),
        ("values of another length", changed(4, fields[4][4:]), "malformed"),
        ("utility infinite", changed(5, float("inf")), "not_finite"),
        ("utility beyond 1e18", changed(5, 2e18), "range"),
        ("utility true", changed(5, True), "malformed"),
        ("answer_s 0", changed(6, 0), "range"),
        ("answer_s NaN", changed(6, float("nan")), "not_finite"),
        ("answer_s nil", changed(6, None), "malformed"),
        ("answer_s 3601", changed(6, 3601), "range"),
        ("mask nil", changed(7, None), "malformed"),
        ("mask of 8", changed(7, b"\x01" * 8), "malformed"),
        ("mask of 2", changed(7, b"\x02" * 9), "range"),
        ("mask that forbids the safe action", changed(7, b"\x01" * 8 + b"\x00"), "range"),
        ("couplings of another length", changed(8, fields[8][4:]), "malformed"),
        ("a coupling that is not finite", changed(8, unknown[:4] + fields[8][4:]), "not_finite"),
        ("a coupling beyond 1e18", changed(8, np.array([2e18, 0], dtype="<f4").tobytes()), "range"),
    ):  # fmt: skip
        yield case(about, "sched", payload, reason=reason)


def actions(contracts: Contracts) -> Iterator[Case]:
    """Yield actions, with what they mean or why a radio rejects them."""
    for name, action in (
        ("power", [-12.5]),
        ("power", [-40.0]),
        ("sched", [8.0]),
        ("sleep", [2.0, -6.0]),
    ):
        message = ActionMessage(7, SLOT, np.array(action, dtype=np.float32))
        decoded = {"episode": 7, "slot": SLOT, "action": action}
        yield case(
            "within its bounds", name, encode_action(message, contracts[name][0]), decoded=decoded
        )
    tag = contracts["sleep"][0].digest()[:4]
    yield case(
        "as integers",
        "sleep",
        msgpack.packb([3, tag, 7, SLOT, 1, 6]),
        decoded={"episode": 7, "slot": SLOT, "action": [1.0, 6.0]},
    )
    for about, action, reason in (
        ("one component", [1.0], "malformed"),
        ("three components", [1.0, 0.0, 0.0], "malformed"),
        ("a choice that is none", [3.0, 0.0], "range"),
        ("a choice in between", [0.5, 0.0], "range"),
        ("above its bound", [0.0, 6.1], "range"),
        ("not finite", [0.0, float("nan")], "not_finite"),
        ("nil", [0.0, None], "malformed"),
        ("true", [True, 0.0], "malformed"),
    ):
        yield case(about, "sleep", msgpack.packb([3, tag, 7, SLOT, *action]), reason=reason)


def told(about: str, data: Any, reason: str | None = None) -> Case:
    """Return a JSON payload and what a receiver makes of it."""
    text = data if isinstance(data, str) else json.dumps(data)
    return {
        "about": about,
        "payload": text,
        **({"decoded": data} if reason is None else {"reason": reason}),
    }


def births() -> list[Case]:
    """Return births on the topic of `cell-0` of the site `demo`."""
    placed = {**BIRTH, "position_m": [1.5, -250]}
    return [
        told("no position", BIRTH),
        told("with a position and a key that nobody knows", {**placed, "colour": "red"}),
        told("position null", {**BIRTH, "position_m": None}),
        told("without site and cell", {key: BIRTH[key] for key in BIRTH if key not in {"site", "cell"}}),
        told("nothing", "", "size"),
        told("4,097 bytes", json.dumps({**BIRTH, "software": ""})[:-2] + "x" * 4000 + '"}', "size"),
        told("no JSON", "{", "malformed"),
        told("no object", [], "malformed"),
        told("NaN", '{"version": 1, "epoch": 1, "contract": "ab", "slot_s": NaN}', "malformed"),
        told("version 2", {**BIRTH, "version": 2}, "version"),
        told("no version", {key: BIRTH[key] for key in BIRTH if key != "version"}, "version"),
        told("of another cell", {**BIRTH, "cell": "cell-1"}, "name"),
        told("of another site", {**BIRTH, "site": "other"}, "name"),
        told("no contract", {key: BIRTH[key] for key in BIRTH if key != "contract"}, "malformed"),
        told("slot_s a text", {**BIRTH, "slot_s": "0.02"}, "malformed"),
        told("slot_s beyond float32", {**BIRTH, "slot_s": 1e39}, "malformed"),
        told("epoch 1.0", {**BIRTH, "epoch": 1.0}, "malformed"),
        told("epoch 2^32", {**BIRTH, "epoch": 2**32}, "range"),
        told("position of one number", {**BIRTH, "position_m": [1]}, "malformed"),
        told("position too far away", {**BIRTH, "position_m": [1e8, 0]}, "range"),
        told("position true", {**BIRTH, "position_m": [True, 0]}, "malformed"),
    ]  # fmt: skip


def states() -> list[Case]:
    """Return states."""
    return [
        told("online", {"state": "online", "epoch": EPOCH}),
        told("a goodbye", {"state": "offline", "epoch": 0}),
        told("a last will", {"state": "lost", "epoch": LAST}),
        told("a key that nobody knows", {"state": "lost", "epoch": 1, "why": "?"}),
        told("257 bytes", '{"state": "lost", "epoch": 1}' + " " * 228, "size"),
        told("another word", {"state": "asleep", "epoch": 1}, "malformed"),
        told("no epoch", {"state": "lost"}, "malformed"),
        told("epoch true", {"state": "lost", "epoch": True}, "malformed"),
        told("epoch -1", {"state": "lost", "epoch": -1}, "range"),
    ]


def orders() -> list[Case]:
    """Return orders."""
    names = ("adapt", "base", "collect", "report", "revert", "stop")
    return [
        *(told(name, {"command": name}) for name in names),
        told("collect no more", {"command": "collect", "on": False, "id": "7"}),
        told("an id of 64 characters", {"command": "stop", "id": "x" * 64}),
        told("id null", {"command": "stop", "id": None}),
        told("513 bytes", '{"command": "stop"}' + " " * 494, "size"),
        told("nothing", "", "malformed"),
        told("no object", "[]", "malformed"),
        told("another key", {"command": "stop", "when": 1}, "malformed"),
        told("no command", {"id": "7"}, "unknown"),
        told("another command", {"command": "sleep"}, "unknown"),
        told("an id of 65 characters", {"command": "stop", "id": "x" * 65}, "malformed"),
        told("id a number", {"command": "stop", "id": 7}, "malformed"),
        told("on a number", {"command": "collect", "on": 1}, "malformed"),
    ]
