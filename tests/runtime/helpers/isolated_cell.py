"""A cell in a network of its own: `unshare --user --net --map-root-user python isolated_cell.py ...`.

Takes FOLDER, which holds cell.toml, and PYTHON, the interpreter of the installed base station. Plays broker
and radio, has the cell adapt, and prints as JSON what it opened, from /proc and Python's own audit events.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.radio_codec import ObservationMessage, encode_observation
from networld_runtime.startup import active_bundle

PORT = 1883
SLOTS = 200
PATIENCE_S = 60.0
TRAINING_S = 240.0
"""At idle priority it gets what busy tests beside it leave."""
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

# The real command; it tells, when it gets SIGUSR1, which threads it has and what Python opened so far.
CELL = """
import json, os, signal, sys, threading

opened, written, connected = set(), set(), set()
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        (written if (arguments[2] or 0) & WRITING else opened).add(path)
    elif event in ("socket.connect", "socket.sendto", "socket.bind", "socket.getaddrinfo"):
        address = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        connected.add(f"{event} {address}")

def tell(*_):
    threads = {thread.native_id: thread.name for thread in threading.enumerate()}
    lists = {"opened": sorted(opened), "written": sorted(written), "connected": sorted(connected)}
    print(json.dumps({"threads": threads, **lists}), flush=True)

sys.addaudithook(hook)
signal.signal(signal.SIGUSR1, tell)
from networld_runtime import cli
sys.exit(cli.main(["run", "--config", sys.argv[1]]))
"""

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

MOSQUITTO = f"listener {PORT} 127.0.0.1\nallow_anonymous true\nuser root\n"


def raise_loopback() -> None:
    """Set the one interface of a new network namespace up."""
    with socket.socket() as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        (flags,) = struct.unpack("16xh22x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))


def without_route() -> int:
    """Return how often somebody of this network asked for an address that no interface leads to."""
    total = 0
    lines = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines()]
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        if names[0] == "Ip:":
            total += int(values[names.index("OutNoRoutes")])
    for line in Path("/proc/net/snmp6").read_text().splitlines():
        name, value = line.split()
        total += int(value) if name == "Ip6OutNoRoutes" else 0
    return total


def wait_for_broker() -> None:
    """Return once the broker answers."""
    end_s = time.monotonic() + PATIENCE_S
    with socket.socket() as probe:
        while probe.connect_ex(("127.0.0.1", PORT)) != 0:
            if time.monotonic() > end_s:
                raise TimeoutError("the broker does not start")
            time.sleep(0.05)


class Radio:
    """Gives observations, hears actions and reports."""

    def __init__(self, config: Config) -> None:
        self.topics = CellTopics(config.cell.site, config.cell.name)
        bundle = active_bundle(config)
        self._contract = bundle.contract
        self._coupling = (len(config.cell.neighbours), bundle.couplings)
        self._random = np.random.default_rng(0)
        self.actions: Queue[bytes] = Queue()
        self.reports: Queue[dict[str, Any]] = Queue()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self.client.message_callback_add(
            self.topics.action, lambda *values: self.actions.put(values[2].payload)
        )
        self.client.message_callback_add(
            self.topics.report, lambda *values: self.reports.put(json.loads(values[2].payload))
        )
        self.client.connect("127.0.0.1", PORT)
        self.client.loop_start()
        self.client.subscribe([(self.topics.action, 1), (self.topics.report, 1)])

    def play(self, slots: int) -> int:
        """Go through slots, each after the last one's action; return how many were answered."""
        answered = 0
        middle = np.array([(one.low + one.high) / 2 for one in self._contract.features])
        for slot in range(slots):
            noise = self._random.normal(size=len(middle))
            observation = ObservationMessage(
                0,
                slot,
                (middle + noise).astype(np.float32),
                1.0,
                2.0,
                None,
                self._random.uniform(0.1, 1, self._coupling).astype(np.float32),
            )
            payload = encode_observation(observation, self._contract)
            self.client.publish(self.topics.observation, payload)
            try:
                self.actions.get(timeout=5)
                answered += 1
            except Empty:
                pass
        return answered

    def order(self, command: str) -> None:
        """Give the cell an order."""
        self.client.publish(self.topics.command, json.dumps({"command": command}), qos=1)


