"""The real command with a broker: bundles come and go, and the cell acts in every slot."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from store_cell import StoreCell

from networld_runtime.adaptation import save_adapter
from networld_runtime.bundle import load_bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.radio_codec import ObservationMessage, decode_action, encode_observation
from networld_runtime.store import activation

PATIENCE_S = 60.0
COMMAND = (sys.executable, "-m", "networld_runtime.cli")
TOPICS = CellTopics("test", "a")


class Running:
    """A cell's process, and the radio that it acts for."""

    def __init__(self, cell: StoreCell, port: int) -> None:
        self.cell = cell
        self.reports: list[dict[str, Any]] = []
        self.births: list[str] = []
        self.slot = 0
        self._actions: queue.Queue[int] = queue.Queue()
        self._radio = MqttTransport(BrokerConfig(port=port), "radio")
        self._radio.subscribe(
            {
                TOPICS.action: self._hear_action,
                TOPICS.report: lambda data: self.reports.append(json.loads(data)),
                TOPICS.birth: lambda data: self.births.append(json.loads(data)["bundle"]),
            },
            reliable=True,
        )
        self._radio.connect()
        self._processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        """Start the cell and wait until it is ready."""
        process = subprocess.Popen(
            [*COMMAND, "run", "--config", str(self.cell.config_file)],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        assert '"ready"' in process.stdout.readline()

    def end(self, number: int) -> int:
        """Send the cell a signal and return how it ended."""
        self._processes[-1].send_signal(number)
        return self._processes[-1].wait(PATIENCE_S)

    def act(self, value: float = 1.0) -> None:
        """Go through a slot; the cell must act in it."""
        self.slot += 1
        values = np.full(6, value, dtype=np.float32)
        message = ObservationMessage(0, self.slot, values, 1.0, 30.0)
        self._radio.publish(TOPICS.observation, encode_observation(message, self.cell.contract))
        while self._actions.get(timeout=PATIENCE_S) != self.slot:
            pass

    def act_until(self, event: str, value: float = 1.0) -> dict[str, Any]:
        """Go through slots until the cell reports what happened to its bundle."""
        deadline_s = time.monotonic() + PATIENCE_S
        seen = len(self.reports)
        while time.monotonic() < deadline_s:
            self.act(value)
            for report in self.reports[seen:]:
                if report.get("event") == event:
                    return report
            time.sleep(0.002)
        raise TimeoutError(f"{event}: {self.reports}")

    def counters(self) -> dict[str, Any]:
        """Ask the cell for its counters."""
        seen = len(self.reports)
        self._radio.publish(TOPICS.command, b'{"command": "report"}', reliable=True)
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            for report in self.reports[seen:]:
                if report["report"] == "report":
                    return dict(report["counters"])
            time.sleep(0.01)
        raise TimeoutError("no counters")

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._radio.close()

    def _hear_action(self, data: bytes) -> None:
        self._actions.put(decode_action(data, self.cell.contract).slot)


@contextmanager
def running(cell: StoreCell, port: int) -> Iterator[Running]:
    with cell.config_file.open("a") as file:
        file.write(f"[broker]\nport = {port}\n")
    (cell.folder / "state").mkdir()
    run = Running(cell, port)
    try:
        yield run
    finally:
        run.close()


def command(cell: StoreCell, *words: str) -> None:
    subprocess.run(
        [*COMMAND, "bundle", *words, "--config", str(cell.config_file)],
        check=True,
        timeout=PATIENCE_S,
    )


@pytest.mark.slow
def test_bundles_change_between_slots_and_a_bad_one_is_taken_back(
    cell: StoreCell, broker_port: int
) -> None:
    first = cell.use(1)
    with running(cell, broker_port) as run:
        run.start()
        for _ in range(20):
            run.act()
        command(cell, "install", str(cell.bundle(2)))
        second = next(one for one in cell.store.installed() if one != first)
        command(cell, "activate", second)
        assert run.act_until("activated")["running"] == second
        run.act_until("committed")
        assert run.births[-1] == second
        assert cell.record.previous == first
        assert not cell.record.on_probation

        command(cell, "install", str(cell.bundle(3, illness="nan")))
        third = next(one for one in cell.store.installed() if one not in (first, second))
        command(cell, "activate", third)
        run.act_until("activated")
        report = run.act_until("taken back", value=-1.0)
        assert report["problem"].startswith("failed its probation: 3 bad slots of ")
        assert (report["bundle"], report["running"]) == (third, second)
        for _ in range(20):
            run.act(-1.0)
        assert cell.record.current == second
        assert run.births[-1] == second
        assert run.end(signal.SIGTERM) == 0


@pytest.mark.slow
def test_an_adapter_belongs_to_one_bundle(cell: StoreCell, broker_port: int) -> None:
    first = cell.use(1)
    second = cell.install(cell.bundle(2))
    with running(cell, broker_port) as run:
        bundle = load_bundle(cell.store.folder(first), "power")
        adapter = np.full(bundle.adapter_size, 0.1, dtype=np.float32)
        save_adapter(cell.folder / "state" / "adapter.safetensors", adapter, bundle)
        run.start()
        run.act()
        counters = run.counters()
        assert (counters["adapted"], counters["bundle"]) == (True, first)
        assert counters["bundle_state"] == "proven"
        cell.activate(second)
        run.act_until("activated")
        counters = run.counters()
        assert (counters["adapted"], counters["bundle"]) == (False, second)
        assert counters["bundle_state"] == "probation"
        activation.roll_back(cell.store, cell.keys)
        run.act_until("activated")
        counters = run.counters()
        assert (counters["adapted"], counters["bundle"]) == (True, first)
        assert counters["slots"] == run.slot


@pytest.mark.slow
def test_a_bundle_that_brings_the_process_down_is_taken_back_at_the_fourth_start(
    cell: StoreCell, broker_port: int
) -> None:
    first, second = cell.use(1), cell.use(2, proven=False)
    with running(cell, broker_port) as run:
        run.start()
        run.act()
        assert run.end(signal.SIGTERM) == 0
        assert cell.record.starts == 0  # ended well
        for number in (1, 2, 3):
            run.start()
            run.act()
            assert run.end(signal.SIGKILL) == -signal.SIGKILL
            assert cell.record.starts == number
        run.start()
        run.act()
        assert cell.record.current == first
        assert cell.record.failed == {second: "3 starts in a row ended badly"}


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.05, 0.1, 0.2, 0.4])
def test_a_cell_that_is_killed_while_it_changes_its_bundle_starts_again(
    cell: StoreCell, broker_port: int, delay_s: float
) -> None:
    first = cell.use(1)
    second = cell.install(cell.bundle(2))
    with running(cell, broker_port) as run:
        run.start()
        run.act()
        cell.activate(second)
        time.sleep(delay_s)
        assert run.end(signal.SIGKILL) == -signal.SIGKILL
        run.start()
        run.act()
        run.act_until("committed")
        assert cell.record.current == second
        assert cell.record.previous == first
        activation.load(cell.store, second, cell.keys, cell.build)


def test_no_broker_is_no_fault_of_the_bundle(cell: StoreCell, free_port: int) -> None:
    cell.use(1)
    cell.use(2, proven=False)
    with cell.config_file.open("a") as file:
        file.write(f"[broker]\nport = {free_port}\nconnect_timeout_s = 0.2\n")
    (cell.folder / "state").mkdir()
    for _ in range(4):
        done = subprocess.run(
            [*COMMAND, "run", "--config", str(cell.config_file)],
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 5
    assert cell.record.starts == 0
