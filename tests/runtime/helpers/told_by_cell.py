"""All that one real cell publishes and subscribes to, from its start over every order to its end."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from small_cell import FormulaPlanner, small_config

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.commands import NAMES
from networld_runtime.contract import Contract
from networld_runtime.mesh.authentication import Seal
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import Handler, LastWill, MemoryBus, MemoryTransport, Watcher
from networld_runtime.radio import MqttRadio
from networld_runtime.radio_codec import ObservationMessage, encode_observation
from networld_runtime.report import state
from networld_runtime.watch.watch import Watch

EPOCH = 1_790_000_000
DISCOVERING = "position_m = [0.0, 0.0]"
DISCOVERY = "[mesh]\ndiscover = true\n[adaptation]\nenabled = false\n"


@dataclass(frozen=True)
class Told:
    """A publication of the cell, or of its radio: what the transport was asked to do."""

    leaf: str
    payload: bytes
    reliable: bool
    retain: bool


class SpiedTransport(MemoryTransport):
    """Writes down what it is asked to do, and does it.

    Attributes:
        told: All publications, in order.
        heard: Whether each topic or filter was subscribed to as `reliable` and as `fresh`.
        bus: The broker; what it retains in the end.
    """

    def __init__(self, bus: MemoryBus, will: LastWill | None = None) -> None:
        super().__init__(bus, will)
        self.bus = bus
        self.told: list[Told] = []
        self.heard: dict[str, tuple[bool, bool]] = {}

    def publish(
        self, topic: str, payload: bytes, *, reliable: bool = False, retain: bool = False
    ) -> bool:
        self.told.append(Told(topic.rpartition("/")[2], payload, reliable, retain))
        return super().publish(topic, payload, reliable=reliable, retain=retain)

    def subscribe(
        self, handlers: Mapping[str, Handler], *, reliable: bool = False, fresh: bool = False
    ) -> None:
        self.heard |= dict.fromkeys(handlers, (reliable, fresh))
        super().subscribe(handlers, reliable=reliable, fresh=fresh)

    def watch(self, topic_filter: str, watcher: Watcher) -> None:
        self.heard[topic_filter] = (True, False)  # at quality 1, as `MqttTransport.watch` does
        super().watch(topic_filter, watcher)


def live_through(
    contract: Contract,
    folder: Path,
    more: str = "",
    cell: str = 'neighbours = ["b", "c"]',
    seal: Seal | None = None,
) -> SpiedTransport:
    """Let a cell start, go through slots, obey every order and end; its radio's words are told too."""
    config = small_config(folder, more, cell)
    config.state.directory.mkdir(exist_ok=True)
    bus = MemoryBus()
    topics = CellTopics("test", "a")
    transport = SpiedTransport(bus, LastWill(topics.state, state("lost", EPOCH)))
    couplings = (len(config.cell.neighbours), 1)
    bundle = Bundle(folder, "stub", "ab" * 32, contract, 4, 7, 8, 1, {}, {})
    radio = MqttRadio(transport, topics, contract, couplings)
    agent = Agent(config, bundle, FormulaPlanner(contract), transport, radio, EPOCH, seal=seal)
    watch = Watch(config, lambda: {"written": 1, "suppressed": 0, "dropped": 0})
    watch.attach(agent, transport, topics.status, contract.slot_s)
    child = [sys.executable, "-c", "print('{\"accepted\": false}')"]
    agent._keeper._command = lambda: child  # type: ignore[method-assign]
    transport.connect()
    agent.start()
    for slot in range(4):
        values = np.zeros(contract.observation_size, dtype=np.float32)
        coupling = np.ones(couplings, dtype=np.float32)
        message = ObservationMessage(slot // 2, slot, values, 1.0, 60.0, None, coupling)
        transport.publish(topics.observation, encode_observation(message, contract))
        observation = radio.observe(0)
        assert observation is not None
        agent.tick(observation)
    watch.round()
    orders = [{"command": name, "id": name} for name in NAMES if name != "stop"]
    for order in [*orders, {"command": "collect", "on": False}, {"command": "stop"}]:
        transport.publish(topics.command, json.dumps(order).encode(), reliable=True)
        answers = _reports(transport)
        deadline_s = time.monotonic() + 20
        while _reports(transport) == answers and time.monotonic() < deadline_s:
            agent.attend()
            time.sleep(0.01)
    watch.finish()
    agent.finish()
    transport.lose()
    return transport


def _reports(transport: SpiedTransport) -> int:
    return sum(one.leaf == "report" for one in transport.told)
