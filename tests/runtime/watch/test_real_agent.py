"""The real command: what it serves, publishes, logs and opens, and how `status` ends."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_cell import small_config

from networld_runtime import cli
from networld_runtime.config import BrokerConfig
from networld_runtime.errors import ConfigError
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.watch.threads import UNKNOWN

SHIPPED = Path(__file__).parents[3] / "bundles" / "networld"
AGENT = [sys.executable, "-m", "networld_runtime.cli"]


class Running:
    """A cell in a process of its own."""

    def __init__(self, folder: Path, broker_port: int, watch_port: int) -> None:
        self.broker_port, self.watch_port = broker_port, watch_port
        small_config(
            folder,
            f"[broker]\nport = {broker_port}\n[watch]\nport = {watch_port}\n"
            '[log]\nfile = "agent.log"\n',
        )
        self.file = folder / "cell.toml"
        text = self.file.read_text().replace('path = "bundle"', f'path = "{SHIPPED}"')
        self.file.write_text(text)
        self.output = folder / "output"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*AGENT, "run", "--config", str(self.file)], stdout=output, stderr=output
            )

    def status(self, *options: str) -> int:
        """Ask with the command; return its exit code."""
        return cli.main(["status", "--config", str(self.file), *options])

    def lines(self) -> list[dict[str, Any]]:
        """Return everything that it printed; every line is JSON."""
        return [json.loads(line) for line in self.output.read_text().splitlines()]


@pytest.fixture
def running(tmp_path: Path, broker: tuple[int, subprocess.Popen[bytes]]) -> Iterator[Running]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        watch_port = int(probe.getsockname()[1])
    one = Running(tmp_path, broker[0], watch_port)
    try:
        _until(lambda: '"ready"' in one.output.read_text() or one.process.poll() is not None)
        assert one.process.poll() is None, one.output.read_text()
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def test_life_of_a_cell_as_an_operator_sees_it(
    running: Running,
    broker: tuple[int, subprocess.Popen[bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    _until(lambda: running.status() == 0)
    assert "test/a: ready" in capsys.readouterr().out
    assert running.status("--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert status["phase"] == "running"
    assert status["bundle"]["name"] == "networld"
    assert status["threads"].keys() == {"MainThread", "watch-http", "network"}
    assert UNKNOWN not in status["threads"].values()
    tasks = os.listdir(f"/proc/{running.process.pid}/task")
    assert len(tasks) == len(status["threads"])
    with urllib.request.urlopen(f"http://127.0.0.1:{running.watch_port}/metrics") as answer:
        assert b"networld_broker_connected 1.0" in answer.read()

    heard: list[dict[str, Any]] = []
    listener = MqttTransport(BrokerConfig(port=running.broker_port), "listener")
    listener.subscribe(
        {"networld/v1/test/a/status": lambda raw: heard.append(json.loads(raw))}, reliable=True
    )
    listener.connect()
    _until(lambda: heard)  # retained
    assert heard[-1]["ready"] is True
    assert heard[-1].keys() == status.keys()
    listener.close()

    broker[1].kill()
    _until(lambda: running.status() == 9)
    assert "not ready because no connection to the broker" in capsys.readouterr().out
    running.process.terminate()
    assert running.process.wait(20) == 0
    assert running.status() == 10
    assert "is it running?" in capsys.readouterr().err

    lines = running.lines()
    assert [line["event"] for line in lines if "event" in line] == ["ready"]
    ready = next(line for line in lines if line.get("event") == "ready")
    assert (ready["site"], ready["cell"]) == ("test", "a")
    assert isinstance(ready["epoch"], int)
    lost = [line for line in lines if "lost the broker" in line.get("message", "")]
    assert [(line["level"], line["cell"]) for line in lost] == [("warning", "a")]
    kept = (running.file.parent / "agent.log").read_text().splitlines()
    assert [json.loads(line) for line in kept] == [line for line in lines if "event" not in line]


def test_it_listens_at_one_port_and_speaks_with_the_broker_alone(running: Running) -> None:
    _until(lambda: running.status() == 0)
    listening, outward = _sockets(running.process.pid)
    assert listening == {("127.0.0.1", running.watch_port)}
    assert outward == {("127.0.0.1", running.broker_port)}


def _sockets(pid: int) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
    """Return where a process listens, and what it is connected to, without pairs within itself."""
    own = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            continue
        own |= set(re.findall(r"socket:\[(\d+)\]", target))
    listening, connected = set(), []
    for kind in ("tcp", "udp", "tcp6", "udp6"):
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] not in own:
                continue
            assert kind == "tcp", line
            if fields[3] == "0A":
                listening.add(_address(fields[1]))
            else:
                connected.append((_address(fields[1]), _address(fields[2])))
    ends = {here for here, _ in connected} | {
        there for here, there in connected if here in listening
    }
    # paho wakes its thread through a pair of sockets within the process.
    return listening, {there for _, there in connected if there not in ends}


def _address(text: str) -> tuple[str, int]:
    host, port = text.split(":")
    return socket.inet_ntoa(bytes.fromhex(host)[::-1]), int(port, 16)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\n\r\n[]",
        b'HTTP/1.0 200 OK\r\n\r\n{"ready": true}',
        b"HTTP/1.0 404 Not Found\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\n\r\n" + b"[" * 100_000,
    ],
)
def test_status_of_something_that_is_no_cell_ends_with_10(
    answer: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def reply() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        config = small_config(tmp_path, f"[watch]\nport = {port}\n")
        assert cli.main(["status", "--config", str(config.path)]) == 10
        thread.join()
    assert f"127.0.0.1:{port}: " in capsys.readouterr().err


def test_status_without_a_port_says_which_key_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(tmp_path)
    assert cli.main(["status", "--config", str(config.path)]) == 3
    assert "watch.port" in capsys.readouterr().err


def test_wrong_tables_are_told_with_all_their_mistakes(tmp_path: Path) -> None:
    watch = '[watch]\nhost = "example.org"\nport = 70000\ncolour = 1\n'
    with pytest.raises(ConfigError) as caught:
        small_config(tmp_path, watch + '[log]\nformat = "xml"\nlevel = 3\nfile = "none/x"\n')
    assert [problem.split(" ")[0].rstrip(":") for problem in sorted(caught.value.problems)] == [
        "log.file",
        "log.format",
        "log.level",
        "watch.colour",
        "watch.host",
        "watch.port",
    ]


def _until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s, "it does not happen"
        time.sleep(0.1)
