"""docs/protocol/asyncapi.yaml: valid, and what a real cell says and hears is what it says."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import pytest
import yaml
from asyncapi3.models.asyncapi import AsyncAPI3
from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError
from pydantic import ValidationError
from site_keys import SiteKeys
from told_by_cell import DISCOVERING, DISCOVERY, SpiedTransport, live_through

from networld_runtime import commands, episode_log, radio_codec
from networld_runtime.bundle import NEIGHBOURS, load_bundle
from networld_runtime.commands import parse_command
from networld_runtime.contract import LARGEST_ACTION, Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh import authentication, birth, identity_seal, message
from networld_runtime.mesh.topics import NAME_PATTERN, PROTOCOL_VERSION, CellTopics
from networld_runtime.store.signature import SIGNATURE_BYTES
from networld_runtime.watch import watch
from networld_training.demo.orders import LARGEST_REPORT_BYTES
from networld_training.mesh import told

ROOT = Path(__file__).parents[3]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "docs/protocol/asyncapi.yaml").read_text())
MESSAGES = DOCUMENT["components"]["messages"]
LEAVES = {name for name, kind in vars(CellTopics).items() if isinstance(kind, property)}
VECTORS = json.loads((ROOT / "docs/protocol/vectors.json").read_text())
CELL = CellTopics("{site}", "{cell}")


def resolve(document: Any, reference: str) -> Any:
    """Return what a reference of a document leads to; KeyError if nowhere."""
    start, *keys = reference.split("/")
    assert start == "#", reference
    for key in keys:
        document = document[key]
    return document


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


def check(document: dict[str, Any]) -> None:
    """Check a document by the objects of AsyncAPI 3.0, its references and its schemas.

    Raises:
        ValidationError: An object has a key that it may not have, or lacks one, or a value is wrong.
        KeyError: A reference leads nowhere.
        SchemaError: A schema is none.
    """
    AsyncAPI3.model_validate(document)
    for reference in references(document):
        resolve(document, reference)
    for one in document["components"]["messages"].values():
        if "payload" in one:
            Draft7Validator.check_schema(one["payload"]["schema"])


def test_the_document_is_asyncapi() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    check(DOCUMENT)


def _set(*path: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: resolve(document, "/".join(["#", *path])).update(changes)


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: resolve(document, "/".join(["#", *path[:-1]])).pop(path[-1])


@pytest.mark.parametrize(
    "spoil",
    [
        _set(asyncapi="2.6.0"),
        _set(chanels={}),
        _drop("info"),
        _drop("info", "title"),
        _drop("servers", "site", "host"),
        _drop("servers", "loopback", "protocol"),
        _set("servers", "site", port=8883),
        _set("channels", "birth", topic="x"),
        _set("channels", "birth", "messages", "birth", **{"$ref": "#/components/messages/none"}),
        _set("components", "parameters", "site", pattern="x"),
        _drop("operations", "sendLog", "action"),
        _drop("operations", "sendLog", "channel"),
        _set("operations", "sendLog", action="publish"),
        _set("operations", "sendLog", "channel", **{"$ref": "#/channels/logs"}),
        _set("operations", "sendLog", "bindings", "mqtt", qos=3),
        _set("operations", "sendLog", "bindings", "mqtt", retain="perhaps"),
        _set("operations", "sendLog", "bindings", "mqtt", quality=1),
        _set("components", "messages", "log", largest=1),
        _set("components", "messages", "state", "payload", "schema", type="thing"),
        _set("components", "messages", "state", "payload", "schema", required="state"),
    ],
)  # fmt: skip
def test_a_document_that_is_none_is_found_out(spoil: Callable[[dict[str, Any]], None]) -> None:
    document = copy.deepcopy(DOCUMENT)
    spoil(document)
    with pytest.raises((ValidationError, KeyError, SchemaError)):
        check(document)


def test_every_message_and_operation_is_used() -> None:
    used = set(references(DOCUMENT))
    parts = DOCUMENT["components"]
    for kind in parts:
        for name in parts[kind]:
            assert f"#/components/{kind}/{name}" in used
    for name in DOCUMENT["channels"]:
        assert f"#/channels/{name}" in set(references(DOCUMENT["operations"]))


# Topics


def test_topics_are_channels_and_channels_topics() -> None:
    assert {name: channel["address"] for name, channel in DOCUMENT["channels"].items()} == {
        leaf: getattr(CELL, leaf) for leaf in LEAVES
    }
    assert DOCUMENT["id"] == f"urn:networld:v{PROTOCOL_VERSION}"
    for one in DOCUMENT["channels"].values():
        assert list(one["parameters"]) == re.findall("{(.*?)}", one["address"])
    for one in DOCUMENT["components"]["parameters"].values():
        assert one["x-pattern"] == f"^{NAME_PATTERN.pattern}$"


@pytest.fixture(scope="module")
def contract() -> Contract:
    return load_bundle(ROOT / "bundles" / "networld", "power").contract


@pytest.fixture(scope="module")
def cell(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> SpiedTransport:
    return live_through(contract, tmp_path_factory.mktemp("cell"))


@pytest.fixture(scope="module")
def discovering(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> SpiedTransport:
    return live_through(contract, tmp_path_factory.mktemp("cell"), DISCOVERY, DISCOVERING)


@pytest.fixture(scope="module")
def signing(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> SpiedTransport:
    seal = SiteKeys.of(["a", "b", "c"]).seal("a")
    return live_through(contract, tmp_path_factory.mktemp("cell"), seal=seal)


def _operations(action: str) -> dict[str, dict[str, Any]]:
    return {
        one["channel"]["$ref"].rpartition("/")[2]: one["bindings"]["mqtt"]
        for one in DOCUMENT["operations"].values()
        if one["action"] == action
    }


def test_a_cell_publishes_as_the_document_says(cell: SpiedTransport) -> None:
    """By the radio and the operator come observations and orders, from the same transport here."""
    published = {(one.leaf, int(one.reliable), one.retain) for one in cell.told}
    others = {"observation", "command"}
    assert {leaf for leaf, _, _ in published} == LEAVES
    sent = {(leaf, one["qos"], one["retain"]) for leaf, one in _operations("send").items()}
    assert {one for one in published if one[0] not in others} == sent
    assert {name for name, one in DOCUMENT["channels"].items() if one["x-writer"] != "cell"} == (
        others
    )


def test_a_cell_subscribes_as_the_document_says(
    cell: SpiedTransport, discovering: SpiedTransport
) -> None:
    heard = {
        (topic.rpartition("/")[2], int(reliable))
        for topic, (reliable, _) in [*cell.heard.items(), *discovering.heard.items()]
    }
    assert heard == {(leaf, one["qos"]) for leaf, one in _operations("receive").items()}
    for topic, (_, fresh) in cell.heard.items():
        assert fresh, f"{topic}: what was retained is dropped, as the page says"
    assert {topic for topic in discovering.heard if "+" in topic} == {
        f"networld/v1/test/+/{leaf}" for leaf in ("birth", "state")
    }


# Payloads


def validator(name: str) -> Draft7Validator:
    return Draft7Validator(MESSAGES[name]["payload"]["schema"])


def shown(payload: bytes) -> Any:
    """Return JSON as it is, and a msgpack array with its byte strings in hexadecimal."""
    if payload[:1] == b"{":
        return json.loads(payload)
    return [one.hex() if isinstance(one, bytes) else one for one in msgpack.unpackb(payload)]


def test_all_that_a_cell_says_fits(cell: SpiedTransport, discovering: SpiedTransport) -> None:
    for one in [*cell.told, *discovering.told]:
        validator(one.leaf).validate(shown(one.payload))
        assert len(one.payload) <= MESSAGES[one.leaf].get("x-largest-bytes", 1000)
    will = cell.bus.retained[CellTopics("test", "a").state]
    assert json.loads(will)["state"] == "lost"
    validator("state").validate(json.loads(will))
    reports = [json.loads(one.payload) for one in cell.told if one.leaf == "report"]
    assert {one["report"] for one in reports} == set(commands.NAMES)
    assert any(not one["ok"] for one in reports)


def test_all_that_a_cell_signs_fits(signing: SpiedTransport) -> None:
    for one in signing.told:
        payload = one.payload
        if one.leaf == "message":
            payload = payload[1 + MESSAGES["sealedMessage"]["x-tag-bytes"] * payload[0] :]
        if one.leaf == "log":
            payload = payload[SIGNATURE_BYTES:]
        validator(one.leaf).validate(shown(payload))
    (born,) = {one.payload for one in signing.told if one.leaf == "birth"}
    assert "signature" in json.loads(born)


@pytest.mark.parametrize("case", VECTORS["messages"], ids=lambda case: case["about"])
def test_messages_of_the_vectors_fit_if_they_are_good(case: dict[str, Any]) -> None:
    if "decoded" in case:
        validator("message").validate(shown(bytes.fromhex(case["payload"])))


BIRTH = {"version": 1, "epoch": 7, "contract": "ab", "slot_s": 0.02, "position_m": [1, -2.5]}
STATE = {"state": "lost", "epoch": 7}
ORDER = {"command": "collect", "on": False, "id": "7"}
ODD: list[Any] = [
    None, True, "", "x", "collect", "é" * 64, "x" * 64, "x" * 65, "online", ["lost"], {}, {"x": 1},
    0, 1, 2, -1, 0.5, 2**32 - 1, 2**32, 1e300, 10**400,
    [], [1], [1, 2], [1, 2, 3], [1, True], [1, None], [1e7, -1e7], [1.1e7, 0],
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "good", "read", "keys"),
    [
        ("birth", BIRTH, partial(birth.read_birth, site="test", cell="b"), [*BIRTH, "task", "other"]),
        ("state", STATE, birth.read_state, [*STATE, "other"]),
        ("command", ORDER, parse_command, [*ORDER, "other"]),
    ],
)  # fmt: skip
def test_a_schema_takes_what_the_code_takes(
    name: str, good: dict[str, Any], read: Callable[[bytes], Any], keys: list[str]
) -> None:
    """Keys are left out and given odd values one by one, as far as a schema can say what is right."""
    changed = [good, *({**good, key: value} for key in keys for value in ODD)]
    changed += [{key: good[key] for key in good if key != missing} for missing in good]
    verdicts = set()
    for data in changed:
        try:
            read(json.dumps(data).encode())
            taken = True
        except MessageError as error:
            if error.reason == "size":
                continue  # a schema knows nothing of bytes
            taken = False
        assert validator(name).is_valid(data) == taken, data
        verdicts.add(taken)
    assert verdicts == {True, False}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("report", {"report": "rm"}),
        ("report", {"ok": 1}),
        ("report", {"ok": False}),
        ("report", {"problem": "none"}),
        ("report", {"id": 7}),
        ("report", {"epoch": -1}),
        ("report", {"counters": None}),
        ("status", {"version": 2}),
        ("status", {"phase": "asleep"}),
        ("status", {"ready": None}),
        ("status", {"obstacles": "none"}),
        ("status", {"slot": 2**32}),
        ("status", {"counters": []}),
    ],
)
def test_a_report_or_status_of_wrong_form_does_not_fit(
    name: str, changes: dict[str, Any], cell: SpiedTransport
) -> None:
    good = [json.loads(one.payload) for one in cell.told if one.leaf == name]
    (one, *_) = [data for data in good if name == "status" or data["report"] == "report"]
    assert validator(name).is_valid(one)
    assert not validator(name).is_valid({**one, **changes})


@pytest.mark.parametrize("name", ["report", "status"])
def test_what_a_report_or_status_needs_is_needed(name: str, cell: SpiedTransport) -> None:
    good = next(json.loads(one.payload) for one in cell.told if one.leaf == name)
    required = MESSAGES[name]["payload"]["schema"]["required"]
    assert required
    for key in required:
        assert not validator(name).is_valid({other: good[other] for other in good if other != key})


# Limits


def test_limits_are_those_of_the_code() -> None:
    largest = {name: one.get("x-largest-bytes") for name, one in MESSAGES.items()}
    assert largest == {
        "message": message.LARGEST_PAYLOAD_BYTES,
        "sealedMessage": identity_seal.LARGEST_SEALED_BYTES,
        "log": episode_log.LARGEST_LOG_BYTES,
        "signedLog": episode_log.LARGEST_LOG_BYTES + SIGNATURE_BYTES,
        "observation": None,
        "action": None,
        "state": birth.LARGEST_STATE_BYTES,
        "birth": birth.LARGEST_BIRTH_BYTES,
        "status": told.LARGEST_BYTES["status"],
        "command": commands.LARGEST_COMMAND_BYTES,
        "report": LARGEST_REPORT_BYTES,
    }
    assert MESSAGES["sealedMessage"]["x-largest-tags"] == authentication.LARGEST_TAGS
    assert MESSAGES["sealedMessage"]["x-tag-bytes"] == authentication.TAG_BYTES
    assert f"{identity_seal.LARGEST_SIGNED_BIRTH_BYTES:,} bytes" in MESSAGES["birth"]["description"]


def test_versions_and_ranges_are_those_of_the_code() -> None:
    versions = {
        "message": message.VERSION,
        "log": episode_log.VERSION,
        "observation": radio_codec.VERSION,
        "action": radio_codec.VERSION,
    }
    for name, version in versions.items():
        schema = MESSAGES[name]["payload"]["schema"]
        assert schema["items"][0] == {"title": "version", "const": version}
        for entry in schema["items"]:
            if entry["title"] in {"epoch", "slot", "episode"}:
                assert (entry["minimum"], entry["maximum"]) == (0, message.LARGEST_EPOCH)
    births = MESSAGES["birth"]["payload"]["schema"]["properties"]
    assert births["version"] == {"const": birth.BIRTH_VERSION}
    statuses = MESSAGES["status"]["payload"]["schema"]["properties"]
    assert statuses["version"] == {"const": watch.STATUS_VERSION}
    observation = {
        one["title"]: one for one in MESSAGES["observation"]["payload"]["schema"]["items"]
    }
    assert observation["utility"]["maximum"] == radio_codec.LARGEST_VALUE
    assert observation["answer_s"]["maximum"] == radio_codec.LONGEST_ANSWER_S
    action = MESSAGES["action"]["payload"]["schema"]
    assert (action["minItems"], action["maxItems"]) == (5, 4 + LARGEST_ACTION)
    logs = {one["title"]: one for one in MESSAGES["log"]["payload"]["schema"]["items"]}
    assert f"at most {NEIGHBOURS}" in logs["neighbours"]["description"]
    orders = MESSAGES["command"]["payload"]["schema"]["properties"]
    assert orders["command"]["enum"] == list(commands.NAMES)
    assert orders["id"]["maxLength"] == commands.LONGEST_ID
    assert f"Every {watch.STATUS_S:g} s" in DOCUMENT["operations"]["sendStatus"]["summary"]
