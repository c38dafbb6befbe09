"""docs/protocol.md: its tables of topics, sizes, versions and reasons are what the code does."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import msgpack
import numpy as np
import pytest
from site_keys import SiteKeys
from told_by_cell import SpiedTransport, live_through

from networld_runtime import commands, episode_log, radio_codec
from networld_runtime.agent import WAITING_COMMANDS
from networld_runtime.bundle import NEIGHBOURS
from networld_runtime.contract import Contract
from networld_runtime.episode_log import LARGEST_LOG_BYTES, LARGEST_LOGS
from networld_runtime.mesh import (
    authentication,
    back_off,
    birth,
    discovery,
    identity_seal,
    message,
    mqtt_connection,
    neighbours,
    outbox,
)
from networld_runtime.mesh.authentication import LARGEST_TAGS
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.positions import LARGEST_M
from networld_runtime.mesh.topics import NAME_PATTERN, CellTopics
from networld_runtime.store.signature import SIGNATURE_BYTES
from networld_runtime.watch.watch import STATUS_S

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "protocol.md").read_text()
WORDS = " ".join(PAGE.split())
VECTORS = json.loads((DOCS / "protocol" / "vectors.json").read_text())
FRAMES_BYTES = 14 + 20 + 32
"""Ethernet, IPv4, and TCP with timestamps."""
MQTT_BYTES = 2 + 2 + 1
"""Of a short publication in MQTT 5: fixed header, length of the topic, length of no properties."""
READER_BYTES = 65_536
"""What `networld mesh` and the demonstration read of statuses and reports."""


def table(first_head: str) -> list[dict[str, str]]:
    """Return the rows of the page's first table whose first column has this head, by the heads of columns."""
    lines = PAGE.splitlines()
    start = next(
        place
        for place, line in enumerate(lines)
        if line.startswith(f"| {first_head} |") and lines[place + 1].startswith("|---")
    )
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([part.strip() for part in line.strip("|").split("|")])
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


