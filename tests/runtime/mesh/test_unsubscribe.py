"""Handlers can be taken away again, in the process and at a broker."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from networld_runtime.config import BrokerConfig
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport

PATIENCE_S = 20.0


def _until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.01)


def _more_connections(transport: MqttTransport, before: int) -> bool:
    return transport.counters["connections"] > before


def test_bus_delivers_nothing_to_who_turned_away() -> None:
    bus = MemoryBus()
    sender, receiver = MemoryTransport(bus), MemoryTransport(bus)
    heard: list[bytes] = []
    receiver.subscribe({"x": heard.append, "y": heard.append})
    for member in (sender, receiver):
        member.connect()
    receiver.unsubscribe(["x", "never"])
    for topic in ("x", "y"):
        sender.publish(topic, topic.encode())
    assert heard == [b"y"]
    receiver.subscribe({"x": heard.append})
    sender.publish("x", b"again")
    assert heard == [b"y", b"again"]


def test_a_broker_sends_no_more_of_a_topic_and_does_not_after_a_reconnection(
    broker_port: int,
) -> None:
    heard: list[bytes] = []
    sender, receiver = (
        MqttTransport(BrokerConfig(port=broker_port), name) for name in ("sender", "receiver")
    )
    for transport in (sender, receiver):
        transport.connect()
    try:
        receiver.subscribe({"x": heard.append, "y": heard.append})
        _until(lambda: sender.publish("y", b"there") and b"there" in heard)
        receiver.unsubscribe(["x"])
        for _ in range(2):
            heard.clear()
            sender.publish("x", b"gone", reliable=True)
            _until(lambda: sender.publish("y", b"last") and b"last" in heard)
            assert b"gone" not in heard
            before = receiver.counters["connections"]
            connection = receiver._link.connection
            assert connection is not None
            receiver._loop.call_soon(connection.cut, "by the test")
            _until(partial(_more_connections, receiver, before))
    finally:
        for transport in (sender, receiver):
            transport.close()
