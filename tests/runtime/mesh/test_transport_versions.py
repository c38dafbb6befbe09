"""Versions of MQTT, what a broker denies, and brokers that speak nonsense."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from brokers import plain_broker

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError
from networld_runtime.mesh.mqtt_connection import LARGEST_PACKET_BYTES
from networld_runtime.mesh.mqtt_transport import MqttTransport

DEADLINE_S = 20.0
WELCOME = {4: b"\x20\x02\x00\x00", 5: b"\x20\x03\x00\x00\x00"}
DYNAMIC_SECURITY = "/usr/lib/*/mosquitto_dynamic_security.so"

Answer = Callable[[socket.socket, int], None]
"""Speaks to a client that greeted in a version."""


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.01)


@contextmanager
def broker_that(answer: Answer) -> Iterator[tuple[int, list[bytes]]]:
    """Answer every client in a way of one's own; yields the port and all greetings so far."""
    greetings: list[bytes] = []
    peers: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    peer, _ = server.accept()
                    peers.append(peer)
                    greeting = peer.recv(1024)
                    greetings.append(greeting)
                    answer(peer, greeting[8])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], greetings
        server.shutdown(socket.SHUT_RDWR)
        thread.join(DEADLINE_S)
    for peer in peers:
        peer.close()


def welcome(peer: socket.socket, version: int) -> None:
    peer.sendall(WELCOME[version])


@pytest.mark.parametrize(
    "refusal",
    [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b"", b"\x20\x02\x00\x05", b"HTTP/1.1 400"],
    ids=["as in 3.1.1", "as in 5", "closed", "not authorised, as in 3.1.1", "nonsense"],
)
def test_a_broker_that_refuses_version_5_is_greeted_in_3_1_1(refusal: bytes) -> None:
    def answer(peer: socket.socket, version: int) -> None:
        if version == 4:
            peer.sendall(WELCOME[4])
            return
        peer.sendall(refusal)
        peer.close()

    with broker_that(answer) as (port, greetings):
        transport = MqttTransport(BrokerConfig(port=port), "a")
        transport.connect()
        assert transport.protocol == "3.1.1"
        assert [greeting[8] for greeting in greetings] == [5, 4]
        transport.close()


def test_what_worked_is_greeted_in_first_after_a_loss() -> None:
    def answer(peer: socket.socket, version: int) -> None:
        if version == 5:
            peer.close()
            return
        peer.sendall(WELCOME[4])
        if len(greetings) < 5:
            peer.close()

    with broker_that(answer) as (port, greetings):
        transport = MqttTransport(BrokerConfig(port=port), "a")
        transport.connect()
        until(lambda: len(greetings) == 5 and transport.connected)
        assert [greeting[8] for greeting in greetings] == [5, 4, 4, 4, 4]
        transport.close()


def test_a_session_in_version_5_starts_clean_and_ends_with_its_connection() -> None:
    with broker_that(welcome) as (port, greetings):
        for _ in range(2):
            transport = MqttTransport(BrokerConfig(port=port, protocol="5"), "a")
            transport.connect()
            transport.close()
    for greeting in greetings:
        assert greeting[4:8] == b"MQTT"
        assert greeting[8] == 5
        assert greeting[9] & 0x02
        assert greeting[12] == 0  # no properties: a session expires at once


