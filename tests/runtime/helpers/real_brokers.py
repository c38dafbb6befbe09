"""Real brokers that a test starts, kills, freezes and starts again on the same port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

START_S = 20.0
AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
listener = {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}
async def main():
    await Broker({"listeners": {"default": listener}, "plugins": plugins}).start()
    await asyncio.sleep(3600)
asyncio.run(main())
"""


class RealBroker:
    """A broker in a process of its own.

    Args:
        kind: `mosquitto` or `amqtt`; the test is skipped where it is not installed.
        port: Where it listens, on loopback.
        folder: For its configuration and its log.
        lines: Lines of a mosquitto configuration beside the listener's.
    """

    def __init__(
        self, kind: str, port: int, folder: Path, lines: tuple[str, ...] = ("allow_anonymous true",)
    ) -> None:
        if kind == "mosquitto" and shutil.which("mosquitto") is None:
            pytest.skip("mosquitto is not installed")
        if kind == "amqtt" and find_spec("amqtt") is None:
            pytest.skip("amqtt is not installed")
        self.port = port
        self.log = folder / f"{kind}.log"
        self._process: subprocess.Popen[bytes] | None = None
        if kind == "mosquitto":
            file = folder / "mosquitto.conf"
            head = (f"listener {port} 127.0.0.1", "user root", "set_tcp_nodelay true")
            file.write_text("\n".join([*head, *lines, ""]))
            self._command = ["mosquitto", "-c", str(file)]
        else:
            self._command = [sys.executable, "-c", AMQTT, str(port)]

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end_s = time.monotonic() + START_S
        while not listens(self.port):
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end_s, "the broker does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop it from doing anything; its connections stay open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> RealBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def listens(port: int) -> bool:
    """Return whether somebody takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
