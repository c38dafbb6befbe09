"""Cells that find each other: whole agents, on a bus and through a real broker."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_cell import DIGEST, LISTED, FormulaPlanner, NoRadio, SmallCell, small_config

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config_reader import load_config
from networld_runtime.contract import Contract
from networld_runtime.mesh.birth import read_birth
from networld_runtime.mesh.message import decode, encode
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import LastWill, MemoryBus, MemoryTransport
from networld_runtime.radio import Observation
from networld_runtime.radio_codec import ObservationMessage, encode_observation
from networld_runtime.radio_kinds import make_radio
from networld_runtime.realtime import monotonic_s
from networld_runtime.report import state

PATIENCE_S = 30.0
DISCOVER = "[adaptation]\nenabled = false\n[mesh]\ndiscover = true\n"
HERE = "position_m = [3, 4]"


def test_a_cell_tells_where_it_is_and_follows_whom_it_finds(
    contract: Contract, tmp_path: Path
) -> None:
    small = SmallCell(contract, tmp_path, DISCOVER, HERE)
    agent, bus = small.agent, small.bus
    agent.start()
    birth = bus.retained[agent.topics.birth]
    assert read_birth(birth, "test", "a").position_m == (3, 4)
    theirs = {**json.loads(birth), "cell": "b", "position_m": [0, 0]}
    topics = CellTopics("test", "b")
    bus.publish(topics.birth, json.dumps(theirs).encode(), retain=True)
    bus.publish(topics.state, state("online", theirs["epoch"]), retain=True)
    agent.attend()
    for _ in range(3):
        small.go()
    found = agent.counters()
    assert found["neighbours_alive"] == {"b": True}
    assert found["neighbours_heard"] == 1
    assert found["message_valid_shares"] == {"b": 1}
    assert found["message_rates_per_s"]["b"] > 0
    assert found["slots_missing"] == {"b": 1}  # in the first slot of the episode
    assert found["discovery_rejected"] == {}


def test_the_radio_of_a_cell_that_discovers_may_send_any_couplings(
    contract: Contract, tmp_path: Path
) -> None:
    bundle = Bundle(tmp_path, "stub", DIGEST, contract, 4, 7, 8, 1, {}, {})
    for more, cell, accepted in ((DISCOVER, HERE, 1), ("", LISTED, 0)):
        bus = MemoryBus()
        transport = MemoryTransport(bus)
        radio = make_radio(small_config(tmp_path, more, cell), bundle, transport)
        transport.connect()
        values = np.zeros(contract.observation_size, dtype=np.float32)
        coupling = np.ones((5, 1), dtype=np.float32)  # of five neighbours, where the list has two
        message = ObservationMessage(0, 1, values, None, 1.0, None, coupling)
        payload = encode_observation(message, contract)
        bus.publish(CellTopics("test", "a").observation, payload, retain=False)
        assert radio.counters.get("received", 0) == accepted


def test_weights_and_bits_of_the_configuration_are_used(contract: Contract, tmp_path: Path) -> None:
    mesh = "[mesh]\nmessage_bits = 4\nage_weight = 0.5\nweights = { b = 0 }\n"
    small = SmallCell(contract, tmp_path, mesh)
    heard: list[bytes] = []
    small.transport.subscribe({small.agent.topics.message: heard.append})
    small.go()
    said = decode(heard[-1], contract)
    assert said.values[0] == pytest.approx(4 / 7)  # 0.5 in steps of a seventh
    assert len(heard[-1]) < len(encode(said, contract))
    assert small.agent.counters()["neighbours_heard"] == 0  # b speaks, but counts nothing
    assert small.agent._neighbours._age_weight == 0.5


@contextmanager
def _cell(
    contract: Contract, folder: Path, port: int, name: str, x_m: int
) -> Iterator[tuple[Agent, Callable[[int], None]]]:
    """Yield an agent that is connected to a broker, and what lets it go through a slot."""
    file = folder / f"{name}.toml"
    file.write_text(
        f"""
        cell = {{ site = "test", name = "{name}", task = "power", position_m = [{x_m}, 0] }}
        bundle = {{ path = "bundle" }}
        broker = {{ port = {port} }}
        state = {{ directory = "state-{name}" }}
        timing = {{ slot_s = 0.05 }}
        adaptation = {{ enabled = false }}
        mesh = {{ discover = true, most_neighbours = 2, silent_s = 0.5 }}
        """
    )
    config = load_config(file)
    will = LastWill(CellTopics("test", name).state, state("lost", 1))
    transport = MqttTransport(config.broker, name, will)
    bundle = Bundle(folder, "stub", DIGEST, contract, 4, 7, 8, 1, {}, {})
    agent = Agent(config, bundle, FormulaPlanner(contract), transport, NoRadio(), 1)
    transport.connect()
    agent.start()
    values = np.zeros(contract.observation_size, dtype=np.float32)

    def go(slot: int) -> None:
        now_s = monotonic_s()
        agent.tick(Observation(0, slot, values, 1.0, now_s, now_s + 60))
        agent.attend()

    try:
        yield agent, go
    finally:
        agent.finish()


def test_cells_find_each_other_through_a_broker(
    contract: Contract, tmp_path: Path, broker_port: int
) -> None:
    slot = 0

    def until(expected: dict[str, set[str]], speaking: str) -> None:
        """Let some cells go through slots until each of a few hears whom it should."""
        nonlocal slot
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            slot += 1
            for name in speaking:
                cells[name][1](slot)
            heard = {
                name: {other for other, alive in found.items() if alive}
                for name in expected
                for found in [cells[name][0].counters()["neighbours_alive"]]
            }
            if heard == expected:
                return
            assert time.monotonic() < deadline_s, heard
            time.sleep(0.05)

    with (
        _cell(contract, tmp_path, broker_port, "a", 0) as a,
        _cell(contract, tmp_path, broker_port, "b", 100) as b,
        _cell(contract, tmp_path, broker_port, "c", 200) as c,
    ):
        cells = {"a": a, "b": b, "c": c}
        until({"a": {"b", "c"}, "b": {"a", "c"}, "c": {"a", "b"}}, "abc")
        with _cell(contract, tmp_path, broker_port, "d", 150) as d:
            cells["d"] = d
            until({"b": {"a", "d"}, "d": {"b", "c"}}, "abcd")
            until({"a": {"b", "d"}}, "abcd")
            until({"a": {"c", "d"}}, "acd")  # b stands still, though its connection is there
            until({"a": {"b", "d"}}, "abcd")
        until({"a": {"b", "c"}, "b": {"a", "c"}}, "abc")  # d said that it goes
        assert a[0].counters()["transport"].get("handler_errors", 0) == 0