def test_a_version_that_is_configured_and_not_spoken_is_a_clear_error() -> None:
    def refuse(peer: socket.socket, version: int) -> None:
        del version
        peer.sendall(b"\x20\x02\x00\x01")
        peer.close()

    with (
        broker_that(refuse) as (port, _),
        pytest.raises(BrokerError, match=r"speaks no MQTT 5: set \[broker\] protocol to auto"),
    ):
        MqttTransport(BrokerConfig(port=port, protocol="5"), "a").connect()


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00" * 40,
        b"\xff" * 40,
        b"GET / HTTP/1.1\r\n" + b"Accept: */*\r\n" * 10,
        b"\x30\xff\xff\xff\xff\x7f",
        b"\x32\x03\x00\x09x",
        b"\x90\x01\x00",
        b"\x30" + b"\xff\xff\xff\x7f" + b"\x00\x01x",  # announces 256 MB
    ],
    ids=["zeros", "ones", "http", "length", "topic", "short", "huge"],
)
def test_nonsense_ends_a_connection_and_nothing_else(
    version: str, nonsense: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[bytes] = []

    def answer(peer: socket.socket, greeted: int) -> None:
        peer.sendall(WELCOME[greeted])
        if len(greetings) < 3:
            peer.sendall(nonsense)
        else:
            peer.sendall(b"\x30\x06\x00\x01t\0ok" if greeted == 5 else b"\x30\x05\x00\x01tok")

    with broker_that(answer) as (port, greetings):
        transport = MqttTransport(BrokerConfig(port=port, protocol=version), "a")
        transport.subscribe({"t": heard.append})
        transport.connect()
        until(lambda: heard)
        assert heard == [b"ok"]
        assert transport.counters["connections"] == 3
        assert transport._loop.counters["errors"] == 0
        transport.close()
    assert not any(record.exc_info for record in caplog.records)


def test_a_large_packet_within_the_limit_arrives(broker_port: int) -> None:
    heard: list[bytes] = []
    transport = MqttTransport(BrokerConfig(port=broker_port), "a")
    transport.subscribe({"t": heard.append}, reliable=True)
    transport.connect()
    payload = bytes(LARGEST_PACKET_BYTES - 100)
    until(lambda: transport.publish("t", payload, reliable=True))
    until(lambda: heard)
    assert heard[0] == payload
    transport.close()


def test_a_topic_that_is_no_text_is_nobody_s() -> None:
    heard: list[bytes] = []

    def answer(peer: socket.socket, version: int) -> None:
        peer.sendall(WELCOME[version] + b"\x30\x05\x00\x02\xff\xfex" + b"\x30\x04\x00\x01tx")

    with broker_that(answer) as (port, _):
        transport = MqttTransport(BrokerConfig(port=port, protocol="3.1.1"), "a")
        transport.subscribe({"t": heard.append})
        transport.watch("#", lambda topic, payload, _: heard.append(topic.encode() + payload))
        transport.connect()
        until(lambda: len(heard) == 2)
        assert sorted(heard) == [b"tx", b"x"]
        assert transport.counters["connections"] == 1
        transport.close()


def test_what_the_broker_denies_to_publish_is_counted_and_told_once(
    free_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite allowed/#\n")
    lines = ("allow_anonymous true", f"acl_file {rules}")
    with plain_broker("mosquitto", tmp_path, free_port, lines):
        heard: list[bytes] = []
        transport = MqttTransport(BrokerConfig(port=free_port), "a")
        transport.subscribe({"allowed/x": heard.append}, reliable=True)
        transport.connect()
        for _ in range(3):
            transport.publish("forbidden/x", b"1", reliable=True)
        until(lambda: transport.publish("allowed/x", b"2", reliable=True) and heard)
        until(lambda: not transport._outbox.reliable)
        assert transport.counters["denied"] == 3
        transport.close()
    told = [message for message in caplog.messages if "denies" in message]
    assert len(told) == 1
    assert "publishing on forbidden/x (Not authorized)" in told[0]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_what_the_broker_denies_to_subscribe_to_is_counted_and_told_once(
    free_port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture, version: str
) -> None:
    """By dynamic security; mosquitto's access file grants every subscription and delivers nothing."""
    plugins = list(Path("/").glob(DYNAMIC_SECURITY.lstrip("/")))
    if shutil.which("mosquitto") is None or not plugins:
        pytest.skip("mosquitto or its plugin for dynamic security is not installed")
    rule = {"acltype": "subscribeLiteral", "topic": "allowed", "allow": True}
    access = {"publishClientSend": True, "publishClientReceive": True, "subscribe": False}
    group = {"groupname": "all", "roles": [{"rolename": "cell"}]}
    security = {
        "defaultACLAccess": {**access, "unsubscribe": True},
        "roles": [{"rolename": "cell", "acls": [rule]}],
        "groups": [group],
        "anonymousGroup": "all",
        "clients": [],
    }
    file = tmp_path / "security.json"
    file.write_text(json.dumps(security))
    lines = ("allow_anonymous true", f"plugin {plugins[0]}", f"plugin_opt_config_file {file}")
    with plain_broker("mosquitto", tmp_path, free_port, lines):
        heard: list[bytes] = []
        transport = MqttTransport(BrokerConfig(port=free_port, protocol=version), "a")
        transport.subscribe({"allowed": heard.append, "forbidden": heard.append})
        transport.connect()
        until(lambda: transport.counters["denied"] == 1)
        transport.subscribe({"forbidden": heard.append})
        until(lambda: transport.counters["denied"] == 2)
        until(lambda: transport.publish("allowed", b"x") and heard)
        transport.close()
    told = [message for message in caplog.messages if "denies" in message]
    assert len(told) == 1
    assert "subscribing to forbidden" in told[0]


def test_the_number_of_a_packet_that_waits_for_an_answer_is_not_given_twice() -> None:
    peers: list[socket.socket] = []

    def answer(peer: socket.socket, version: int) -> None:
        welcome(peer, version)
        peers.append(peer)

    with broker_that(answer) as (port, _):
        transport = MqttTransport(BrokerConfig(port=port, protocol="3.1.1"), "a")
        transport.connect()
        transport.publish("report", b"r", reliable=True)
        assert transport._link.connection is not None
        client = transport._link.connection._client
        until(lambda: client._last_mid == 1)
        client._last_mid = 65_535  # an hour of messages later
        transport.publish("message", b"m")
        until(lambda: client._last_mid < 65_535)
        peers[0].sendall(b"\x40\x02\x00\x01")  # an answer to the report
        until(lambda: not transport._outbox.reliable)
        transport.close()


def test_statuses_that_nobody_acknowledges_keep_no_goodbye_from_being_said() -> None:
    heard = bytearray()
    acknowledge = threading.Event()

    def answer(peer: socket.socket, version: int) -> None:
        welcome(peer, version)

        def read() -> None:
            with suppress(OSError):
                while chunk := peer.recv(1 << 16):
                    heard.extend(chunk)
                    if acknowledge.is_set():  # the first packet, of the first status
                        acknowledge.clear()
                        peer.sendall(b"\x40\x02\x00\x01")

        threading.Thread(target=read, daemon=True).start()

    with broker_that(answer) as (port, _):
        transport = MqttTransport(BrokerConfig(port=port, protocol="3.1.1"), "a")
        transport.connect()
        for number in range(100):
            assert transport.publish("status", b"<%d>" % number, reliable=True, retain=True)
            until(lambda: b"<0>" in heard)
        assert transport.publish("report", b"report", reliable=True)
        acknowledge.set()
        assert transport.publish("state", b"offline", reliable=True, retain=True)
        until(lambda: b"<99>" in heard)
        transport.close()
        until(lambda: b"\xe0\x00" in heard)
        assert b"report" in heard
        assert b"offline" in heard
        assert b"<1>" not in heard  # the newest is enough
