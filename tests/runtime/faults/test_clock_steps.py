"""A cell whose wall clock is an hour ahead and then steps back: nothing changes, and its epochs still grow.

The cells are real processes; the one with the wrong clock reads how wrong it is from a file at every call.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from brokers import Mosquitto
from live_cell import Drive, live_cell
from mesh_watch import Watch
from tiny_bundles import make_bundle

from networld_runtime.bundle import load_bundle
from networld_runtime.contract import Contract

HOUR_S = 3600
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
[timing]
slot_s = 3.0
"""
WRONG_CLOCK = """
import os, time

right, right_ns = time.time, time.time_ns

def ahead_s():
    with open(os.environ["WRONG_CLOCK"]) as file:
        return int(file.read())

time.time = lambda: right() + ahead_s()
time.time_ns = lambda: right_ns() + 1_000_000_000 * ahead_s()
"""


@pytest.fixture
def wrong_clock(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The file that says how many seconds a clock is ahead, and the environment that has it obeyed."""
    code = tmp_path / "clock"
    code.mkdir()
    (code / "sitecustomize.py").write_text(WRONG_CLOCK)  # read by every Python before anything else
    file = tmp_path / "ahead_s"
    file.write_text(str(HOUR_S))
    path = os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])])
    return file, {"PYTHONPATH": path, "WRONG_CLOCK": str(file)}


def test_an_hour_ahead_and_back_again_changes_nothing(
    tmp_path: Path,
    contract: Contract,
    mosquitto: Mosquitto,
    wrong_clock: tuple[Path, dict[str, str]],
) -> None:
    ahead, environment = wrong_clock
    bundle = load_bundle(make_bundle(tmp_path / "bundle", contract), "power")
    files = {}
    for name, neighbour in (("a", "b"), ("b", "a")):
        files[name] = tmp_path / f"{name}.toml"
        values = {"name": name, "neighbour": neighbour, "bundle": tmp_path / "bundle"}
        files[name].write_text(CONFIG.format(port=mosquitto.port, **values))
    with ExitStack() as stack:
        enter = stack.enter_context
        watch = enter(Watch(mosquitto.port))
        drives = {name: enter(Drive(mosquitto.port, bundle, name)) for name in "ab"}
        enter(live_cell(files["b"]))
        with live_cell(files["a"], environment=environment) as cell:
            first = _epoch(watch)
            assert first >= time.time() + HOUR_S - 60  # it did believe its clock
            _slots(drives, 3)
            for step_s in (0, HOUR_S, 0):
                ahead.write_text(str(step_s))
                assert 0 <= _age_s(drives["a"], "b") < 60
                _slots(drives, 2)
            assert _heard(drives["a"], "b") == _heard(drives["b"], "a") == (9, {})
            counters = drives["a"].order("report")["counters"]
            assert counters["slots_missing"].get("b", 0) <= 1  # before it had said anything
            assert cell.end() == 0
        with live_cell(files["a"]) as cell:
            second = _epoch(watch, first)
            assert second == first + 1  # the clock is an hour behind that, and the epoch grew
            _slots(drives, 3)
            assert _heard(drives["b"], "a") == (12, {})
            assert cell.end() == 0
        with live_cell(files["a"], environment=environment):
            ahead.write_text(str(-HOUR_S))
            assert _epoch(watch, second) == second + 1
            _slots(drives, 3)
            assert _heard(drives["b"], "a") == (15, {})


def _slots(drives: dict[str, Drive], count: int) -> None:
    """Go through slots with all cells, each of which acts in each of them."""
    for _ in range(count):
        for drive in drives.values():
            drive.slots(1)


def _heard(drive: Drive, neighbour: str) -> tuple[int, dict[str, int]]:
    """Return how many messages of its one neighbour a cell took, and those it did not, by reason."""
    deadline_s = time.monotonic() + 20
    while True:
        found = drive.order("report")["counters"]
        if found["messages_received"] >= drive.slot or time.monotonic() > deadline_s:
            assert found["slots"] > 0
            return found["messages_received"], found["messages_rejected"][neighbour]
        time.sleep(0.05)


def _age_s(drive: Drive, neighbour: str) -> float:
    """Return how old a cell says that its neighbour's last message is."""
    return float(drive.order("report")["counters"]["message_ages_s"][neighbour])


def _epoch(watch: Watch, other_than: int = 0) -> int:
    """Return the epoch of cell a's birth once it is another."""
    deadline_s = time.monotonic() + 20
    while True:
        birth = json.loads(watch.newest.get("a/birth", b'{"epoch": 0}'))
        if birth["epoch"] not in (0, other_than):
            return int(birth["epoch"])
        assert time.monotonic() < deadline_s, watch.seen
        time.sleep(0.02)
