"""`networld-agent run --cells`: several cells in one process, as real as each in its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundles import make_bundle

from networld_runtime.config import BrokerConfig
from networld_runtime.contract import Contract
from networld_runtime.exit_codes import ExitCode
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.radio import MqttRadio
from networld_runtime.radio_codec import ObservationMessage, encode_observation
from networld_runtime.running_cells import Crew as RunningCrew
from networld_runtime.service_notify import ServiceNotifier

CELLS = ("a", "b", "c")
PATIENCE_S = 60.0


class Crew:
    """The process of some cells, and an operator."""

    def __init__(self, files: list[Path], port: int) -> None:
        self.reports: dict[str, list[dict[str, Any]]] = {name: [] for name in CELLS}
        self.states: dict[str, list[str]] = {name: [] for name in CELLS}
        self._operator = MqttTransport(BrokerConfig(port=port), "operator")
        for name in CELLS:
            topics = CellTopics("test", name)
            self._operator.subscribe(
                {
                    topics.report: partial(self._hear_report, name),
                    topics.state: partial(self._hear_state, name),
                },
                reliable=True,
            )
        self._operator.connect()
        self.log = files[0].with_name("crew.log")
        with self.log.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "networld_runtime.cli", "run", "--cells", *map(str, files)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def _hear_report(self, name: str, payload: bytes) -> None:
        self.reports[name].append(json.loads(payload))

    def _hear_state(self, name: str, payload: bytes) -> None:
        self.states[name].append(json.loads(payload)["state"])

    def ready(self) -> list[str]:
        """Wait until all are ready; return their names."""
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline() for _ in CELLS]
        assert all(lines), self.log.read_text()
        return [json.loads(line)["cell"] for line in lines]

    def order(self, name: str, **order: Any) -> dict[str, Any]:
        """Give a cell an order and return its answer."""
        self.reports[name].clear()
        payload = json.dumps({"id": "1", **order}).encode()
        self._operator.publish(CellTopics("test", name).command, payload, reliable=True)
        self.until(lambda: self.reports[name])
        return self.reports[name][0]

    def until(self, condition: Any) -> None:
        """Wait for something."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.02)

    def mark(self, name: str) -> None:
        """Say something on the topic of a cell's state."""
        topic = CellTopics("test", name).state
        self._operator.publish(topic, b'{"state": "mark"}', reliable=True)

    def close(self) -> None:
        """Leave nothing."""
        self.process.kill()
        self.process.communicate()
        self._operator.close()


def _files(folder: Path, contract: Contract, port: int, **changes: str) -> list[Path]:
    bundle = make_bundle(folder / "bundle", contract)
    files = []
    for name in CELLS:
        others = [other for other in CELLS if other != name]
        text = f"""
            [cell]
            site = "test"
            name = "{changes.get("name", name)}"
            task = "power"
            neighbours = {json.dumps(others)}
            [bundle]
            path = "{bundle}"
            [broker]
            port = {port}
            [radio]
            kind = "{changes.get("radio", "synthetic")}"
            [timing]
            slot_s = 0.05
            [log]
            format = "text"
            [state]
            directory = "{changes.get("state", f"state-{name}")}"
        """
        files.append(folder / f"{name}.toml")
        files[-1].write_text(text)
    return files


@pytest.fixture
def crew(tmp_path: Path, contract: Contract, broker_port: int) -> Iterator[Crew]:
    """Three cells that hear each other."""
    running = Crew(_files(tmp_path, contract, broker_port), broker_port)
    yield running
    running.close()


def test_cells_of_one_process_act_in_every_slot_and_hear_each_other(crew: Crew) -> None:
    assert crew.ready() == list(CELLS)
    for name in CELLS:
        crew.until(lambda name=name: crew.order(name, command="report")["counters"]["slots"] > 40)
        counters = crew.order(name, command="report")["counters"]
        assert counters["neighbours_heard"] == 2
        assert counters["message_ages_slots"]["1"] > counters["slots"]
        assert counters["transport"]["connections"] == 1
        assert crew.states[name][-1] == "online"
    crew.process.terminate()
    assert crew.process.wait(PATIENCE_S) == 0
    crew.until(lambda: all(states[-1] == "offline" for states in crew.states.values()))


def test_one_cell_that_is_told_to_stop_leaves_the_others(crew: Crew) -> None:
    crew.ready()
    assert crew.order("b", command="stop")["ok"]
    first = crew.order("a", command="report")["counters"]["slots"]
    crew.until(lambda: crew.order("a", command="report")["counters"]["slots"] > first + 20)
    crew.until(lambda: crew.order("a", command="report")["counters"]["neighbours_heard"] == 1)
    crew.until(lambda: crew.states["b"][-1] == "offline")
    before_s = processor_s(crew.process.pid)
    time.sleep(2)
    assert processor_s(crew.process.pid) - before_s < 1  # nobody asks its radio again and again
    assert crew.states["a"][-1] == "online"
    crew.process.send_signal(signal.SIGINT)
    assert crew.process.wait(PATIENCE_S) == 0