@pytest.fixture(scope="module")
def cell(contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> SpiedTransport:
    return live_through(contract, tmp_path_factory.mktemp("cell"))


def test_topics_are_those_that_a_cell_uses(cell: SpiedTransport) -> None:
    rows = {
        (row["leaf"].strip("`"), row["QoS"], {"yes": True, "no": False}[row["retained"]])
        for row in table("leaf")
    }
    assert rows == {(one.leaf, str(int(one.reliable)), one.retain) for one in cell.told}
    leaves = {name for name, kind in vars(CellTopics).items() if isinstance(kind, property)}
    assert {leaf for leaf, _, _ in rows} == leaves
    assert "`networld/v1/{site}/{cell}/{leaf}`" in PAGE
    assert CellTopics("{site}", "{cell}").message == "networld/v1/{site}/{cell}/message"
    assert NAME_PATTERN.pattern == "[a-z0-9][a-z0-9-]{0,31}"  # in words on the page


def test_largest_payloads_are_those_of_the_code() -> None:
    header, number = radio_codec.HEADER_BYTES, radio_codec.NUMBER_BYTES
    assert {row["leaf"].strip("`"): row["largest, bytes"] for row in table("leaf")} == {
        "message": f"{message.LARGEST_PAYLOAD_BYTES}; sealed {identity_seal.LARGEST_SEALED_BYTES}",
        "log": f"{LARGEST_LOG_BYTES:,}; signed {LARGEST_LOG_BYTES + SIGNATURE_BYTES:,}",
        "state": f"{birth.LARGEST_STATE_BYTES}",
        "birth": f"{birth.LARGEST_BIRTH_BYTES:,}; signed {identity_seal.LARGEST_SIGNED_BIRTH_BYTES:,}",
        "status": f"{READER_BYTES:,}",
        "command": f"{commands.LARGEST_COMMAND_BYTES}",
        "report": f"{READER_BYTES:,}",
        "observation": f"{header} + 4 D + A + 4 n Q",
        "action": f"{header} + {number} C",
    }


def test_what_a_cell_subscribes_to_is_never_what_was_retained(cell: SpiedTransport) -> None:
    fresh = {topic.rpartition("/")[2] for topic, (_, is_fresh) in cell.heard.items() if is_fresh}
    assert fresh == {"message", "log", "command", "observation"}
    assert "retained on `message`, `log`, `command` or `observation`" in WORDS


def test_what_a_message_costs_is_what_it_costs(contract: Contract) -> None:
    """The longest there are: large epochs and slots, with utility."""
    told = MeanFieldMessage(2**32 - 1, 2**32 - 1, np.zeros(16, dtype=np.float32), 0.0)
    eight, four = (encode(told, contract, bits) for bits in (8, 4))
    names = [f"cell-{number}" for number in range(6)]
    sealed = SiteKeys.of(["a", *names]).seal("a").close(eight, names)
    topic = CellTopics("site", "cell-12").message
    assert f"`{topic}`" in PAGE
    for row, payload in zip(
        table("message of 16 values and utility"), (eight, four, sealed), strict=True
    ):
        _, *parts, together = row.values()
        costs = [len(payload), len(topic), MQTT_BYTES, FRAMES_BYTES]
        assert parts == [str(cost) for cost in costs]
        assert together == f"{sum(costs)} bytes"


def test_the_lengths_of_a_body_are_those_of_the_table(contract: Contract) -> None:
    assert [row["length of the body"] for row in table("length of the body")] == [
        "n",
        "n + 1",
        "n / 2, rounded up",
        "n / 2, rounded up, + 1",
    ]
    for size in range(1, 25):
        one = replace(contract, message_size=size)
        for bits in (8, 4):
            expected = -(-size // 2) if bits == 4 and size >= message.SMALLEST_HALVED else size
            for utility in (None, 1.0):
                told = MeanFieldMessage(0, 0, np.zeros(size, dtype=np.float32), utility)
                body = msgpack.unpackb(encode(told, one, bits))[4]
                assert len(body) == expected + (utility is not None)


def test_the_message_of_the_page_is_in_the_vectors() -> None:
    """Byte by byte: the head of the example is that of a message of the file."""
    example = re.search(r"```text\n95  .*?```", PAGE, re.DOTALL)
    assert example is not None
    lines = [line.split("  ")[0].replace(" ", "") for line in example[0].splitlines()[1:-1]]
    head = "".join(line for line in lines if re.fullmatch("[0-9a-f]+", line))
    assert head == "9502c404fa5d6a40ce6ab13b80ce00011170c411"
    assert any(case["payload"].startswith(head) for case in VECTORS["messages"])


def reasons(text: str) -> list[str]:
    return re.findall("`([a-z_]+)`", text)


def test_reasons_are_those_of_the_vectors() -> None:
    """Each table has every reason that a case of the file has, and none that the code has not."""
    tables = {
        "reason of a rejection": ("messages", {"flood", "stale", "ahead"}),
        "reason of a rejection, in this order": ("sealed", {"too_many"}),
    }
    for head, (kind, others) in tables.items():
        found = {one for row in table(head) for one in reasons(row[head])}
        cases = VECTORS["sealed"]["received"] if kind == "sealed" else VECTORS[kind]
        assert found == {case["reason"] for case in cases if "reason" in case} | others


@pytest.mark.parametrize(
    "words",
    [
        f"| version | {message.VERSION} | of this layout |",
        f"| version | {radio_codec.VERSION} | of this layout, the same for both payloads |",
        f"| `version` | {birth.BIRTH_VERSION} | of this object |",
        f"more than {neighbours.LARGEST_LEAD_SLOTS:,} above the own one",
        f"at most {neighbours.BURST_MESSAGES} at once are decoded",
        f"k, number of tags, 1 to {LARGEST_TAGS}",
        f"a chance of {LARGEST_TAGS} in 2^{8 * authentication.TAG_BYTES}",
        f"looks at {identity_seal.BEARABLE_FORGERIES} forged messages",
        f'person "{identity_seal.PAIR_DOMAIN.decode()}"',
        f'person "{identity_seal.TAG_DOMAIN.decode()}"',
        f"more than {identity_seal.LARGEST_SEALED_BYTES} bytes",
        f"the {SIGNATURE_BYTES} bytes of the signature",
        f"more than {discovery.LARGEST_SITE:,} cells",
        f"at most {LARGEST_M:,.0f} in size",
        f"A birth, at most {birth.LARGEST_BIRTH_BYTES:,} bytes",
        f"A state, at most {birth.LARGEST_STATE_BYTES} bytes",
        f"at most {commands.LARGEST_COMMAND_BYTES} bytes with the keys",
        f"at most {commands.LONGEST_ID} characters",
        f"At most {WAITING_COMMANDS} orders wait",
        f"each of its newest episodes, {LARGEST_LOGS} at most",
        f"at most {LARGEST_LOG_BYTES // 1024} KiB",
        f"with commas between them; {NEIGHBOURS} at most",
        f"above 0 to {radio_codec.LONGEST_ANSWER_S:g} |",
        f"the cell, every {STATUS_S:g} s",
        f"at most {outbox.QUEUED_RELIABLE} in all",
        f"from {back_off.SHORTEST_S:g} s to a ceiling, which doubles from {back_off.FIRST_S:g} s to "
        f"{back_off.LONGEST_S:g} s",
        f"a connection that lived {back_off.STEADY_S:g} s",
        f"the ceiling is then {back_off.LONGEST_SUSPECT_S:g} s",
    ],
)
def test_a_number_of_the_page_is_that_of_the_code(words: str) -> None:
    assert words in WORDS


def test_versions_and_limits_in_words() -> None:
    assert episode_log.VERSION == message.VERSION == 2  # both tables of the page say 2
    assert WORDS.count("| version | 2 | of this layout |") == 2
    assert mqtt_connection.LARGEST_PACKET_BYTES == 1 << 20
    assert "A packet of more than 1 MiB ends the connection" in WORDS
    assert back_off.SUSPECT_AFTER == 5
    assert "ends five connections in a row" in WORDS
    assert neighbours.FLOOD_FACTOR == 2  # by the clock and by the own slots each
    assert "at most four a slot in the long run" in WORDS
    assert discovery.POLL_S == 0.5
    assert "twice a second" in WORDS


def test_orders_are_those_of_the_table() -> None:
    assert {row["`command`"].strip("`") for row in table("`command`")} == set(commands.NAMES)


def test_every_entry_of_the_vectors_is_explained() -> None:
    told = [name for row in table("entry") for name in re.findall("`([a-z]+)`", row["entry"])]
    assert told == list(VECTORS)
