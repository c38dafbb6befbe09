"""The embedded broker as its own process: relays, stays on loopback, ends with its parent."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest
from amqtt.broker import Broker

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_training.demo import embedded_broker

COMMAND = [sys.executable, "-m", "networld_training.demo.embedded_broker", "--port"]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        yield started
        started.kill()


def ready_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    word, port = process.stdout.readline().split()
    assert word == "ready"
    return int(port)


def test_relays_between_clients(process: subprocess.Popen[str]) -> None:
    address = BrokerConfig(port=ready_port(process))
    sender, receiver = MqttTransport(address, "sender"), MqttTransport(address, "receiver")
    arrived = threading.Event()
    payloads = []

    def receive(payload: bytes) -> None:
        payloads.append(payload)
        arrived.set()

    receiver.subscribe({"topic": receive})
    receiver.connect()
    sender.connect()
    for _ in range(100):  # the subscription may not be there yet
        sender.publish("topic", b"\x00\xff")
        if arrived.wait(0.1):
            break
    sender.close()
    receiver.close()
    assert payloads[0] == b"\x00\xff"


def test_listens_on_loopback_only(process: subprocess.Popen[str]) -> None:
    port = ready_port(process)
    listening = [
        tuple(one.laddr)
        for one in psutil.Process(process.pid).net_connections()
        if one.status == psutil.CONN_LISTEN
    ]
    assert listening == [("127.0.0.1", port)]


def test_ends_when_its_input_ends(process: subprocess.Popen[str]) -> None:
    ready_port(process)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0


def test_busy_port_is_told_without_a_traceback() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        subprocess.Popen(
            [*COMMAND, str(taken.getsockname()[1])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.wait(60) == BrokerError.exit_code
        assert process.stdout.read() == ""
        message = process.stderr.read()
    assert "cannot listen: Address already in use" in message
    assert "choose another port" in message
    assert "Traceback" not in message


def test_impossible_port_is_a_broker_error() -> None:
    with pytest.raises(BrokerError, match="cannot listen"):
        embedded_broker.listen(70_000)


def test_sends_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    options: asyncio.Queue[int] = asyncio.Queue()

    async def connected(broker: Broker, reader: object, writer: object, name: str) -> None:
        del broker, reader, name
        connection = writer._writer.get_extra_info("socket")  # type: ignore[attr-defined]
        options.put_nowait(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def observe() -> int:
        listener = embedded_broker.listen(0)
        serving = asyncio.create_task(embedded_broker.serve(listener))
        _, writer = await asyncio.open_connection(*listener.getsockname())
        option = await asyncio.wait_for(options.get(), 10)
        writer.close()
        serving.cancel()
        return option

    monkeypatch.setattr(Broker, "external_connected", connected)
    assert asyncio.run(observe()) != 0
