"""A cell for ten minutes at 20 ms slots, with adaptations: slots, memory, threads, files, log.

    .venv/bin/python benchmarks/soak.py --minutes 10 --json docs/soak.json

One real process with the shipped bundle, a real broker, and a radio that keeps the time here. Two
neighbours tell nothing: what is measured is the cell.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.bench.machine import describe_machine
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.files import write_atomically
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.radio_codec import ObservationMessage, encode_observation
from networld_training.demo.brokers import open_broker
from networld_training.progress import reporting

BUNDLE = Path(__file__).parents[1] / "bundles" / "networld"
TASK, NEIGHBOURS = "power", 2
SETTLED_SHARE = 0.3
"""Memory counts from here on: what fills up once (experience, rings, caches) is full by then."""
CONFIG = """
[cell]
site = "soak"
name = "cell-0"
task = "{task}"
neighbours = ["cell-1", "cell-2"]
[bundle]
path = "{bundle}"
[broker]
port = {port}
[adaptation]
capacity_slots = 2048
gather_s = 0.5
[state]
directory = "state"
"""


@dataclass
class Soak:
    """What a run found.

    Attributes:
        minutes: How long it took.
        slot_ms: Length of a slot.
        slots: Slots that the radio began.
        answered: Actions that came before their slot ended.
        deadlines_missed: By the cell's own count.
        adaptations: Those that have ended, by what became of them.
        memory_mb: Memory at the end, resident.
        memory_slope_mb_per_hour: Of a line through memory over time, once it has settled.
        threads: Fewest and most.
        files: Fewest and most open files and sockets.
        log_bytes: Of all that the cell wrote to its log.
        latency_p50_ms: From an observation to its action, at the radio.
        latency_p99_ms: 99th percentile.
        machine: Where.
    """

    minutes: float
    slot_ms: float
    slots: int = 0
    answered: int = 0
    deadlines_missed: int = 0
    adaptations: dict[str, int] = field(default_factory=dict)
    memory_mb: float = 0.0
    memory_slope_mb_per_hour: float = 0.0
    threads: tuple[int, int] = (0, 0)
    files: tuple[int, int] = (0, 0)
    log_bytes: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    machine: dict[str, Any] = field(default_factory=dict)


class Radio:
    """Begins slots by the clock, whatever the cell does, and notes when actions came."""

    def __init__(self, port: int, bundle: Bundle) -> None:
        self.latencies_s: list[float] = []
        self.reports: queue.Queue[dict[str, Any]] = queue.Queue()
        self._contract = bundle.contract
        self._topics = CellTopics("soak", "cell-0")
        self._random = np.random.default_rng(0)
        self._coupling = (NEIGHBOURS, bundle.couplings)
        self._begun_s = 0.0
        self._acted = threading.Event()
        self._transport = MqttTransport(BrokerConfig(port=port), "soak")
        self._transport.subscribe({self._topics.action: self._receive})
        report = {self._topics.report: lambda payload: self.reports.put(json.loads(payload))}
        self._transport.subscribe(report, reliable=True)
        self._transport.connect()

    def slot(self, number: int, slot_s: float) -> None:
        """Begin a slot."""
        low, high = (
            np.array([getattr(one, end) for one in self._contract.features], np.float32)
            for end in ("low", "high")
        )
        values = self._random.uniform(low, high).astype(np.float32)
        coupling = self._random.exponential(0.1, self._coupling).astype(np.float32)
        message = ObservationMessage(0, number, values, 1.0, slot_s, None, coupling)
        payload = encode_observation(message, self._contract)
        self._acted.clear()
        self._begun_s = time.monotonic()
        self._transport.publish(self._topics.observation, payload)

    def order(self, name: str) -> None:
        """Send an order; the report comes when it comes."""
        payload = json.dumps({"command": name}).encode()
        self._transport.publish(self._topics.command, payload, reliable=True)

    def close(self) -> None:
        """Leave."""
        self._transport.close()

    def _receive(self, payload: bytes) -> None:
        del payload
        if not self._acted.is_set():
            self.latencies_s.append(time.monotonic() - self._begun_s)
            self._acted.set()


def main() -> int:
    """Run; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--slot-ms", type=float, default=20.0)
    parser.add_argument("--json", type=Path, help="where the figures go")
    options = parser.parse_args()
    soak = run(options.minutes, options.slot_ms / 1000)
    for name, value in asdict(soak).items():
        if name != "machine":
            print(f"{name}: {value}")
    if options.json is not None:
        write_atomically(options.json, (json.dumps(asdict(soak), indent=1) + "\n").encode())
    return 0


