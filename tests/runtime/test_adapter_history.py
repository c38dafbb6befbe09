"""Earlier adapters: kept, gone back to, and never lost, whenever the process is killed."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from networld_runtime.adaptation import load_adapter, save_adapter
from networld_runtime.adapter_history import AdapterHistory
from networld_runtime.bundle import Bundle
from networld_runtime.contract import Contract

HELPERS = Path(__file__).parent / "helpers"
PROGRAM = """
import os, sys
sys.path.insert(0, {helpers!r})
from pathlib import Path
from killed import _count_steps
from networld_runtime.adapter_history import AdapterHistory
folder = Path({folder!r})
_count_steps({step})
{what}
"""
REPLACE = "AdapterHistory(folder).replace(folder / 'candidate')"
BUNDLE = (
    "from types import SimpleNamespace; bundle = SimpleNamespace(digest={digest!r}, adapter_size=7)"
)
GO_BACK = "AdapterHistory(folder).go_back(bundle)"


@pytest.fixture
def bundle(contract: Contract, tmp_path: Path) -> Bundle:
    return Bundle(tmp_path, "stub", "ab" * 32, contract, 4, 7, 8, 1, {}, {})


def value(path: Path, bundle: Bundle) -> float:
    return float(load_adapter(path, bundle)[0])


def write(path: Path, number: float, bundle: Bundle) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_adapter(path, np.full(7, number, dtype=np.float32), bundle)


def begin(folder: Path, bundle: Bundle) -> None:
    """Three adapters have been in use; a fourth is waiting."""
    shutil.rmtree(folder, ignore_errors=True)
    history = AdapterHistory(folder)
    for number in (1.0, 2.0, 3.0):
        write(folder / "candidate", number, bundle)
        history.replace(folder / "candidate")
    write(folder / "candidate", 4.0, bundle)


def killed(folder: Path, what: str, step: int) -> bool:
    """Do something in a process that is killed before its n-th step; return whether it came so far."""
    program = PROGRAM.format(helpers=str(HELPERS), folder=str(folder), step=step, what=what)
    code = subprocess.run([sys.executable, "-c", program], check=False).returncode
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.parametrize("what", [REPLACE, f"{BUNDLE}; {GO_BACK}"])
def test_killed_at_every_step_there_is_an_adapter_and_those_before(
    tmp_path: Path, bundle: Bundle, what: str
) -> None:
    step, folder = 0, tmp_path / "state"
    while True:
        step += 1
        begin(folder, bundle)
        was_killed = killed(folder, what.format(digest=bundle.digest), step)
        history = AdapterHistory(folder)
        assert value(history.current, bundle) in (2, 3, 4)
        known = {value(path, bundle) for path in (history.current, *history.files())}
        if (folder / "candidate").exists():
            known.add(value(folder / "candidate", bundle))
        assert known >= ({1, 2, 3, 4} if what == REPLACE else {1, 2})
        if not was_killed:
            break
    assert step > 2
    assert value(history.current, bundle) == (4 if what == REPLACE else 2)


def test_what_has_another_name_is_left_alone(tmp_path: Path, bundle: Bundle) -> None:
    begin(tmp_path / "state", bundle)
    (tmp_path / "state" / "adapters" / "notes.txt").write_text("mine")
    history = AdapterHistory(tmp_path / "state")
    assert len(history.files()) == 2
    history.drop()
    assert not history.current.exists()
    assert [path.name for path in (tmp_path / "state" / "adapters").iterdir()] == ["notes.txt"]


def test_without_any_adapter_going_back_leads_to_none(tmp_path: Path, bundle: Bundle) -> None:
    assert AdapterHistory(tmp_path).go_back(bundle) is None
    AdapterHistory(tmp_path).drop()
