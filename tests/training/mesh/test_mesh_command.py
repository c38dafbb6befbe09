"""`networld mesh` as a user runs it, with real cells at a real broker."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live_cell import Drive, live_cell

from networld_runtime.bundle import load_bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.recorder import Recorder
from networld_runtime.mesh.recording import Recording
from networld_runtime.mesh.replay import ReplayTransport
from networld_runtime.mesh.transport import LastWill
from networld_training import cli
from networld_training.demo.brokers import open_broker
from networld_training.mesh.broadcast import Broadcast
from networld_training.mesh.watching import Watcher, connected

PATIENCE_S = 60.0
MESH = [sys.executable, "-m", "networld_training.cli", "mesh"]
SLOTS = 30
CONFIG = """
[cell]
site = "test"
name = "{name}"
task = "power"
neighbours = ["{neighbour}"]
[bundle]
path = "{bundle}"
[broker]
port = {port}
[state]
directory = "state-{name}"
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    folder = tmp_path / "broker"
    folder.mkdir()
    with open_broker("embedded", folder) as meeting:
        yield meeting.port


class Command:
    """`networld mesh` in a process of its own, its output in a file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.output = folder / "output"
        # A job in the background is born deaf to Ctrl-C, and its children would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.output.open("w") as output:
            self.process = subprocess.Popen([*MESH, *options], stdout=output, stderr=output)

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal, if any, and return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def text(self) -> str:
        return self.output.read_text()


@contextmanager
def command(folder: Path, *options: str) -> Iterator[Command]:
    one = Command(folder, *options)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def until(condition: Callable[[], object], why: Callable[[], object] = str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, why()
        time.sleep(0.05)


def start_cell(folder: Path, bundle: Path, port: int, name: str, neighbour: str) -> Any:
    config = folder / f"{name}.toml"
    config.write_text(CONFIG.format(name=name, neighbour=neighbour, bundle=bundle, port=port))
    return live_cell(config)


def json_facts(data: dict[str, Any]) -> list[dict[str, Any]]:
    """What must be the same live and from a recording: all but ages, rates and the site's name."""
    hidden = ("age_s", "messages_per_s", "bytes_per_s", "site")
    return [
        {key: value for key, value in row.items() if key not in hidden} for row in data["cells"]
    ]


def states(watcher: Watcher) -> dict[str, str]:
    return {row.cell: row.state for row in watcher.look().cells}


def go_through_a_fault(port: int, bundle_folder: Path, folder: Path, watcher: Watcher) -> None:
    """Let two real cells talk; one hears rubbish and ends well, the other skips slots and is killed."""
    bundle = load_bundle(bundle_folder, "power")
    liar = MqttTransport(BrokerConfig(port=port), "liar")
    with (
        start_cell(folder, bundle_folder, port, "a", "b") as first,
        start_cell(folder, bundle_folder, port, "b", "a") as second,
        Drive(port, bundle, "a") as drive_a,
        Drive(port, bundle, "b") as drive_b,
        connected(liar),
    ):
        for _ in range(SLOTS):
            drive_a.slots(1)
            drive_b.slots(1)
        drive_b.slot += 3
        drive_b.slots(1)
        liar.publish("networld/v1/test/b/message", b"\xff rubbish", reliable=True)
        # The cell's status says within seconds what it rejected.
        until(lambda: any(row.rejects for row in watcher.look().cells), watcher.look)
        second.process.kill()
        until(lambda: states(watcher)["b"] == "lost", watcher.look)
        assert first.end() == 0
        until(lambda: states(watcher)["a"] == "offline", watcher.look)