def sockets_of(pid: int) -> list[str]:
    """Return every socket of a process: kind, state and both addresses."""
    inodes = {
        link.removeprefix("socket:[").removesuffix("]")
        for link in descriptors_of(pid)
        if link.startswith("socket:[")
    }
    found: dict[str, str] = {}
    for kind in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"):
        table = Path(f"/proc/{pid}/net/{kind}")
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            if kind == "packet":
                found[fields[8]] = kind
            elif fields[9] in inodes:
                found[fields[9]] = f"{kind} {fields[3]} {address(fields[1])} {address(fields[2])}"
    unix = [line.split() for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]]
    found |= {fields[6]: f"unix {' '.join(fields[7:])}".rstrip() for fields in unix}
    return sorted(found.get(inode, "unknown") for inode in inodes)


def address(text: str) -> str:
    """Return `a.b.c.d:port` of what /proc/net/tcp shows; IPv6 stays as it is."""
    host, port = text.split(":")
    if len(host) == 8:
        host = socket.inet_ntoa(struct.pack("<I", int(host, 16)))
    return f"{host}:{int(port, 16)}"


def descriptors_of(pid: int) -> list[str]:
    """Return what the open descriptors of a process lead to."""
    links = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            links.append(os.readlink(one))
    return sorted(links)


def mapped_by(pid: int) -> list[str]:
    """Return the files that a process has in its memory."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sorted({line.split(None, 5)[5] for line in lines if len(line.split(None, 5)) == 6})


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def line_with(cell: subprocess.Popen[str], word: str) -> dict[str, Any]:
    """Return the next line of JSON with a word in it; other lines are the cell's log.

    Raises:
        RuntimeError: The cell ended before.
    """
    assert cell.stdout is not None
    for line in cell.stdout:
        if f'"{word}"' in line:
            data: dict[str, Any] = json.loads(line)
            return data
    raise RuntimeError(cell.communicate()[1])


def watch_training(pid: int, radio: Radio) -> dict[str, Any]:
    """Order an adaptation and look at the process that trains until it reports."""
    seen: dict[str, Any] = {"sockets": set(), "files": set(), "threads": 0, "policy": set()}
    radio.order("adapt")
    end_s = time.monotonic() + TRAINING_S
    while time.monotonic() < end_s:
        for child in children_of(pid):
            try:
                if "\0adapt\0" not in Path(f"/proc/{child}/cmdline").read_text():
                    continue
                seen["sockets"].update(sockets_of(child))
                seen["files"].update(descriptors_of(child))
                seen["threads"] = max(seen["threads"], len(os.listdir(f"/proc/{child}/task")))
                seen["policy"].add(os.sched_getscheduler(child))
            except OSError:  # it has ended meanwhile
                continue
        try:
            seen["report"] = radio.reports.get(timeout=0.02)
            break
        except Empty:
            continue
    return {name: sorted(one) if isinstance(one, set) else one for name, one in seen.items()}


def main(folder: Path, python: str) -> dict[str, Any]:
    """Return what the cell in `folder` opened."""
    raise_loopback()
    config = load_config(folder / "cell.toml")
    home = folder / "home"
    home.mkdir()
    names = ("PATH", "LANG")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    environment |= {"HOME": str(home), "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    broker = [sys.executable, "-c", AMQTT, str(PORT)]
    if shutil.which("mosquitto"):
        # Whoever made this namespace is its root, and has no other account to become.
        (folder / "mosquitto.conf").write_text(MOSQUITTO)
        broker = ["mosquitto", "-c", str(folder / "mosquitto.conf")]
    with subprocess.Popen(broker, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as serving:
        wait_for_broker()
        before = without_route()
        with subprocess.Popen(
            [python, "-c", CELL, str(folder / "cell.toml")],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as cell:
            try:
                line_with(cell, "ready")
                radio = Radio(config)
                answered = radio.play(SLOTS)
                training = watch_training(cell.pid, radio)
                radio.play(20)
                cell.send_signal(signal.SIGUSR1)
                told = line_with(cell, "threads")
                seen = {
                    "answered": answered,
                    "training": training,
                    "tasks": sorted(int(one) for one in os.listdir(f"/proc/{cell.pid}/task")),
                    "descriptors": descriptors_of(cell.pid),
                    "maps": mapped_by(cell.pid),
                    "sockets": sockets_of(cell.pid),
                    "memory": status_of(cell.pid)["VmHWM"],
                    "told": told,
                }
                cell.send_signal(signal.SIGTERM)
                seen["log"] = cell.communicate(timeout=PATIENCE_S)[1]
                seen["code"] = cell.returncode
            finally:
                cell.kill()
                serving.kill()
    seen["home"] = [str(path) for path in home.rglob("*")]
    seen["without_route"] = without_route() - before
    # The measure itself: a look outside must be seen.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        seen["refused"] = probe.connect_ex(("192.0.2.1", 53)) != 0
    seen["without_route_after_a_look_outside"] = without_route() - before
    return seen


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