def processor_s(pid: int) -> float:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_reload_reaches_every_cell(crew: Crew, tmp_path: Path) -> None:
    crew.ready()
    for name in CELLS:
        file = tmp_path / f"{name}.toml"
        file.write_text(file.read_text() + "\n            [shield]\n largest_change = 3.0\n")
    crew.process.send_signal(signal.SIGHUP)
    for name in CELLS:
        crew.until(
            lambda name=name: (
                crew.order(name, command="report")["counters"]["reloads"].get("taken") == 1
            )
        )


def test_what_no_two_cells_may_share_is_told_at_once(
    tmp_path: Path, contract: Contract, broker_port: int
) -> None:
    files = _files(tmp_path, contract, broker_port, name="z", state="state")
    crew = Crew(files, broker_port)
    try:
        assert crew.process.wait(PATIENCE_S) == ExitCode.CONFIGURATION
        said = crew.log.read_text()
    finally:
        crew.close()
    assert "cell.name 'test/z': 3 cells have it" in said
    assert f"state.directory '{(tmp_path / 'state').resolve()}': 3 cells have it" in said


def test_mistakes_of_all_files_are_told_at_once(
    tmp_path: Path, contract: Contract, broker_port: int
) -> None:
    files = _files(tmp_path, contract, broker_port)
    for file in files[1:]:
        file.write_text(file.read_text().replace("slot_s = 0.05", "slot_s = -1"))
    crew = Crew(files, broker_port)
    try:
        assert crew.process.wait(PATIENCE_S) == ExitCode.CONFIGURATION
        said = crew.log.read_text()
    finally:
        crew.close()
    assert "b.toml: timing.slot_s = -1" in said
    assert "c.toml: timing.slot_s = -1" in said


def test_radios_over_mqtt_wake_the_loop(
    tmp_path: Path, contract: Contract, broker_port: int
) -> None:
    from live_cell import Drive

    from networld_runtime.bundle import load_bundle

    files = _files(tmp_path, contract, broker_port, radio="mqtt")
    crew = Crew(files, broker_port)
    try:
        crew.ready()
        with Drive(broker_port, load_bundle(tmp_path / "bundle", "power"), "b") as drive:
            assert len(drive.slots(30)) == 30
        assert crew.order("b", command="report")["counters"]["slots"] == 30
        assert crew.order("a", command="report")["counters"]["slots"] == 0
    finally:
        crew.close()


def test_a_start_that_fails_tells_of_no_lost_cell(
    tmp_path: Path, contract: Contract, broker_port: int
) -> None:
    files = _files(tmp_path, contract, broker_port)
    text = (
        files[2].read_text().replace(f"port = {broker_port}", "port = 1\nconnect_timeout_s = 1.0")
    )
    files[2].write_text(text)
    crew = Crew(files, broker_port)
    try:
        assert crew.process.wait(PATIENCE_S) == ExitCode.BROKER
        for name in CELLS:  # what the broker says of them has arrived once this has
            crew.mark(name)
        crew.until(lambda: all(states[-1:] == ["mark"] for states in crew.states.values()))
        assert all(states == ["mark"] for states in crew.states.values()), crew.states
    finally:
        crew.close()


def test_radios_of_both_kinds_take_turns_and_a_flood_makes_no_queue(contract: Contract) -> None:
    class Cell:
        stopping = False

        def __init__(self, radio: Any) -> None:
            self.radio = radio
            self.turns = 0

        def go_round(self, timeout_s: float) -> Any:
            self.turns += 1
            return self.radio.observe(timeout_s)

        serve = go_round

        def status(self) -> str:
            return ""

    class Ticking:
        due_s = 0.0

        def observe(self, timeout_s: float) -> None:
            del timeout_s
            flood()
            if quick.turns + slow.turns >= 100:
                quick.stopping = slow.stopping = True

    radio = MqttRadio(MemoryTransport(MemoryBus()), CellTopics("test", "a"), contract, None)
    slots = iter(range(1, 1 << 20))

    def flood() -> None:
        for _ in range(50):
            values = np.zeros(contract.observation_size, dtype=np.float32)
            told = ObservationMessage(0, next(slots), values, None, 0.1, None, None)
            radio.receive(encode_observation(told, contract))

    quick, slow = Cell(Ticking()), Cell(radio)
    ended: list[Any] = []
    running = RunningCrew([quick, slow], ServiceNotifier(), ended.append)  # type: ignore[list-item]
    running.run()
    assert quick in ended
    assert running._arrived.qsize() <= 5
    assert quick.turns > 20
    assert slow.turns > 20