@pytest.mark.slow
def test_cells_are_watched_recorded_and_replayed(
    port: int, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, summary = tmp_path / "fault.rec", tmp_path / "live.json"
    options = ["--broker", f"mqtt://127.0.0.1:{port}", "--site", "test", "--all-topics"]
    options += ["--record", str(file), "--json", str(summary)]
    watcher = Watcher(BrokerConfig(port=port), "test")
    with command(tmp_path, *options) as mesh, connected(watcher.transport):
        until(file.exists, mesh.text)
        go_through_a_fault(port, tiny_bundle, tmp_path, watcher)
        time.sleep(0.5)  # what the other watcher has, the command has soon
        assert mesh.end(signal.SIGINT) == 0, mesh.text()
    assert "Traceback" not in mesh.text()
    assert f"recorded: {file}" in mesh.text()

    live = json.loads(summary.read_text())
    first, second = live["cells"]
    assert [(row["cell"], row["state"]) for row in live["cells"]] == [
        ("a", "offline"),
        ("b", "lost"),
    ]
    assert (first["task"], first["neighbours"]) == ("power", ["b"])
    assert (first["messages"], first["gaps"]) == (SLOTS, 0)
    assert (second["messages"], second["gaps"]) == (SLOTS + 2, 3)
    assert second["unreadable"] == {"message malformed": 1}
    assert first["rejected"]["b"]["malformed"] == 1
    assert 30 <= first["message_bytes"] / SLOTS <= 37
    assert first["contract"] == load_bundle(tiny_bundle, "power").contract.digest()[:4].hex()
    assert live["totals"]["other_bytes"] > 0

    replayed, picture = tmp_path / "replayed.json", tmp_path / "fault.png"
    capsys.readouterr()
    asked = ["mesh", "--replay", str(file), "--json", str(replayed), "--picture", str(picture)]
    assert cli.main(asked) == 0
    assert json_facts(json.loads(replayed.read_text())) == json_facts(live)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "site test, " in capsys.readouterr().out
    assert_a_broker_shows_the_same(port, file, live)


def assert_a_broker_shows_the_same(port: int, file: Path, live: dict[str, Any]) -> None:
    """Play a recording to a broker: who watches there sees the same cells, and nothing is left of it."""
    watcher = Watcher(BrokerConfig(port=port), "again")
    target = MqttTransport(BrokerConfig(port=port), "replay")
    recording = Recording(file)
    broadcast = Broadcast(target, recording.header, "again")
    with connected(watcher.transport), connected(target):
        broadcast.check_quiet()
        source = ReplayTransport(recording.messages())
        source.watch("networld/#", broadcast.send)
        source.connect()
        source.play()
        assert source.counters["handler_errors"] == 0

        def rows() -> list[dict[str, Any]]:
            told: dict[str, Any] = json.loads(json.dumps(watcher.look().to_json()))
            return json_facts(told)

        until(lambda: rows() == json_facts(live), rows)
        broadcast.leave()
        until(lambda: set(states(watcher).values()) == {"removed"}, rows)


def recorded(path: Path, *sent: tuple[str, bytes]) -> Path:
    with Recorder(path, "test") as recorder:
        for topic, payload in sent:
            recorder.record(topic, payload)
    return path


STATE = ("networld/v1/test/a/state", b'{"state":"online","epoch":5}')


def test_a_replay_does_not_speak_for_cells_that_are_online(
    port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recorded(tmp_path / "x.rec", STATE, ("strange", b"1"))
    url = f"mqtt://127.0.0.1:{port}"
    cell = MqttTransport(BrokerConfig(port=port), "cell", LastWill(STATE[0], b""))
    cell.connect()
    cell.publish(*STATE, reliable=True, retain=True)
    asked = ["mesh", "--replay", str(file), "--broker", url, "--speed", "max"]
    until(lambda: cli.main(asked) == 3)
    assert "1 cells are online at this broker (a)" in capsys.readouterr().err
    assert cli.main([*asked, "--as-site", "other"]) == 0
    watcher = Watcher(BrokerConfig(port=port), "+")
    with connected(watcher.transport):
        until(lambda: watcher.look().cells)
        assert [(one.site, one.cell) for one in watcher.look().cells] == [("test", "a")]
    cell.close()


def test_a_replay_ends_with_its_broker(tmp_path: Path) -> None:
    now_s = [0.0]
    file = tmp_path / "x.rec"
    with Recorder(file, "test", clock=lambda: now_s[0]) as recorder:
        for _ in range(1000):
            recorder.record(*STATE)
            recorder.record("networld/v1/test/a/message", b"\xff")
            now_s[0] += 0.1
    folder = tmp_path / "broker"
    folder.mkdir()
    with open_broker("embedded", folder) as meeting:
        url = f"mqtt://127.0.0.1:{meeting.port}"
        watcher = Watcher(BrokerConfig(port=meeting.port), "test")
        with command(tmp_path, "--replay", str(file), "--broker", url) as mesh:
            with connected(watcher.transport):
                until(lambda: any(row.messages for row in watcher.look().cells), mesh.text)
            assert meeting.process is not None
            meeting.process.kill()
            assert mesh.end() == 5
    assert "takes no messages for 5 s" in mesh.text()
    assert "Traceback" not in mesh.text()


def test_sites_are_listed(port: int, tmp_path: Path) -> None:
    cell = MqttTransport(BrokerConfig(port=port), "cell")
    cell.connect()
    for site in ("lab", "roof"):
        cell.publish(f"networld/v1/{site}/a/state", STATE[1], reliable=True, retain=True)
    with command(tmp_path, "--broker", f"mqtt://127.0.0.1:{port}", "--seconds", "2") as mesh:
        assert mesh.end() == 0
    rows = [line.split() for line in mesh.text().splitlines() if "│" in line]
    assert [row[1] for row in rows] == ["lab", "roof"]
    assert all(row[3] == "1" for row in rows)
    cell.close()


def test_nothing_heard_has_an_exit_code_and_a_hint(port: int, tmp_path: Path) -> None:
    summary = tmp_path / "out.json"
    asked = ["--broker", f"mqtt://127.0.0.1:{port}", "--site", "lab", "--seconds", "6.5"]
    with command(tmp_path, *asked, "--json", str(summary)) as mesh:
        assert mesh.end() == 10
    assert "nothing heard of site lab for 5 s: is the name right?" in mesh.text()
    assert "no cell of site lab was heard in" in mesh.text()
    assert json.loads(summary.read_text())["cells"] == []


def test_a_broker_that_is_lost_and_a_terminated_watch(tmp_path: Path) -> None:
    """Whoever looks on does not end with the broker; SIGTERM leaves a whole recording."""
    folder, file = tmp_path / "broker", tmp_path / "x.rec"
    folder.mkdir()
    with open_broker("embedded", folder) as meeting:
        asked = ["--broker", f"mqtt://127.0.0.1:{meeting.port}", "--record", str(file)]
        with command(tmp_path, *asked) as mesh:
            until(file.exists, mesh.text)
            cell = MqttTransport(BrokerConfig(port=meeting.port), "cell")
            cell.connect()
            cell.publish(*STATE, reliable=True, retain=True)
            until(lambda: list(Recording(file).messages()), mesh.text)
            cell.close()
            assert meeting.process is not None
            meeting.process.kill()
            until(lambda: "lost the broker, trying again" in mesh.text(), mesh.text)
            assert mesh.end(signal.SIGTERM) == 143
    recording = Recording(file)
    assert [one.topic for one in recording.messages()] == [STATE[0]]
    assert recording.end is not None


def test_no_broker(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"mqtt://127.0.0.1:{probe.getsockname()[1]}"
    file = tmp_path / "x.rec"
    assert cli.main(["mesh", "--broker", url, "--record", str(file)]) == 5
    told = capsys.readouterr().err
    assert "cannot connect" in told
    assert "--broker" in told
    assert "[broker]" not in told


def test_files_that_cannot_be_played_or_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = recorded(tmp_path / "x.rec", STATE, ("networld/v1/test/a/message", b"\xff"), STATE)
    raw = file.read_bytes()

    def ending(name: str, data: bytes) -> tuple[int, str]:
        path = tmp_path / name
        path.write_bytes(data)
        code = cli.main(["mesh", "--replay", str(path)])
        told = capsys.readouterr()
        return code, told.out + told.err

    code, told = ending("cut", raw[:-60])
    assert code == 0
    assert "cut: byte" in told
    code, told = ending("damaged", raw[:-40] + b"\0" + raw[-39:])
    assert code == 6
    assert "checksum" in told
    assert "1 online" in told  # what was before is shown
    code, told = ending("newer", raw[:20] + b"\x07" + raw[21:])
    assert code == 6
    assert "version 7" in told
    assert ending("none", b"hello")[0] == 6
    assert cli.main(["mesh", "--replay", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
    assert cli.main(["mesh", "--broker", "mqtt://h", "--record", str(file)]) == 3
    assert "is there already" in capsys.readouterr().err
    assert cli.main(["mesh", "--replay", str(file), "--json", str(tmp_path)]) == 3
    assert "is a folder" in capsys.readouterr().err
