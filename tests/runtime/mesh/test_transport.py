"""Transports: the in-process bus is deterministic; MQTT survives brokers that come and go."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError, ConfigError
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import matches
from networld_runtime.mesh.transport import LastWill, MemoryBus, MemoryTransport


def _until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def _connected(port: int, name: str, will: LastWill | None = None) -> MqttTransport:
    transport = MqttTransport(BrokerConfig(port=port), name, will)
    transport.connect()
    return transport


def threads() -> set[str]:
    """Return the network's threads of this process."""
    return {one.name for one in threading.enumerate() if one.name.startswith("network")}


def lose(transport: MqttTransport) -> None:
    """End a connection as a network does that drops it."""
    connection = transport._link.connection
    assert connection is not None
    with socket.socket(fileno=os.dup(connection._socket.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)


def test_bus_delivers_in_order_and_keeps_what_is_retained() -> None:
    bus = MemoryBus()
    heard: list[bytes] = []
    first, second = MemoryTransport(bus), MemoryTransport(bus)
    first.subscribe({"x": heard.append})
    first.connect()
    second.connect()
    assert second.publish("x", b"1")
    assert second.publish("x", b"2", retain=True)
    assert second.publish("y", b"3")
    late: list[bytes] = []
    second.subscribe({"x": late.append})
    assert (heard, late) == ([b"1", b"2"], [b"2"])


def test_fresh_subscription_drops_what_was_retained() -> None:
    bus = MemoryBus()
    sender, receiver = MemoryTransport(bus), MemoryTransport(bus)
    sender.connect()
    sender.publish("order", b"old", retain=True)
    heard: list[bytes] = []
    receiver.subscribe({"order": heard.append}, fresh=True)
    receiver.connect()
    sender.publish("order", b"new")
    assert heard == [b"new"]
    assert receiver.counters["retained"] == 1


def test_bus_delivers_answers_after_the_message_that_caused_them() -> None:
    bus = MemoryBus()
    order: list[str] = []
    one, two = MemoryTransport(bus), MemoryTransport(bus)

    def answer(payload: bytes) -> None:
        del payload
        two.publish("answer", b"")
        order.append("asked")

    two.subscribe({"ask": answer})
    one.subscribe({"answer": lambda _: order.append("answered")})
    for member in (one, two):
        member.connect()
    one.publish("ask", b"")
    assert order == ["asked", "answered"]


def test_bus_counts_failing_handlers_and_publishes_wills() -> None:
    bus = MemoryBus()
    member = MemoryTransport(bus, LastWill("state", b"lost"))

    def fail(payload: bytes) -> None:
        raise RuntimeError(payload)

    member.subscribe({"x": fail})
    assert not member.publish("x", b"")
    member.connect()
    member.publish("x", b"")
    assert member.counters["handler_errors"] == 1
    assert member.counters["unsent"] == 1
    member.lose()
    assert bus.retained == {"state": b"lost"}


def test_no_broker_names_the_address(free_port: int) -> None:
    transport = MqttTransport(BrokerConfig(port=free_port, connect_timeout_s=0.3), "a")
    begin = time.monotonic()
    with pytest.raises(BrokerError, match=rf"127\.0\.0\.1:{free_port}.*\[broker\]") as caught:
        transport.connect()
    assert caught.value.exit_code == 5
    assert time.monotonic() - begin < 3


def test_name_that_does_not_resolve_is_a_broker_error() -> None:
    broker = BrokerConfig(host="no-such-host.invalid", connect_timeout_s=0.3)
    with pytest.raises(BrokerError, match=r"no-such-host\.invalid:1883"):
        MqttTransport(broker, "a").connect()


def test_listener_that_never_answers_is_a_broker_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        transport = MqttTransport(BrokerConfig(port=port, connect_timeout_s=0.5), "a")
        with pytest.raises(BrokerError, match="does not answer as an MQTT broker"):
            transport.connect()


def test_refusal_is_a_broker_error_that_hints_at_the_password(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("swordfish\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)
        port = server.getsockname()[1]
        broker = BrokerConfig(port=port, username="cell", password_file=password_file)
        transport = MqttTransport(broker, "a")
        received: list[bytes] = []

        def refuse() -> None:
            for _ in range(2):  # to a greeting in MQTT 5, and to one in 3.1.1 that understands it
                peer, _ = server.accept()
                received.append(peer.recv(1024))
                peer.sendall(b"\x20\x02\x00\x05")  # CONNACK, not authorised
                peer.close()

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(BrokerError, match=r"refused.*password_file") as caught:
            transport.connect()
        thread.join()
    assert received[0].endswith(b"swordfish")
    assert "swordfish" not in str(caught.value) + repr(broker)


def test_missing_password_file_is_a_config_error(tmp_path: Path) -> None:
    broker = BrokerConfig(username="cell", password_file=tmp_path / "none")
    with pytest.raises(ConfigError, match="password cannot be read"):
        MqttTransport(broker, "a")


def test_not_connected_publishes_are_counted(free_port: int) -> None:
    transport = MqttTransport(BrokerConfig(port=free_port), "a")
    assert not transport.publish("x", b"1")
    assert transport.counters == {"unsent": 1}
    transport.close()
    assert threads() == set()


def test_unsent_payload_is_superseded_not_queued(free_port: int) -> None:
    """A broker that takes no bytes: the queue must not grow."""
    with socket.create_server(("127.0.0.1", free_port)) as server:
        peers: list[socket.socket] = []

        def accept() -> None:
            peer, _ = server.accept()
            peer.recv(1024)
            peer.sendall(b"\x20\x02\x00\x00")
            peers.append(peer)  # and never read again

        threading.Thread(target=accept, daemon=True).start()
        transport = MqttTransport(BrokerConfig(port=free_port, protocol="3.1.1"), "a")
        transport.connect()
        payload = bytes(1 << 25)  # more than the buffers of any kernel hold
        results = [transport.publish("x", payload) for _ in range(200)]
        assert transport.counters["skipped"] > 150
        assert results.count(True) == transport.counters["published"] < 50
        closing = threading.Thread(target=transport.close, daemon=True)
        closing.start()
        closing.join(8)  # less than the keep-alive of 10 s, which ends it at the latest
        assert not closing.is_alive()
        peers[0].close()


def test_messages_travel_and_a_failing_handler_changes_nothing(broker_port: int) -> None:
    heard: list[bytes] = []

    def handle(payload: bytes) -> None:
        if payload == b"bad":
            raise RuntimeError
        heard.append(payload)

    receiver = MqttTransport(BrokerConfig(port=broker_port), "receiver")
    receiver.subscribe({"t/message": handle})
    receiver.connect()
    sender = _connected(broker_port, "sender")
    _until(lambda: sender.publish("t/message", b"first") and heard)
    sender.publish("t/message", b"bad", reliable=True)
    sender.publish("t/message", b"last", reliable=True)
    _until(lambda: b"last" in heard)
    assert receiver.counters["handler_errors"] == 1
    late: list[bytes] = []
    sender.publish("t/state", b"online", reliable=True, retain=True)
    time.sleep(0.2)
    receiver.subscribe({"t/state": late.append}, reliable=True)
    _until(lambda: late == [b"online"])
    sender.publish("t/state", b"offline", reliable=True, retain=True)
    sender.close()
    _until(lambda: late[-1] == b"offline")
    receiver.close()
    assert not receiver.connected


def test_lost_connection_is_made_again_with_subscriptions_and_state(broker_port: int) -> None:
    heard: list[bytes] = []
    states: list[bytes] = []
    watcher = MqttTransport(BrokerConfig(port=broker_port), "watcher")
    watcher.subscribe({"t/state": states.append}, reliable=True)
    watcher.connect()
    cell = MqttTransport(BrokerConfig(port=broker_port), "cell", LastWill("t/state", b"lost"))
    cell.subscribe({"t/command": heard.append}, reliable=True)
    cell.connect()
    cell.publish("t/state", b"online", reliable=True, retain=True)
    _until(lambda: states == [b"online"])
    lose(cell)
    _until(lambda: cell.counters["connections"] == 2)
    _until(lambda: states[-2:] == [b"lost", b"online"])
    _until(lambda: watcher.publish("t/command", b"report") and heard)
    cell.close()
    watcher.close()


def test_a_loss_and_a_return_are_told_once_however_many_attempts_fail(
    free_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A broker that is lost, ends four connections before it answers, and then is back."""
    welcome = b"\x20\x02\x00\x00"
    script = [True, False, False, False, False, True]
    with socket.create_server(("127.0.0.1", free_port)) as server:
        peers: list[socket.socket] = []

        def serve() -> None:
            for welcomed in script:
                peer, _ = server.accept()
                peer.recv(1024)
                if welcomed:
                    peer.sendall(welcome)
                    peers.append(peer)
                else:
                    peer.close()

        threading.Thread(target=serve, daemon=True).start()
        transport = MqttTransport(BrokerConfig(port=free_port, protocol="3.1.1"), "a")
        transport.connect()
        peers[0].shutdown(socket.SHUT_RDWR)
        _until(lambda: transport.counters["connections"] == 2)
        transport.close()
    told = [message for message in caplog.messages if "broker" in message]
    assert [message.split(" (")[0].split(",")[0] for message in told] == [
        "lost the broker",
        "broker is back",
    ]


def test_watchers_see_all_that_their_filter_matches() -> None:
    bus = MemoryBus(retained={"a/old": b"0"})
    seen: list[tuple[str, bytes, bool]] = []
    watching, other = MemoryTransport(bus), MemoryTransport(bus)
    watching.watch("a/#", lambda *values: seen.append(values))
    watching.connect()
    other.connect()
    for topic in ("a/b", "b/b", "a/b/c"):
        other.publish(topic, b"1")
    assert seen == [("a/old", b"0", True), ("a/b", b"1", False), ("a/b/c", b"1", False)]


def test_watchers_see_what_a_broker_brings(broker_port: int) -> None:
    seen: list[tuple[str, bytes, bool]] = []
    other = _connected(broker_port, "other")
    other.publish("watched/x/old", b"0", reliable=True, retain=True)
    watching = MqttTransport(BrokerConfig(port=broker_port), "watching")
    watching.watch("watched/+/old", lambda *values: seen.append(values))
    watching.connect()
    _until(lambda: seen)
    other.publish("watched/y/new", b"1", reliable=True)
    other.publish("watched/y/old", b"2", reliable=True)
    _until(lambda: len(seen) == 2)
    assert seen == [("watched/x/old", b"0", True), ("watched/y/old", b"2", False)]
    watching.close()
    other.close()


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("+/b", "a/b", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a", True),
        ("a/#", "b", False),
        ("#", "a/b", True),
        ("a/b/+", "a/b", False),
    ],
)
def test_filters_match_as_brokers_match_them(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected
