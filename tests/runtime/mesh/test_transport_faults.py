"""A transport and real brokers that are killed, frozen, exchanged, or know its name already.

Each wait has a deadline: what the behaviour allows, with room for a computer that is busy with other things.
"""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from brokers import SHIPPED, Broker, plain_broker

from networld_runtime.config import BrokerConfig
from networld_runtime.episode_log import LARGEST_LOG_BYTES
from networld_runtime.mesh.broker_socket import open_socket
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.network_loop import NetworkLoop
from networld_runtime.mesh.outbox import MOST_TRIES, QUEUED_RELIABLE
from networld_runtime.mesh.transport import LastWill
from networld_runtime.store.signature import SIGNATURE_BYTES

RETURN_S = 20.0
"""After a broker's return; it is 2 s where nothing else runs."""


@dataclass(frozen=True)
class Place:
    """A broker, and how a cell speaks to it."""

    broker: Broker
    config: BrokerConfig

    def transport(
        self, name: str, will: LastWill | None = None, loop: NetworkLoop | None = None
    ) -> MqttTransport:
        return MqttTransport(self.config, name, will, loop)


@pytest.fixture(params=["mosquitto-5", "mosquitto-3.1.1", "amqtt-auto", "aedes-auto"])
def place(request: pytest.FixtureRequest, free_port: int, tmp_path: Path) -> Iterator[Place]:
    """Every broker that is installed here, in each version of MQTT that it speaks."""
    kind, _, version = request.param.partition("-")
    with plain_broker(kind, tmp_path, free_port) as broker:
        yield Place(broker, BrokerConfig(port=free_port, protocol=version, keep_alive_s=1))


@pytest.fixture
def mosquitto(free_port: int, tmp_path: Path) -> Iterator[Place]:
    with plain_broker("mosquitto", tmp_path, free_port) as broker:
        yield Place(broker, BrokerConfig(port=free_port, keep_alive_s=1))


@pytest.fixture
def shipped(free_port: int, tmp_path: Path) -> Iterator[Place]:
    """Mosquitto with the limit of a payload that the shipped configuration has."""
    lines = (SHIPPED / "loopback.conf").read_text().splitlines()
    limit = [line for line in lines if line.startswith("message_size_limit")]
    with plain_broker("mosquitto", tmp_path, free_port, ("allow_anonymous true", *limit)) as broker:
        yield Place(broker, BrokerConfig(port=free_port, protocol="5", keep_alive_s=1))


def until(condition: Callable[[], object], seconds: float = RETURN_S) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.01)


def told(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in message for message in caplog.messages)


def network_threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("network")}


