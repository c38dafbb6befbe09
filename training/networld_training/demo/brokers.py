"""Which broker the cells meet at: one that is given, mosquitto, or the embedded one."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from networld_runtime.errors import BrokerError, ConfigError
from networld_training.demo.embedded_broker import HOST, READY
from networld_training.demo.processes import POLL_S, Child, Children

START_S = 30.0
REACH_S = 5.0
ATTEMPTS = 3
DEFAULT_PORT = 1883
# Debian keeps it where the search path of an ordinary user does not go.
MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

MOSQUITTO_CONFIG = """\
# Loopback only, no passwords: for demonstrations on one machine.
listener {port} {host}
allow_anonymous true
persistence false
# Without it a message waits up to 18 ms for the acknowledgement of the one before.
set_tcp_nodelay true
# Logs of episodes are the largest payloads.
max_packet_size 300000
max_queued_messages 100
max_inflight_messages 20
max_keepalive 30
log_dest stderr
log_type error
log_type warning
"""


@dataclass(frozen=True)
class Meeting:
    """A broker that is ready.

    Attributes:
        name: `mosquitto`, `amqtt` or the URL that was given.
        host: Host to connect to.
        port: Port to connect to.
        shared: Whether others may be there too.
        process: The process, if it is ours.
    """

    name: str
    host: str
    port: int
    shared: bool = False
    process: Child | None = None

    def check(self) -> None:
        """Look after our own broker.

        Raises:
            BrokerError: It has ended.
        """
        if self.process is not None and self.process.exit_code() is not None:
            raise _ended(self.process)


@contextmanager
def open_broker(choice: str, folder: Path) -> Iterator[Meeting]:
    """Start a broker, or reach the one that is given; ours is killed at the end.

    Args:
        choice: `embedded` (mosquitto where it is installed, else amqtt), `mosquitto`, or a URL.
        folder: Where configuration and log of ours go.

    Raises:
        ConfigError: `choice` is none of these, or mosquitto is not installed.
        BrokerError: The broker does not start or cannot be reached.
    """
    mosquitto = _find_mosquitto()
    if choice not in ("embedded", "mosquitto"):
        yield _reach(choice)
        return
    with Children(polite=False) as children:
        if choice == "embedded" and mosquitto is None:
            yield _start_amqtt(children, folder)
        else:
            yield start_mosquitto(children, folder)


def _reach(url: str) -> Meeting:
    expected = "expected embedded, mosquitto or mqtt://host:port"
    try:
        parts = urlsplit(url)
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise ConfigError(f"--broker {url}", f"{error}; {expected}") from error
    if parts.scheme != "mqtt" or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigError(f"--broker {url}", expected)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "--broker", "user and password in a URL are not supported by the demonstration"
        )
    try:
        socket.create_connection((parts.hostname, port), timeout=REACH_S).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: not a name of a host
        reason = getattr(error, "strerror", None) or str(error)
        raise BrokerError(
            f"{parts.hostname}:{port}",
            f"cannot connect: {reason}; is the broker running, and is --broker right?",
        ) from error
    return Meeting(url, parts.hostname, port, shared=True)


def _start_amqtt(children: Children, folder: Path) -> Meeting:
    command = [sys.executable, "-m", "networld_training.demo.embedded_broker", "--port", "0"]
    process = children.start("broker", command, folder / "broker.log")
    deadline_s = time.monotonic() + START_S
    while True:
        words = process.log.read_text(errors="replace").partition("\n")
        if words[1] and words[0].startswith(READY):
            return Meeting("amqtt", HOST, int(words[0].split()[1]), process=process)
        _check_start(process, deadline_s)


def start_mosquitto(children: Children, folder: Path, *, port: int = 0, more: str = "") -> Meeting:
    """Start mosquitto on loopback.

    Args:
        children: Ends it.
        folder: Where its configuration and log go.
        port: Where it listens; 0 takes any port that is free.
        more: Lines to add to the configuration, for a bridge, say.

    Raises:
        ConfigError: mosquitto is not installed.
        BrokerError: It does not start.
    """
    program = _find_mosquitto()
    if program is None:
        raise ConfigError(
            "--broker mosquitto",
            "mosquitto is not installed; install it (Debian and Ubuntu: apt install mosquitto; "
            "macOS: brew install mosquitto), or take --broker embedded, which needs nothing",
        )
    config = folder / "mosquitto.conf"
    command = [sys.executable, "-m", "networld_training.demo.tether", program, "-c", str(config)]
    for attempt in range(ATTEMPTS):
        listens = port or _free_port()
        config.write_text(MOSQUITTO_CONFIG.format(host=HOST, port=listens) + more)
        process = children.start("broker", command, folder / "broker.log")
        deadline_s = time.monotonic() + START_S
        try:
            while not _answers(listens):
                _check_start(process, deadline_s)
        except BrokerError:  # somebody may have been quicker to take the port
            if port or attempt == ATTEMPTS - 1:
                raise
            continue
        return Meeting("mosquitto", HOST, listens, process=process)
    raise AssertionError("unreachable")


def _find_mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(MORE_FOLDERS))


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def _check_start(process: Child, deadline_s: float) -> None:
    if process.exit_code() is not None:
        raise _ended(process)
    if time.monotonic() > deadline_s:
        raise BrokerError("broker", f"is not ready after {START_S:.0f} s\n{process.log_tail()}")
    time.sleep(POLL_S)


def _ended(process: Child) -> BrokerError:
    return BrokerError(
        "broker", f"ended with exit code {process.exit_code()}; it said:\n{process.log_tail()}"
    )


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
