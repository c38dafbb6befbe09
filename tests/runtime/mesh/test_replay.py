"""What a cell heard is played to it again, and it comes to the same."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from small_cell import EPOCH, FormulaPlanner, NoRadio, small_config

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.mesh.recorder import Recorder
from networld_runtime.mesh.recording import RecordedMessage, Recording
from networld_runtime.mesh.replay import Pace, Publication, RecordingTransport, ReplayTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport, Transport
from networld_runtime.planner import Decision
from networld_runtime.radio import Observation
from networld_runtime.realtime import monotonic_s

SLOTS = 12


@dataclass
class NotingPlanner(FormulaPlanner):
    """Notes every mean field that it is given."""

    fields: list[FloatArray] = field(default_factory=list)

    def plan(
        self,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = math.inf,
    ) -> Decision:
        self.fields.append(mean_field.copy())
        return super().plan(latent, mean_field, mask, deadline_s)


def agent_at(transport: Transport, contract: Contract, folder: Path) -> tuple[Agent, NotingPlanner]:
    """Return the cell `a` with slots of 10 s: what it hears within a test is never too old by the clock."""
    folder.mkdir()
    config = small_config(folder, "[timing]\nslot_s = 10.0\n")
    planner = NotingPlanner(contract)
    bundle = Bundle(folder, "stub", "ab" * 32, contract, 4, 7, 8, 1, {}, {})
    return Agent(config, bundle, planner, transport, NoRadio(), EPOCH), planner


def tick(agent: Agent, contract: Contract, slot: int) -> None:
    values = np.zeros(contract.observation_size, dtype=np.float32)
    now_s = monotonic_s()
    agent.tick(Observation(0, slot, values, 1.0, now_s, now_s + 60))


def payload_of(contract: Contract, slot: int, seed: int) -> bytes:
    values = np.random.default_rng(seed).uniform(-1, 1, contract.message_size)
    return encode(MeanFieldMessage(7, slot, values.astype(np.float32), 1.0), contract)


def test_an_agent_forms_the_same_mean_fields_from_a_recording(
    contract: Contract, tmp_path: Path
) -> None:
    """Messages come, are lost, late, doubled and damaged; then the same agent hears the recording."""
    bus = MemoryBus()
    file = tmp_path / "a.rec"
    with Recorder(file, "test") as recorder:
        live = RecordingTransport(MemoryTransport(bus), recorder)
        agent, planner = agent_at(live, contract, tmp_path / "live")
        live.connect()
        generator = np.random.default_rng(3)
        for slot in range(1, SLOTS + 1):
            for index, name in enumerate("bc"):
                topic = CellTopics("test", name).message
                payload = payload_of(contract, slot - 1, 100 * slot + index)
                fate = generator.choice(["sent", "sent", "lost", "twice", "damaged", "late"])
                if fate == "late":
                    payload = payload_of(contract, max(slot - 4, 0), 100 * slot + index)
                if fate == "damaged":
                    payload = payload[:-1]
                for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
                    bus.publish(topic, payload, retain=False)
            tick(agent, contract, slot)
    recorded = agent.counters()
    assert recorded["messages_received"] > SLOTS / 2
    assert {reason for one in recorded["messages_rejected"].values() for reason in one} == {
        "malformed",
        "stale",
    }
    assert len({one.tobytes() for one in planner.fields}) > SLOTS / 2

    recording = Recording(file)
    own = CellTopics("test", "a").message
    told = [one for one in recording.messages() if one.published and one.topic == own]
    assert len(told) == SLOTS
    transport = ReplayTransport(recording.messages())
    again, noted = agent_at(transport, contract, tmp_path / "replayed")
    transport.connect()
    for slot in range(1, SLOTS + 1):
        transport.play(
            until_s=told[slot - 1].time_s
        )  # its own message went out after these came in
        tick(again, contract, slot)
    assert [one.tobytes() for one in noted.fields] == [one.tobytes() for one in planner.fields]
    assert [one.payload for one in transport.published if one.topic == own] == [
        one.payload for one in told
    ]
    counters = again.counters()
    for key in ("messages_received", "messages_rejected", "message_bytes_received"):
        assert counters[key] == recorded[key]


def test_ages_by_the_clock_are_replayed_too(contract: Contract) -> None:
    """Neighbours that are given the time of the recording judge what is too old as in the recorded run."""
    topic = CellTopics("test", "b").message
    sent = [
        RecordedMessage(1.0, topic, payload_of(contract, 1, 1)),
        RecordedMessage(1.1, topic, payload_of(contract, 2, 2)),
        RecordedMessage(9.0, topic, payload_of(contract, 3, 3)),
    ]
    transport = ReplayTransport(sent)
    neighbours = Neighbours(contract, ["b"], 3, slot_s=1.0, clock=lambda: transport.now_s)
    transport.subscribe({topic: partial(neighbours.receive, "b")})
    transport.connect()
    assert transport.play(until_s=5.0) == 2
    heard_at = {}
    for now_s in (5.0, 5.2):
        transport.play(until_s=now_s)
        neighbours.mean_field(3)
        heard_at[now_s] = not neighbours.missing
    assert heard_at == {5.0: True, 5.2: False}  # 4 slots of 1 s after 1.1 s
    assert transport.play() == 1
    neighbours.mean_field(4)
    assert neighbours.missing == ()


def test_everything_is_recorded_once_and_in_order(tmp_path: Path) -> None:
    bus = MemoryBus(retained={"a/state": b"online"})
    heard: list[bytes] = []
    seen: list[str] = []
    with Recorder(tmp_path / "x.rec", "test") as recorder:
        transport = RecordingTransport(MemoryTransport(bus), recorder)
        transport.subscribe({"a/message": heard.append})
        transport.watch("a/#", lambda *values: seen.append(values[0]))
        transport.watch("+/state", lambda *values: seen.append(values[0]))
        transport.connect()
        assert transport.connected
        other = MemoryTransport(bus)
        other.connect()
        other.publish("a/message", b"1")
        other.publish("b/state", b"2")
        other.publish("b/other", b"nobody listens")
        assert transport.publish("c/message", b"3", retain=True)
        assert transport.counters["published"] == 1
        transport.close()
        assert not transport.publish("c/message", b"4")
    found = [
        (one.topic, one.payload, one.retained, one.published)
        for one in Recording(tmp_path / "x.rec").messages()
    ]
    assert found == [
        ("a/state", b"online", True, False),
        ("a/message", b"1", False, False),
        ("b/state", b"2", False, False),
        ("c/message", b"3", True, True),
        ("c/message", b"4", False, True),
    ]
    assert heard == [b"1"]
    assert sorted(seen) == ["a/message", "a/state", "a/state", "b/state"]


def test_a_recorder_does_not_stand_between_a_cell_and_a_real_broker(
    broker_port: int, tmp_path: Path
) -> None:
    heard: list[bytes] = []
    with Recorder(tmp_path / "x.rec", "test") as recorder:
        transport = RecordingTransport(MqttTransport(BrokerConfig(port=broker_port), "a"), recorder)
        transport.subscribe({"b/message": heard.append}, reliable=True)
        transport.connect()
        other = MqttTransport(BrokerConfig(port=broker_port), "b")
        other.connect()
        deadline_s = time.monotonic() + 10
        while not heard:
            assert time.monotonic() < deadline_s
            other.publish("b/message", b"1", reliable=True)
            time.sleep(0.02)
        transport.publish("a/message", b"2")
        other.close()
        transport.close()
    topics = {one.topic for one in Recording(tmp_path / "x.rec").messages()}
    assert topics == {"a/message", "b/message"}


def test_what_was_retained_is_dropped_where_only_the_fresh_is_wanted() -> None:
    transport = ReplayTransport(
        [
            RecordedMessage(0.0, "order", b"old", retained=True),
            RecordedMessage(0.1, "order", b"new"),
        ]
    )
    orders: list[bytes] = []
    seen: list[tuple[str, bytes, bool]] = []

    def fail(payload: bytes) -> None:
        orders.append(payload)
        raise RuntimeError

    transport.subscribe({"order": fail}, fresh=True)
    transport.watch("#", lambda *values: seen.append(values))
    assert not transport.publish("x", b"")
    assert transport.play() == 0  # not connected
    transport.connect()
    assert transport.play() == 2
    assert orders == [b"new"]
    assert seen == [("order", b"old", True), ("order", b"new", False)]
    assert transport.publish("x", b"1", reliable=True)
    assert transport.published == [Publication("x", b"1", True, False)]
    assert transport.counters == {
        "connections": 1,
        "published": 1,
        "unsent": 1,
        "retained": 1,
        "handler_errors": 1,
    }


def test_pace_waits_as_long_as_the_recording_says() -> None:
    now_s = [50.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 9))
        now_s[0] += seconds

    sent = [RecordedMessage(time_s, "t", b"") for time_s in (1.0, 1.0, 3.0)]
    transport = ReplayTransport(sent, Pace(2.0, lambda: now_s[0], sleep))
    times: list[float] = []
    transport.watch("t", lambda *_: times.append(transport.now_s))
    transport.connect()
    assert transport.play(until_s=2.0) == 2
    assert transport.now_s == 2.0
    now_s[0] += 10  # the receiver was slow: what is late is played at once
    assert transport.play() == 1
    assert slept == [0.5, 0.5]
    assert times == [1.0, 1.0, 3.0]