def test_a_killed_broker_comes_back_and_everything_is_as_before(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Without persistence it has forgotten subscriptions and what was retained."""
    heard: list[bytes] = []
    cell = place.transport("cell", LastWill("t/state", b"lost"))
    cell.subscribe({"t/order": heard.append}, reliable=True)
    cell.connect()
    for state in (b"starting", b"online"):
        cell.publish("t/state", state, reliable=True, retain=True)
    for number in range(3):
        place.broker.kill()
        until(lambda: not cell.connected)
        assert not cell.publish("t/state", b"number %d" % number, reliable=True, retain=True)
        place.broker.start()
        until(lambda: cell.connected)
    states: list[bytes] = []
    other = place.transport("other")
    other.subscribe({"t/state": states.append}, reliable=True)
    other.connect()
    until(lambda: states)
    assert states == [b"number 2"]
    until(lambda: other.publish("t/order", b"go") and heard)
    assert told(caplog, "lost the broker") == told(caplog, "broker is back") == 3
    cell.close()
    other.close()


def test_a_frozen_broker_fills_no_memory_and_is_noticed(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Silence ends a connection after two keep-alives at the latest; paho tells of it twice."""
    transport = place.transport("a")
    transport.connect()
    payload = bytes(1 << 20)
    place.broker.freeze()
    outcomes = []
    for _ in range(1000):
        outcomes.append(transport.publish("t/large", payload))
        time.sleep(0.0005)
    reliable = [transport.publish("t/log", payload, reliable=True) for _ in range(100)]
    assert sum(outcomes) < 100
    assert sum(outcomes) + transport.counters["skipped"] == 1000
    assert sum(reliable) == QUEUED_RELIABLE
    until(lambda: not transport.connected, 2 * place.config.keep_alive_s + RETURN_S)
    assert not transport.publish("t/large", b"")
    place.broker.thaw()
    until(lambda: transport.connected)
    assert told(caplog, "lost the broker") == 1
    until(lambda: transport.publish("t/large", b"new"))
    transport.close()
    assert network_threads() == set()


def test_a_state_that_was_on_its_way_does_not_come_after_a_newer_one(place: Place) -> None:
    cell = place.transport("cell")
    cell.connect()
    place.broker.freeze()
    assert cell.publish("t/state", b"old", reliable=True, retain=True)
    until(lambda: not cell.connected)
    assert not cell.publish("t/state", b"new", reliable=True, retain=True)
    place.broker.kill()
    place.broker.start()
    until(lambda: cell.connected)
    until(lambda: cell.publish("t/end", b"", reliable=True))
    until(lambda: not cell._outbox.reliable)
    states: list[bytes] = []
    other = place.transport("other")
    other.subscribe({"t/state": states.append}, reliable=True)
    other.connect()
    until(lambda: states)
    assert states == [b"new"]
    cell.close()
    other.close()


def test_what_was_reliable_is_sent_later_but_no_more_than_the_queue_holds(place: Place) -> None:
    heard: list[bytes] = []
    with NetworkLoop() as loop:
        receiver = place.transport("receiver", loop=loop)
        receiver.subscribe({"t/log": heard.append}, reliable=True)
        receiver.connect()
        sender = place.transport("sender", loop=loop)
        sender.connect()
        place.broker.kill()
        until(lambda: not sender.connected and not receiver.connected)
        accepted = [sender.publish("t/log", b"%d" % number, reliable=True) for number in range(500)]
        assert sum(accepted) == QUEUED_RELIABLE
        place.broker.start()
        until(lambda: receiver.connected and sender.connected)
        until(lambda: not sender._outbox.reliable)
        until(lambda: sender.publish("t/log", b"last", reliable=True))
        receiver.publish("t/log", b"")
        until(lambda: not sender._outbox.reliable)
        # The sender may have been back before the receiver, and what nobody hears is gone.
        until(lambda: b"last" in heard)
        assert len(heard) <= QUEUED_RELIABLE + 2
        for transport in (sender, receiver):
            transport.close()


@pytest.mark.slow
@pytest.mark.parametrize("place", ["mosquitto-5", "mosquitto-3.1.1"], indirect=True)
def test_two_cells_of_one_name_are_told_and_leave_the_broker_in_peace(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    twins = [place.transport("twin") for _ in range(2)]
    for twin in twins:
        twin.connect()
    until(lambda: told(caplog, "does another client call itself twin?"), 60)
    until(lambda: all(twin._link.back_off.suspect for twin in twins), 60)
    until(lambda: told(caplog, "does another client call itself twin?") == 2, 60)
    before = sum(twin.counters["connections"] for twin in twins)
    lines = len(caplog.messages)
    time.sleep(5)
    assert sum(twin.counters["connections"] for twin in twins) - before < 12  # 7 in 6 s is paho's
    assert len(caplog.messages) <= lines + 2
    twins[0].close()
    until(lambda: twins[1].connected)
    twins[1].close()


def test_a_transport_closes_at_once_while_there_is_no_broker(place: Place) -> None:
    transport = place.transport("a")
    transport.connect()
    place.broker.kill()
    until(lambda: not transport.connected)
    time.sleep(0.5)  # in the middle of its attempts
    begin_s = time.monotonic()
    transport.close()
    assert time.monotonic() - begin_s < 5
    until(lambda: network_threads() == set())
    assert not transport.publish("t", b"")
    place.broker.start()
    time.sleep(1)
    assert transport.counters["connections"] == 1


def test_threads_may_publish_at_the_same_time(place: Place) -> None:
    heard: Counter[bytes] = Counter()
    receiver = place.transport("receiver")
    receiver.subscribe({"t/all": lambda payload: heard.update([payload])}, reliable=True)
    receiver.connect()
    until(lambda: receiver.publish("t/all", b"first", reliable=True) and heard)
    sender = place.transport("sender")
    sender.connect()
    heard.clear()

    def publish(thread: int) -> None:
        for number in range(100):
            while not sender.publish("t/all", b"%d %d" % (thread, number), reliable=True):
                time.sleep(0.001)
            sender.publish(f"t/{thread}", b"unreliable")

    publishers = [threading.Thread(target=publish, args=(index,)) for index in range(6)]
    for thread in publishers:
        thread.start()
    for thread in publishers:
        thread.join()
    until(lambda: len(heard) >= 600, 60)
    assert {payload for payload in heard if payload != b"first"} == {
        b"%d %d" % (thread, number) for thread in range(6) for number in range(100)
    }
    assert sender.counters["connections"] == 1
    sender.close()
    receiver.close()


def test_descriptors_beyond_those_of_select(place: Place) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1300:
        pytest.skip("this system allows too few open files (ulimit -n)")
    with ExitStack() as stack:
        for _ in range(1100):
            stack.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        heard: list[bytes] = []
        transport = place.transport("a")
        transport.subscribe({"t": heard.append})
        transport.connect()
        assert transport._link.connection is not None
        assert transport._link.connection._socket.fileno() >= 1024
        until(lambda: transport.publish("t", b"x") and heard)
        transport.close()


def test_nagle_s_algorithm_is_off(mosquitto: Place) -> None:
    opened = open_socket(mosquitto.config)
    with socket.socket(fileno=os.dup(opened.fileno())) as same:
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert not os.get_blocking(opened.fileno())
    opened.close()


@pytest.mark.slow
def test_a_process_of_127_cells_loses_the_broker_and_comes_back_without_a_herd(
    mosquitto: Place,
) -> None:
    count = 127
    heard: list[set[int]] = [set() for _ in range(count)]
    back_s: dict[int, float] = {}

    def hear(cell: int, payload: bytes) -> None:
        heard[cell].add(int(payload))
        if len(heard[cell]) == 6:
            back_s.setdefault(cell, time.monotonic())

    def exchange() -> None:
        """Let every cell tell its neighbours its number until each has heard all six."""
        back_s.clear()
        for one in heard:
            one.clear()
        deadline_s = time.monotonic() + 2 * RETURN_S
        while len(back_s) < count:
            assert time.monotonic() < deadline_s, "cells are missing"
            for cell, transport in enumerate(cells):
                transport.publish(f"t/{cell}", b"%d" % cell)
            time.sleep(0.05)

    with NetworkLoop() as loop:
        cells = [mosquitto.transport(f"cell-{index}", loop=loop) for index in range(count)]
        for index, cell in enumerate(cells):
            topics = [f"t/{(index + step) % count}" for step in (1, 2, 3, -1, -2, -3)]
            cell.subscribe(dict.fromkeys(topics, partial(hear, index)))
            cell.connect()
        exchange()
        assert network_threads() == {"network"}
        mosquitto.broker.kill()
        until(lambda: not any(cell.connected for cell in cells))
        time.sleep(4)  # by now all wait as long as they ever do
        mosquitto.broker.start()
        returned_s = time.monotonic()
        connected_s: dict[int, float] = {}
        while len(connected_s) < count:
            assert time.monotonic() < returned_s + RETURN_S
            for index, cell in enumerate(cells):
                if cell.connected:
                    connected_s.setdefault(index, time.monotonic() - returned_s)
            time.sleep(0.005)
        exchange()
        for cell in cells:
            cell.close()
    times = sorted(connected_s.values())
    print(f"back after {times[0]:.2f} to {times[-1]:.2f} s")
    assert times[-1] - times[0] > 0.5
    busiest = max(sum(begin <= other < begin + 0.1 for other in times) for begin in times)
    assert busiest < count / 2, "a herd"
    assert loop.counters["errors"] == 0


def test_a_dead_address_keeps_no_other_cell_of_the_process_waiting(mosquitto: Place) -> None:
    """A listener that takes no connection: whoever connects waits for its time to be over."""
    heard: list[bytes] = []
    with NetworkLoop() as loop, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        dead.listen(0)
        with ExitStack() as stack:
            for _ in range(2):  # the kernel takes one more than it was told to
                filling = stack.enter_context(socket.socket())
                filling.setblocking(False)
                filling.connect_ex(dead.getsockname())
            nowhere = BrokerConfig(port=dead.getsockname()[1], connect_timeout_s=3)
            lost = MqttTransport(nowhere, "lost", loop=loop)
            well = mosquitto.transport("well", loop=loop)
            well.subscribe({"t": heard.append})
            well.connect()
            failed: list[BaseException] = []

            def connect() -> None:
                try:
                    lost.connect()
                except Exception as error:
                    failed.append(error)

            connecting = threading.Thread(target=connect)
            connecting.start()
            number = 0
            while connecting.is_alive():
                well.publish("t", b"%d" % number)
                number += 1
                time.sleep(0.02)
            until(lambda: well.publish("t", b"last") and b"last" in heard)
            assert failed
            assert len(heard) > 0.8 * number
            well.close()


def test_a_broker_that_speaks_less_takes_the_place_of_another(
    mosquitto: Place, tmp_path: Path
) -> None:
    heard: list[bytes] = []
    transport = mosquitto.transport("a")
    transport.subscribe({"t": heard.append})
    transport.connect()
    assert transport.protocol == "5"
    mosquitto.broker.kill()
    with plain_broker("amqtt", tmp_path, mosquitto.broker.port):
        until(lambda: transport.publish("t", b"x") and heard, 2 * RETURN_S)
        assert transport.protocol == "3.1.1"
        transport.close()


def test_a_payload_that_the_broker_ends_connections_for_is_given_up(shipped: Place) -> None:
    """Mosquitto answers one above its limit in a way that ends the connection in MQTT 5."""
    heard: list[int] = []
    sender, reader = shipped.transport("sender"), shipped.transport("reader")
    reader.subscribe({"log": lambda payload: heard.append(len(payload))}, reliable=True)
    reader.connect()
    sender.connect()
    try:
        sender.publish("log", bytes(400_000), reliable=True)
        sender.publish("log", bytes(7), reliable=True)
        until(lambda: sender.counters["given_up"] == 1)
        until(lambda: 7 in heard)
        until(lambda: sender.connected)
        connections = sender.counters["connections"]
        assert connections <= MOST_TRIES + 1
        sender.publish("log", bytes(8), reliable=True)
        until(lambda: 8 in heard)
        assert sender.counters["connections"] == connections
    finally:
        sender.close()
        reader.close()


def test_a_retained_payload_that_the_broker_ends_connections_for_is_given_up(
    shipped: Place,
) -> None:
    sender = shipped.transport("sender")
    sender.publish("state", b"online", reliable=True, retain=True)
    sender.publish("status", bytes(400_000), reliable=True, retain=True)
    sender.connect()
    try:
        until(lambda: sender.counters["given_up"] == 1)
        until(lambda: sender.connected)
        connections = sender.counters["connections"]
        assert connections <= MOST_TRIES + 1
        until(lambda: not sender._outbox.reliable)
        assert sender.counters["connections"] == connections
    finally:
        sender.close()


def test_the_shipped_broker_takes_the_largest_signed_log(shipped: Place) -> None:
    heard: list[int] = []
    sender, reader = shipped.transport("sender"), shipped.transport("reader")
    reader.subscribe({"log": lambda payload: heard.append(len(payload))}, reliable=True)
    reader.connect()
    sender.connect()
    try:
        sender.publish("log", bytes(LARGEST_LOG_BYTES + SIGNATURE_BYTES), reliable=True)
        until(lambda: heard == [LARGEST_LOG_BYTES + SIGNATURE_BYTES])
        assert sender.counters["connections"] == 1
    finally:
        sender.close()
        reader.close()