def run(minutes: float, slot_s: float) -> Soak:
    """Let a cell run and return what was seen."""
    bundle = load_bundle(BUNDLE, TASK)
    soak = Soak(minutes, 1000 * slot_s, machine=asdict(describe_machine()))
    with tempfile.TemporaryDirectory() as text, open_broker("embedded", Path(text)) as broker:
        folder = Path(text)
        config = folder / "cell.toml"
        config.write_text(CONFIG.format(task=TASK, bundle=BUNDLE, port=broker.port))
        command = [sys.executable, "-m", "networld_runtime.cli", "run", "--config", str(config)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while "ready" not in (folder / "log").read_text():
                if process.poll() is not None:
                    raise SystemExit((folder / "log").read_text())
                time.sleep(0.1)
            _soak(soak, Radio(broker.port, bundle), process.pid, slot_s)
        finally:
            process.terminate()
            process.wait(30)
        soak.log_bytes = (folder / "log").stat().st_size
    return soak


def _soak(soak: Soak, radio: Radio, process: int, slot_s: float) -> None:
    total = round(60 * soak.minutes / slot_s)
    adapt_every = max(total // 5, 1)
    watched: list[tuple[float, float, int, int]] = []
    begin_s = time.monotonic()
    with reporting("soak", total) as progress:
        for slot in range(total):
            radio.slot(slot, slot_s)
            if slot % adapt_every == adapt_every // 2:
                radio.order("adapt")
            if slot % 50 == 0:
                watched.append((time.monotonic() - begin_s, *_seen(process)))
                progress.update(slot)
            time.sleep(max(begin_s + (slot + 1) * slot_s - time.monotonic(), 0))
    radio.order("report")
    counters = _counters(radio)
    radio.close()
    seconds, memory, threads, files = map(np.array, zip(*watched, strict=True))
    settled = seconds >= SETTLED_SHARE * seconds[-1]
    soak.slots = total
    soak.answered = sum(latency_s <= slot_s for latency_s in radio.latencies_s)
    soak.deadlines_missed = counters["deadlines_missed"]
    soak.adaptations = counters["adaptations"]
    soak.memory_mb = round(float(memory[-1]), 2)
    slope = np.polyfit(seconds[settled], memory[settled], 1)[0]
    soak.memory_slope_mb_per_hour = round(3600 * float(slope), 3)
    soak.threads = int(threads.min()), int(threads.max())
    soak.files = int(files.min()), int(files.max())
    p50_s, p99_s = np.percentile(radio.latencies_s, [50, 99])
    soak.latency_p50_ms, soak.latency_p99_ms = round(1000 * p50_s, 3), round(1000 * p99_s, 3)


def _seen(process: int) -> tuple[float, int, int]:
    """Return resident memory in MB, threads and open files of a process."""
    folder = Path("/proc") / str(process)
    lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    memory_mb = int(lines["VmRSS"].split()[0]) * 1024 / 1e6
    return memory_mb, int(lines["Threads"]), len(os.listdir(folder / "fd"))


def _counters(radio: Radio) -> dict[str, Any]:
    while True:
        report = radio.reports.get(timeout=60)
        if report["report"] == "report":
            return dict(report["counters"])


if __name__ == "__main__":
    sys.exit(main())
