"""Steps per second of every task beside mobile-env, in one run. Run `make bench-simulator`.

Every contender has a process of its own (two of them where two cores are used), which waits until it is
asked. In each round all are measured in turn, the peer after each of ours, so that a busy moment of the
machine hits both. The table shows medians over the rounds and what lies between the quartiles.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from speed_report import SPEEDS, Speed, write_report
from speed_worker import PEER, USERS_PER_CELL, allowed, fixed_action, make_task

from networld_training.tasks.registry import TASKS

WORKER = Path(__file__).with_name("speed_worker.py")
ROUNDS = 5
OUR_SECONDS = 0.25
PEER_SECONDS = 0.4
COPIES = (1, 16, 64, 256)
LARGER_CELLS = (19, 61)
COPIES_OF_LARGER = 16
COPIES_IN_TWO_PROCESSES = 64
STATIONS, USERS_OF_PEER = 7, 15  # of mobile-medium-central-v0


@dataclass
class Contender:
    """A simulator in one or two processes, and what was measured of it in each round."""

    settings: dict[str, Any]
    processes: int
    workers: list[subprocess.Popen[str]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    memory_mib: float = 0.0

    @property
    def name(self) -> str:
        """Name of the simulator, with the actions of the peer."""
        actions = f" ({self.settings['actions']})" if "actions" in self.settings else ""
        return str(self.settings["simulator"]) + actions

    def start(self) -> None:
        """Start the processes; `wait` until they are ready."""
        command = [sys.executable, str(WORKER), json.dumps(self.settings)]
        self.workers = [
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for _ in range(self.processes)
        ]

    def wait(self) -> None:
        """Wait until all processes have warmed up."""
        for worker in self.workers:
            _answer(worker)

    def measure(self, seconds: float) -> None:
        """Let all processes step at once for this time."""
        for worker in self.workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{seconds}\n")
            worker.stdin.flush()
        answers = [_answer(worker) for worker in self.workers]
        self.rates.append(sum(answer["steps_per_s"] for answer in answers))
        self.memory_mib = sum(answer["memory_mib"] for answer in answers)

    def stop(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.kill()
            worker.communicate()


def _answer(worker: subprocess.Popen[str]) -> Any:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"a worker ended with exit code {worker.wait()}: {worker.args!r}")
    return json.loads(line)


def our_contenders() -> Iterator[Contender]:
    for task in TASKS:
        sizes = [(STATIONS, copies, 1) for copies in COPIES]
        sizes += [(cells, COPIES_OF_LARGER, 1) for cells in LARGER_CELLS]
        sizes += [(STATIONS, COPIES_IN_TWO_PROCESSES, 2)]
        for cells, copies, processes in sizes:
            settings = {"simulator": task, "cells": cells, "episodes": copies}
            yield Contender(settings, processes)


def peer_contenders() -> list[Contender]:
    """Return mobile-env with random actions and with none, on one core and on two, if installed."""
    if find_spec("mobile_env") is None:
        return []
    return [
        Contender({"simulator": PEER, "actions": actions}, processes)
        for processes in (1, 2)
        for actions in ("random", "none")
    ]


def speed_of(contender: Contender) -> Speed:
    low, middle, high = np.percentile(contender.rates, [25, 50, 75])
    cells = contender.settings.get("cells", STATIONS)
    ours = contender.settings["simulator"] != PEER
    return Speed(
        simulator=contender.name,
        peer=not ours,
        cells=cells,
        users=cells * USERS_PER_CELL if ours else USERS_OF_PEER,
        environments=contender.settings.get("episodes", 1) * contender.processes,
        processes=contender.processes,
        steps_per_s=float(middle),
        steps_per_s_q1=float(low),
        steps_per_s_q3=float(high),
        memory_mib=contender.memory_mib,
    )


def with_ratios(ours: Sequence[Speed], peers: Sequence[Speed]) -> list[Speed]:
    """Return our speeds with their ratio to the fastest peer on as many processes."""
    fastest: dict[int, float] = {}
    for peer in peers:
        fastest[peer.processes] = max(peer.steps_per_s, fastest.get(peer.processes, 0.0))
    return [
        speed.over(fastest[speed.processes]) if speed.processes in fastest else speed
        for speed in ours
    ]


@pytest.fixture(scope="session")
def speeds(request: pytest.FixtureRequest) -> list[Speed]:
    """Measure everything once, and keep it for the table at the end of the run."""
    load = os.getloadavg()[0]
    ours, peers = list(our_contenders()), peer_contenders()
    contenders = [*ours, *peers]
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        for contender in contenders:
            stack.callback(contender.stop)
            contender.start()
        list(pool.map(Contender.wait, contenders))
        for _ in range(ROUNDS):
            for index, contender in enumerate(ours):
                contender.measure(OUR_SECONDS)
                if peers:
                    peers[index % len(peers)].measure(PEER_SECONDS)
    peer_speeds = [speed_of(contender) for contender in peers]
    measured = [
        *with_ratios([speed_of(contender) for contender in ours], peer_speeds),
        *peer_speeds,
    ]
    request.config.stash[SPEEDS] = measured
    folder = Path(request.config.getoption("--speed-folder"))
    write_report(measured, ROUNDS, load, folder)
    return measured


@pytest.mark.parametrize("task", TASKS)
def test_every_size_was_measured(speeds: list[Speed], task: str) -> None:
    rows = [speed for speed in speeds if speed.simulator == task]
    assert len(rows) == len(COPIES) + len(LARGER_CELLS) + 1
    assert all(row.steps_per_s > 0 and row.memory_mib > 0 for row in rows)


@pytest.mark.parametrize("task", TASKS)
def test_step(benchmark: BenchmarkFixture, task: str) -> None:
    """A step of 16 environments, without resets."""
    episodes = make_task(task, cells=STATIONS, episodes=16)
    action = fixed_action(episodes)

    def reset_when_over() -> None:
        if not hasattr(episodes, "observation") or episodes.slot >= episodes.network.slots:
            episodes.reset()

    def step() -> None:
        episodes.step(allowed(episodes, action))

    timed = benchmark.pedantic  # shipped without types
    timed(step, setup=reset_when_over, rounds=300, warmup_rounds=20)  # type: ignore[no-untyped-call]
