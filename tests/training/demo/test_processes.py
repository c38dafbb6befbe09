"""Children are gone after their block, and tethered programs after their parent."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from networld_training.demo import processes
from networld_training.demo.processes import Children

SLEEP = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('here', flush=True); time.sleep(600)",
]


def wait_for(log: Path) -> None:
    deadline_s = time.monotonic() + 20
    while "here" not in log.read_text():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.mark.parametrize("polite", [True, False])
def test_children_are_ended(polite: bool, tmp_path: Path) -> None:
    with Children(polite) as children:
        child = children.start("sleeper", SLEEP, tmp_path / "log")
        assert child.exit_code() is None
    assert child.exit_code() == (-15 if polite else -9)


def test_child_that_does_not_listen_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.2)
    with Children(polite=True) as children:
        child = children.start("stubborn", STUBBORN, tmp_path / "log")
        wait_for(tmp_path / "log")
    assert child.exit_code() == -9


def test_log_holds_the_last_lines(tmp_path: Path) -> None:
    with Children(polite=False) as children:
        program = [sys.executable, "-c", "print(*range(30), sep='\\n')"]
        child = children.start("counter", program, tmp_path / "log")
        assert child.wait(time.monotonic() + 20)
        assert child.log_tail().splitlines() == [str(number) for number in range(22, 30)]


def test_tethered_program_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = f"""
import sys, time
from pathlib import Path
from networld_training.demo.processes import Children
tether = [sys.executable, "-m", "networld_training.demo.tether"]
with Children(polite=False) as children:
    children.start("tethered", [*tether, *{SLEEP!r}], Path({str(log)!r}))
    print("started", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        wait_for(log)
        descendants = psutil.Process(process.pid).children(recursive=True)
        process.kill()
    assert len(descendants) == 2
    assert psutil.wait_procs(descendants, timeout=10)[1] == []


def test_what_a_killed_child_left_behind_is_killed(tmp_path: Path) -> None:
    tether = [sys.executable, "-m", "networld_training.demo.tether"]
    with Children(polite=False) as children:
        child = children.start("tethered", [*tether, *SLEEP], tmp_path / "log")
        wait_for(tmp_path / "log")
        (orphan,) = psutil.Process(child.pid).children()
        psutil.Process(child.pid).kill()
        assert child.wait(time.monotonic() + 10)
    assert psutil.wait_procs([orphan], timeout=10)[1] == []
