"""The demonstration as a user runs it: results, and nothing left behind, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from networld_training.demo.scenes.registry import SCENES
from networld_training.tasks.registry import TASKS

SHIPPED = Path(__file__).parents[3] / "bundles" / "networld"
CELLS, EPISODES, SLOTS = 7, 2, 10
SEED = "0"  # on many drops as short as these the expert is no better than random
CELL_PROGRAM, BROKER_PROGRAM = "networld_runtime.cli", "networld_training.demo"
KEYS = {
    *("task", "cells", "slots", "episodes", "seed", "scenario", "broker", "score", "kpis"),
    *("messages", "plan_ms", "deadline_missed", "adaptation"),
}

pytestmark = pytest.mark.slow


@dataclass
class Run:
    """A demonstration in its own process, its files in `folder`."""

    process: subprocess.Popen[str]
    folder: Path

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def cells(self) -> list[psutil.Process]:
        return [one for one in self.descendants() if CELL_PROGRAM in one.cmdline()]

    def wait_for_output(self, text: str) -> None:
        """Read lines until one holds `text`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return
        pytest.fail(f"{text!r} never came; {self.rest()}")

    def rest(self) -> str:
        """Wait for the end and return what was not read yet."""
        output, errors = self.process.communicate(timeout=120)
        return output + errors


@contextmanager
def demonstration(bundle: Path, folder: Path, *more: str) -> Iterator[Run]:
    """Start the command; at the end nothing that it started may be left."""
    command = [sys.executable, "-m", "networld_training.cli", "demo", "--bundle", str(bundle)]
    command += ["--episodes", str(EPISODES), "--support-episodes", "1", "--slots", str(SLOTS)]
    command += ["--slot-ms", "150", "--seed", SEED, "--json", str(folder / "result.json")]
    command += ["--picture", str(folder / "demo.png"), "--work", str(folder / "work"), *more]
    # A job in the background is born deaf to Ctrl-C, and its children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield Run(process, folder)
    finally:
        process.kill()
        process.communicate()


def broker_port(folder: Path) -> int:
    line = next(
        line
        for line in (folder / "work" / "cell-0" / "cell.toml").read_text().splitlines()
        if line.startswith("port = ")
    )
    return int(line.removeprefix("port = "))


def assert_nothing_left(left: list[psutil.Process], folder: Path) -> None:
    assert psutil.wait_procs(left, timeout=10)[1] == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", broker_port(folder)), timeout=5)


def test_drops_without_a_score_are_refused_before_the_cells_start(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    with demonstration(tiny_bundle, tmp_path, "--seed", "4") as run:
        output = run.rest()
    assert run.process.returncode == 6
    assert "on these 2 episodes the expert wmmse-pf is no better than random" in output
    assert "cells start" not in output


@pytest.mark.parametrize("task", SCENES)
def test_whole_demonstration(task: str, tmp_path: Path) -> None:
    with demonstration(SHIPPED, tmp_path, "--task", task) as run:
        run.wait_for_output("before adaptation")
        started = run.descendants()
        assert len(run.cells()) == CELLS
        output = run.rest()
        assert run.process.returncode == 0, output
    assert "7 live cells" in output
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((tmp_path / "result.json").read_text())
    assert set(data) >= KEYS
    entry = TASKS[task]
    policies, metrics = {"networld", "networld-base", *entry.heuristics}, entry.spec.kpis
    assert set(data["score"]) == set(data["kpis"]) == policies
    assert all(set(kpis) == {kpi.name for kpi in metrics} for kpis in data["kpis"].values())
    assert data["score"]["random"] == pytest.approx(0, abs=1e-9)
    assert data["score"][entry.spec.expert] == pytest.approx(100)
    messages = data["messages"]
    # A cell that is late skips an observation, so a slow machine sends a few less.
    assert messages["sent"] > 0.8 * CELLS * SLOTS * (2 * EPISODES + 1)
    assert messages["expected"] == 6 * messages["sent"]
    assert messages["received"] > 0.99 * messages["expected"]
    assert messages["payload_bytes"]["max"] <= 37
    assert 0 < data["plan_ms"]["p50"] <= data["plan_ms"]["p99"]
    assert data["adaptation"]["accepted"] == 0  # too few slots to learn from
    assert data["lost_cells"] == {}
    assert_nothing_left(started, tmp_path)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)],
    ids=["ctrl-c", "terminated", "killed"],
)
def test_ending_early_leaves_nothing(
    number: signal.Signals, exit_code: int, tiny_bundle: Path, tmp_path: Path
) -> None:
    with demonstration(tiny_bundle, tmp_path, "--slots", "1000") as run:
        run.wait_for_output("before adaptation")
        time.sleep(0.5)  # into the slots
        started = run.descendants()
        assert len(started) > CELLS
        os.kill(run.process.pid, number)  # this process only, not those that it started
        output = run.rest()
        assert run.process.returncode == exit_code
    assert "Traceback" not in output
    assert not (tmp_path / "result.json").exists()
    assert_nothing_left(started, tmp_path)


def test_killed_cell_does_not_stop_the_others(tiny_bundle: Path, tmp_path: Path) -> None:
    with demonstration(tiny_bundle, tmp_path, "--episodes", "1") as run:
        run.wait_for_output("before adaptation")
        victim = next(one for one in run.cells() if "cell-3" in " ".join(one.cmdline()))
        started = run.descendants()
        victim.kill()
        output = run.rest()
        assert run.process.returncode == 1
    assert "cell-3 was killed by signal 9; the others go on" in output
    assert "6 of 7 live cells" in output
    assert "networld: demo: cell-3 was killed by signal 9; the other 6 cells went on" in output
    assert "Traceback" not in output
    data = json.loads((tmp_path / "result.json").read_text())
    assert data["lost_cells"] == {"cell-3": "was killed by signal 9"}
    assert_nothing_left(started, tmp_path)


def test_lost_broker_ends_the_demonstration(tiny_bundle: Path, tmp_path: Path) -> None:
    with demonstration(tiny_bundle, tmp_path, "--slots", "1000") as run:
        run.wait_for_output("before adaptation")
        started = run.descendants()
        broker = next(one for one in started if BROKER_PROGRAM in " ".join(one.cmdline()))
        broker.kill()
        output = run.rest()
        assert run.process.returncode == 5
    assert "networld: broker: ended with exit code -9" in output
    assert_nothing_left(started, tmp_path)


def test_unreachable_broker(tiny_bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"mqtt://127.0.0.1:{probe.getsockname()[1]}"
    with demonstration(tiny_bundle, tmp_path, "--broker", url) as run:
        output = run.rest()
        assert run.process.returncode == 5
    assert "cannot connect" in output
    assert "Traceback" not in output


def test_missing_bundle(tmp_path: Path) -> None:
    with demonstration(tmp_path / "nowhere", tmp_path) as run:
        output = run.rest()
        assert run.process.returncode == 4
    assert "no manifest.json found" in output


def test_cell_that_does_not_start_is_explained(tiny_bundle: Path, tmp_path: Path) -> None:
    state = tmp_path / "work" / "cell-4" / "state"
    state.parent.mkdir(parents=True)
    state.write_text("a file where a folder should be")
    with demonstration(tiny_bundle, tmp_path) as run:
        output = run.rest()
        assert run.process.returncode == 1
    assert "networld: cell-4: ended with exit code" in output
    assert "state" in output
