"""A real mosquitto with a configuration of edge_configs/mosquitto, and clients that know what they may do."""

from __future__ import annotations

import queue
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from brokers import Mosquitto, missing
from paho.mqtt.enums import CallbackAPIVersion

FOLDER = Path(__file__).parents[3] / "edge_configs" / "mosquitto"
PATIENCE_S = 20.0
CONNECT = bytes.fromhex("100c00044d5154540402003c0000")
ACCEPTED = bytes.fromhex("20020000")


@contextmanager
def shipped_broker(folder: Path, name: str, **changes: str | Path) -> Iterator[int]:
    """Start a broker with a shipped file, parts of it replaced for this computer; yields its port."""
    if missing("mosquitto"):
        pytest.skip(missing("mosquitto"))
    with Mosquitto(folder, changes, shipped=name) as broker:
        yield broker.port


class Client:
    """A connected user; what it hears is in `heard`.

    Args:
        port: That of the broker.
        user: Name, and what its password begins with.
        authority: Certificate of who signed the broker's; None speaks no TLS.
        pair: Own certificate and key.
    """

    def __init__(
        self,
        port: int,
        user: str | None = None,
        authority: Path | None = None,
        pair: tuple[Path, Path] | None = None,
    ) -> None:
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._connected: queue.Queue[bool] = queue.Queue()
        self._subscribed: queue.Queue[int] = queue.Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=user or "")
        if user is not None:
            self.client.username_pw_set(user, f"{user}-password")
        if authority is not None:
            self.client.tls_set_context(tls_context(authority, pair))
        self.client.on_connect = lambda *values: self._connected.put(not values[3].is_failure)
        self.client.on_subscribe = lambda *values: self._subscribed.put(values[2])
        self.client.on_message = lambda *values: self.heard.put(
            (values[2].topic, values[2].payload)
        )
        self.client.connect("localhost" if authority else "127.0.0.1", port)
        self.client.loop_start()
        self.accepted = self._connected.get(timeout=PATIENCE_S)

    def listen(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        self._subscribed.get(timeout=PATIENCE_S)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish and wait for the broker's word that it has it; it says so of what it forbids as well."""
        self.client.publish(topic, payload, qos=1).wait_for_publish(PATIENCE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def tls_context(authority: Path, pair: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """Return what a careful client uses: it checks the broker's certificate and its name."""
    context = ssl.create_default_context(cafile=str(authority))
    if pair is not None:
        context.load_cert_chain(*map(str, pair))
    return context


def is_let_in(port: int, context: ssl.SSLContext, host: str = "localhost") -> bool:
    """Return whether a broker takes a connection; with TLS 1.3 it says no after the handshake only."""
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(CONNECT)
            return connection.recv(len(ACCEPTED)) == ACCEPTED
    except (ssl.SSLError, ConnectionError):
        return False
