"""Real brokers for tests: each can be killed, started again on its port, and stopped where it is."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
SHIPPED = REPOSITORY / "edge_configs" / "mosquitto"
AEDES = REPOSITORY / "tests" / "brokers" / "aedes"
OLDEST_NODE = 20
PATIENCE_S = 20.0
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
KINDS = ("mosquitto", "amqtt", "aedes")


class Broker:
    """A broker as a process of its own, on a port of its own; a context manager.

    Args:
        folder: Where its files and its log go.
        port: Where it listens, on loopback; None takes a free one.

    Attributes:
        port: Stays the same when it is started again.
    """

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.port = free_port() if port is None else port
        self._log = folder / f"broker-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def command(self) -> list[str]:
        """Return the command that starts it."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, restore_signals=False
            )
        deadline_s = time.monotonic() + PATIENCE_S
        while not answers(self.port):
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline_s, f"the broker does not start\n{self.log()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it by SIGKILL: nothing is written, nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def restart(self, after_s: float = 0.0) -> None:
        """Kill it, and start it again on the same port after a while."""
        self.kill()
        time.sleep(after_s)
        self.start()

    def freeze(self) -> None:
        """Stop it where it is: its connections stay, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "the broker is not running"
        return self._process.pid

    def alive(self) -> bool:
        """Return whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def memory_bytes(self) -> int:
        """Return what it holds in memory now."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def log(self) -> str:
        """Return all that it said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class Mosquitto(Broker):
    """mosquitto with a configuration that is shipped, by default the one for one computer.

    Args:
        folder: Where its files go.
        changes: Settings that are replaced, by their names.
        more: Lines that are added.
        shipped: Name of the file in edge_configs/mosquitto.
    """

    def __init__(
        self,
        folder: Path,
        changes: Mapping[str, str | Path] | None = None,
        more: str = "",
        shipped: str = "loopback.conf",
    ) -> None:
        super().__init__(folder)
        self._shipped = SHIPPED / shipped
        self.configure(changes, more)

    def configure(self, changes: Mapping[str, str | Path] | None = None, more: str = "") -> None:
        """Write its configuration; counts from its next start, and what SIGHUP reloads from then on."""
        text = re.sub(
            r"(?m)^listener \d+.*$", f"listener {self.port} 127.0.0.1", self._shipped.read_text()
        )
        for key, value in (changes or {}).items():
            text, count = re.subn(rf"(?m)^{key} .*$", f"{key} {value}", text)
            assert count == 1, key
        # Started by root it would become a user who may not read the test's folder.
        self.file.write_text(f"{text}\nuser root\n{more}\n")

    @property
    def file(self) -> Path:
        """Its configuration."""
        return self.folder / f"mosquitto-{self.port}.conf"

    def reload(self) -> None:
        """Have it read its lists of rights and passwords again."""
        os.kill(self.pid, signal.SIGHUP)

    def command(self) -> list[str]:
        """Return the command that starts it."""
        return [which("mosquitto") or "mosquitto", "-c", str(self.file)]


class PlainMosquitto(Broker):
    """mosquitto with a configuration of a few lines.

    Args:
        folder: Where its files go.
        port: Where it listens; None takes a free port.
        lines: Lines of its configuration beside the listener's.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        lines: Sequence[str] = ("allow_anonymous true",),
    ) -> None:
        super().__init__(folder, port)
        self._file = folder / f"plain-{self.port}.conf"
        head = (f"listener {self.port} 127.0.0.1", "user root", "set_tcp_nodelay true")
        self._file.write_text("\n".join([*head, *lines, ""]))

    def command(self) -> list[str]:
        """Return the command that starts it."""
        return [which("mosquitto") or "mosquitto", "-c", str(self._file)]


class Amqtt(Broker):
    """amqtt, in Python."""

    def command(self) -> list[str]:
        """Return the command that starts it."""
        return [sys.executable, "-c", AMQTT, str(self.port)]


class Aedes(Broker):
    """aedes, in JavaScript, as `make test-brokers` installs it."""

    def command(self) -> list[str]:
        """Return the command that starts it."""
        return ["node", str(AEDES / "broker.js"), str(self.port)]


def missing(kind: str) -> str:
    """Return why a broker of this kind cannot be started here; empty if it can."""
    if kind == "mosquitto":
        return "" if which("mosquitto") else "mosquitto is not installed"
    if kind == "amqtt":
        return "" if find_spec("amqtt") else "amqtt is not installed"
    if shutil.which("node") is None:
        return "node is not installed"
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if int(told.lstrip("v").split(".")[0]) < OLDEST_NODE:
        return f"node {told.strip()}: aedes needs {OLDEST_NODE} or newer"
    installed = (AEDES / "node_modules" / "aedes").is_dir()
    return "" if installed else "aedes is not installed: make test-brokers"


def make_broker(kind: str, folder: Path) -> Broker:
    """Return a broker of a kind that is not started yet."""
    made: dict[str, type[Broker]] = {"mosquitto": Mosquitto, "amqtt": Amqtt, "aedes": Aedes}
    return made[kind](folder)


def plain_broker(
    kind: str,
    folder: Path,
    port: int | None = None,
    lines: Sequence[str] = ("allow_anonymous true",),
) -> Broker:
    """Return a broker that is not started yet, or skip the test where it cannot be.

    Args:
        kind: One of `KINDS`.
        folder: Where its files go.
        port: Where it listens; None takes a free port.
        lines: Lines of a mosquitto's configuration beside the listener's.
    """
    reason = missing(kind)
    if reason:
        pytest.skip(reason)
    if kind == "mosquitto":
        return PlainMosquitto(folder, port, lines)
    return {"amqtt": Amqtt, "aedes": Aedes}[kind](folder, port)


def which(program: str) -> str | None:
    """Return a program's path; what is for administrators may stand outside of a user's PATH."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Return whether somebody listens at a port of loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
