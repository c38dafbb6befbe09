"""Faults of a running cell: a real process, broker and model, which is really sick; it acts in every slot."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_cell import Drive, LiveCell, live_cell
from tiny_bundles import make_bundle

from networld_runtime.bundle import load_bundle
from networld_runtime.contract import Contract
from networld_runtime.ladder import MOST_FAILURES, PATIENCE

WELL, SICK = 20.0, -20.0
TIME_FOR_ALL_S = 0.5
CONFIG = """
[cell]
site = "test"
name = "a"
task = "power"
neighbours = ["b", "c"]
[bundle]
path = "bundle"
[broker]
port = {port}
[state]
directory = "state"
"""


@contextmanager
def a_cell(
    folder: Path, port: int, contract: Contract, illness: str = ""
) -> Iterator[tuple[LiveCell, Drive]]:
    """Start a cell with a bundle of its own, and the radio that drives it."""
    make_bundle(folder / "bundle", contract, illness=illness)
    config = folder / "cell.toml"
    config.write_text(CONFIG.format(port=port))
    bundle = load_bundle(folder / "bundle", "power")
    with live_cell(config) as cell, Drive(port, bundle, "a") as drive:
        yield cell, drive


def counters(drive: Drive) -> dict[str, Any]:
    found: dict[str, Any] = drive.order("report")["counters"]
    return found


@pytest.mark.parametrize(
    ("illness", "reason"), [("nan", "plan_not_finite"), ("raises", "plan_raised")]
)
def test_a_sick_model_gives_way_and_comes_back(
    tmp_path: Path, broker_port: int, contract: Contract, illness: str, reason: str
) -> None:
    with a_cell(tmp_path, broker_port, contract, illness) as (_, drive):
        (well,) = drive.slots(1, WELL)
        sick = drive.slots(10, SICK)
        assert sick[:3] == [well] * 3  # held as it was
        found = counters(drive)
        assert found["slots"] == 11
        assert found["model_failures"] == {reason: MOST_FAILURES}
        assert found["ladder"] == {
            "level": 1,
            "rung": "hold",
            "reason": reason,
            "slots": {"policy": 1, "hold": 10},
        }
        drive.slots(PATIENCE, WELL)
        assert drive.slots(1, WELL) == [well]
        found = counters(drive)
        assert (found["ladder"]["level"], found["ladder"]["reason"]) == (0, "")
        assert sum(found["ladder"]["slots"].values()) == found["slots"] == 12 + PATIENCE


def test_a_model_that_takes_seconds_is_ended_in_time(
    tmp_path: Path, broker_port: int, contract: Contract
) -> None:
    with a_cell(tmp_path, broker_port, contract, "slow") as (_, drive):
        drive.slots(2, WELL)
        begin_s = time.monotonic()
        assert len(drive.slots(MOST_FAILURES, SICK, TIME_FOR_ALL_S)) == MOST_FAILURES
        found = counters(drive)
        assert found["model_failures"] == {"plan_late": MOST_FAILURES}
        assert found["ladder"]["reason"] == "plan_late"
        assert time.monotonic() - begin_s < 30  # each alone would take as long or longer


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 1e9])
def test_observations_that_are_no_measurement(
    tmp_path: Path, broker_port: int, contract: Contract, value: float
) -> None:
    with a_cell(tmp_path, broker_port, contract) as (_, drive):
        (well,) = drive.slots(1)
        answers = drive.slots(3, value)
        found = counters(drive)
        assert found["slots"] == 4
        if value == 1e9:  # out of range is clipped, as in training
            assert found["model_failures"] == {}
        else:
            assert answers == [well] * 3
            assert found["model_failures"] == {"observation_not_finite": 3}
            assert found["ladder"]["level"] == 0  # the model is not to blame
            assert found["experience_slots"] == 0


def test_a_process_that_stood_still_goes_on(
    tmp_path: Path, broker_port: int, contract: Contract
) -> None:
    with a_cell(tmp_path, broker_port, contract) as (cell, drive):
        (well,) = drive.slots(1)
        cell.process.send_signal(signal.SIGSTOP)
        time.sleep(1)
        cell.process.send_signal(signal.SIGCONT)
        assert drive.slots(3) == [well] * 3
        assert counters(drive)["model_failures"] == {}


def test_the_loop_looks_at_no_wall_clock() -> None:
    """It may jump: only the number of a boot and lines of the log are taken from it."""
    source = Path(__file__).parents[2] / "runtime" / "networld_runtime"
    wall = ("time.time(", "time.time_ns(", "datetime.now(", "datetime.today(", "utcnow(")
    users = {
        path.name for path in source.rglob("*.py") if any(call in path.read_text() for call in wall)
    }
    assert users <= {"realtime.py", "log_lines.py"}


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.chmod(0o500)
    try:
        yield
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_folder_that_became_read_only(
    tmp_path: Path, broker_port: int, contract: Contract
) -> None:
    with a_cell(tmp_path, broker_port, contract) as (_, drive):
        drive.slots(3)
        with read_only(tmp_path / "state"):
            drive.slots(3)
            assert drive.order("base")["ok"]


def test_a_state_folder_that_is_gone(tmp_path: Path, broker_port: int, contract: Contract) -> None:
    """As good as a full disk or a read-only one: nothing can be written any more."""
    with a_cell(tmp_path, broker_port, contract) as (cell, drive):
        *_, well = drive.slots(5)
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").write_text("no folder")
        drive.slot = 0  # the radio begins again, and a new boot number cannot be written down
        assert drive.slots(3) == [well] * 3
        report = drive.order("adapt")
        assert report["ok"] is False
        assert drive.slots(2) == [well] * 2
        assert cell.end() == 0


def test_a_folder_that_cannot_be_written_at_the_start_is_a_clear_error(
    tmp_path: Path, contract: Contract
) -> None:
    make_bundle(tmp_path / "bundle", contract)
    (tmp_path / "cell.toml").write_text(CONFIG.format(port=1))
    (tmp_path / "state").write_text("no folder")
    command = [sys.executable, "-m", "networld_runtime.cli", "run"]
    done = subprocess.run(
        [*command, "--config", str(tmp_path / "cell.toml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "state" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_killed_at_any_moment_it_starts_again(
    tmp_path: Path, broker_port: int, contract: Contract
) -> None:
    make_bundle(tmp_path / "bundle", contract)
    config = tmp_path / "cell.toml"
    config.write_text(CONFIG.format(port=broker_port))
    bundle = load_bundle(tmp_path / "bundle", "power")
    actions = []
    for slots in (0, 1, 3):
        with live_cell(config) as cell, Drive(broker_port, bundle, "a") as drive:
            actions += drive.slots(1 + slots)
            cell.process.kill()
    assert len({tuple(action) for action in actions}) == 1
