"""What the service manager hears, on real sockets, and what it no longer hears from a cell that hangs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from networld_runtime.service_notify import ServiceNotifier

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"

# The real command with a radio that needs no broker: a slot every 20 ms, none while a file "silent" is there,
# and a call that does not come back while a file "hang" is there.
CELL = """
import sys, time
from pathlib import Path
import numpy as np
from networld_runtime import cli, radio, realtime
from networld_runtime.mesh import mqtt_transport

folder = Path(sys.argv[1])

def observe(self, timeout_s):
    while (folder / "hang").exists():
        time.sleep(0.01)
    time.sleep(0.02)
    if (folder / "silent").exists():
        return None
    self.slot = getattr(self, "slot", -1) + 1
    values = np.zeros(self._contract.observation_size, dtype=np.float32)
    now_s = realtime.monotonic_s()
    return radio.Observation(0, self.slot, values, 1.0, now_s, now_s + 1)

radio.MqttRadio.observe = observe
mqtt_transport.MqttTransport.connect = lambda self: None
sys.exit(cli.main(["run", "--config", str(folder / "cell.toml")]))
"""

CONFIG = """
[cell]
site = "test"
name = "cell-0"
task = "power"
neighbours = ["cell-1"]
[bundle]
path = "{bundle}"
[state]
directory = "state"
"""

WATCHDOG_S = 0.6
PATIENCE_S = 60


class Manager:
    """The service manager's end: a bound datagram socket and what came in."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def next(self, timeout_s: float = PATIENCE_S) -> dict[str, str] | None:
        """Return the next datagram, None if none came in time."""
        self.socket.settimeout(timeout_s)
        try:
            lines = self.socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return None
        return dict(line.split("=", 1) for line in lines)

    def wait_for(self, name: str) -> list[dict[str, str]]:
        """Return what came in, up to the first datagram that holds `name`."""
        came: list[dict[str, str]] = []
        while not came or name not in came[-1]:
            datagram = self.next()
            assert datagram is not None, f"no {name} after {came}"
            came.append(datagram)
        return came

    def falls_silent(self) -> bool:
        """Return whether a time comes in which a watchdog would fire, four times over."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            if self.next(4 * WATCHDOG_S) is None:
                return True
        return False


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify")
    one = Manager(path if request.param == "path" else f"@networld-test-{os.getpid()}")
    yield one
    one.socket.close()


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Manager]]:
    """A running cell under a watchdog, before its first word."""
    manager = Manager(str(tmp_path / "notify"))
    (tmp_path / "cell.toml").write_text(CONFIG.format(bundle=SHIPPED))
    watchdog_us = str(int(WATCHDOG_S * 1e6))
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": watchdog_us}
    with subprocess.Popen(
        [sys.executable, "-c", CELL, str(tmp_path)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, manager
        finally:
            process.kill()
            manager.socket.close()


def test_ready_stopping_and_status_arrive(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address)
    notifier.status("line one\nREADY=1")
    assert manager.next() == {"STATUS": "line one READY=1"}
    notifier.ready("acting")
    assert manager.next() == {"READY": "1", "STATUS": "acting"}
    notifier.stopping()
    assert manager.next() == {"STOPPING": "1"}


def test_alive_is_said_once_in_half_the_watchdogs_time(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address, watchdog_s=3600)
    asked: list[int] = []

    def status() -> str:
        asked.append(1)
        return "fine"

    for _ in range(100):
        notifier.alive(status)
    assert manager.next() == {"WATCHDOG": "1", "STATUS": "fine"}
    assert manager.next(0.05) is None
    assert len(asked) == 1
    eager = ServiceNotifier(manager.address, watchdog_s=1e-6)
    for _ in range(3):
        eager.alive(status)
        assert manager.next() == {"WATCHDOG": "1", "STATUS": "fine"}


def test_the_environment_is_read_and_emptied(manager: Manager) -> None:
    environment = {
        "NOTIFY_SOCKET": manager.address,
        "WATCHDOG_USEC": "10000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    notifier = ServiceNotifier.from_environment(environment)
    assert environment == {"HOME": "/"}
    notifier.ready("acting")
    assert manager.next() == {"READY": "1", "STATUS": "acting"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "@"},
        {"NOTIFY_SOCKET": "relative"},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "/nobody/listens", "WATCHDOG_USEC": "-1"},
        {"NOTIFY_SOCKET": "/nobody/listens", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/nobody/listens", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_manager_every_call_does_nothing(environment: dict[str, str]) -> None:
    notifier = ServiceNotifier.from_environment(environment)
    for _ in range(2):
        notifier.status("a")
        notifier.ready("b")
        notifier.alive(lambda: "c")
        notifier.stopping()


def test_a_manager_that_reads_nothing_holds_nobody_up(manager: Manager) -> None:
    notifier = ServiceNotifier(manager.address, watchdog_s=1e-6)
    for _ in range(5000):  # far more than a socket's queue takes
        notifier.alive(lambda: "x" * 10_000)
    came = manager.next()
    assert came is not None
    assert len(came["STATUS"]) == 400


def test_ready_comes_after_the_model_is_warm_and_stopping_before_the_end(
    cell: tuple[subprocess.Popen[str], Manager],
) -> None:
    process, manager = cell
    came = manager.wait_for("READY")
    stages = [datagram["STATUS"] for datagram in came]
    assert stages == [
        "checking configuration and bundle",
        "warming up",
        "connecting to the broker",
        "waiting for the radio",
    ]
    assert "slots" in manager.wait_for("WATCHDOG")[-1]["STATUS"]
    process.send_signal(signal.SIGTERM)
    manager.wait_for("STOPPING")
    assert process.wait(PATIENCE_S) == 0


def hang(process: subprocess.Popen[str], folder: Path) -> Callable[[], None]:
    """A call that does not come back: the process is well, its loop is not."""
    del process
    (folder / "hang").touch()
    return (folder / "hang").unlink


def stop(process: subprocess.Popen[str], folder: Path) -> Callable[[], None]:
    """The whole process stands still."""
    del folder
    process.send_signal(signal.SIGSTOP)
    return lambda: process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("way", [hang, stop])
def test_a_loop_that_hangs_says_nothing_and_is_heard_again_when_it_goes_on(
    way: Callable[[subprocess.Popen[str], Path], Callable[[], None]],
    cell: tuple[subprocess.Popen[str], Manager],
    tmp_path: Path,
) -> None:
    process, manager = cell
    manager.wait_for("READY")
    manager.wait_for("WATCHDOG")
    go_on = way(process, tmp_path)
    assert manager.falls_silent()
    go_on()
    manager.wait_for("WATCHDOG")


def test_a_loop_without_observations_is_alive(
    cell: tuple[subprocess.Popen[str], Manager], tmp_path: Path
) -> None:
    _, manager = cell
    (tmp_path / "silent").touch()
    manager.wait_for("READY")
    for _ in range(3):
        assert manager.wait_for("WATCHDOG")[-1]["STATUS"].startswith("0 slots")
