"""A cell as its own process, as a service manager would start it, and the radio that drives it over MQTT."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.bundle import Bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.radio_codec import ObservationMessage, decode_action, encode_observation

SHIPPED = Path(__file__).parents[3] / "bundles" / "networld"
PATIENCE_S = 60.0


@dataclass
class LiveCell:
    """The process of a cell that is ready; its log is a file."""

    process: subprocess.Popen[str]
    log: Path

    def reload(self) -> None:
        """Send SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until its log holds a text a number of times."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self.log.read_text().count(text) < times:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.02)

    def end(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@contextmanager
def live_cell(
    config: Path, *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[LiveCell]:
    """Start a cell and wait until it says that it is ready; at the end nothing of it is left."""
    command = [sys.executable, "-m", "networld_runtime.cli", "run", "--config", str(config)]
    command.append("--set=log.format=text")  # on standard error, as it is read
    log = config.with_name(f"{config.name}.log")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **(environment or {})},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            assert json.loads(line)["event"] == "ready"
            yield LiveCell(process, log)
        finally:
            process.kill()


class Drive:
    """The radio's side of a broker: sends a cell observations, and takes its actions and reports."""

    def __init__(self, port: int, bundle: Bundle, cell: str) -> None:
        self.slot = 0
        self._bundle = bundle
        self._topics = CellTopics("test", cell)
        self._actions: queue.Queue[bytes] = queue.Queue()
        self._reports: queue.Queue[bytes] = queue.Queue()
        self._transport = MqttTransport(BrokerConfig(port=port), f"drive-{cell}")
        self._transport.subscribe({self._topics.action: self._actions.put})
        self._transport.subscribe({self._topics.report: self._reports.put}, reliable=True)

    def __enter__(self) -> Drive:
        self._transport.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def slots(
        self, count: int, value: float | None = None, answer_s: float = 60.0
    ) -> list[list[float]]:
        """Go through some slots with the same observation in each; return the actions.

        Args:
            count: Slots.
            value: What every feature is; None for the middle of its range.
            answer_s: Seconds within which an action counts.
        """
        contract = self._bundle.contract
        middle = np.array([(one.low + one.high) / 2 for one in contract.features], np.float32)
        values = middle if value is None else np.full_like(middle, value)
        answers = []
        for _ in range(count):
            self.slot += 1
            message = ObservationMessage(0, self.slot, values, 1.0, answer_s)
            self._transport.publish(self._topics.observation, encode_observation(message, contract))
            answer = decode_action(self._actions.get(timeout=PATIENCE_S), contract)
            assert answer.slot == self.slot
            answers.append(answer.action.tolist())
        return answers

    def order(self, name: str) -> dict[str, Any]:
        """Send an order and return the report that answers it."""
        payload = json.dumps({"command": name}).encode()
        self._transport.publish(self._topics.command, payload, reliable=True)
        report: dict[str, Any] = json.loads(self._reports.get(timeout=PATIENCE_S))
        return report
