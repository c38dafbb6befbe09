"""Clocks, epochs, percentiles and what watches over processes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from networld_runtime import epoch, realtime
from networld_runtime.errors import ConfigError


def test_latency_ring_keeps_the_last_ones() -> None:
    ring = realtime.LatencyRing(100)
    assert ring.percentile_ms(50) is None
    for value in range(250):
        ring.add(value / 1000)
    assert ring.count == 250
    assert ring.percentile_ms(50) == pytest.approx(np.percentile(np.arange(150, 250), 50))
    assert ring.percentile_ms(99) == pytest.approx(np.percentile(np.arange(150, 250), 99))


def test_epoch_grows_though_the_clock_steps_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new" / "state"
    first = epoch.next_epoch(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr("time.time_ns", lambda: 0)
    assert epoch.next_epoch(folder) == first + 1
    assert epoch.next_epoch(folder) == first + 2


@pytest.mark.parametrize("content", [b"", b"abc", b"-5", b"9" * 40, b"\xff"])
def test_damaged_epoch_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "epoch").write_bytes(content)
    assert epoch.next_epoch(tmp_path) > 1_700_000_000


def test_state_folder_that_is_a_file_is_a_config_error(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.touch()
    with pytest.raises(ConfigError, match=r"state\.directory cannot be written"):
        epoch.next_epoch(file)


def test_garbage_is_collected_by_hand_only() -> None:
    try:
        realtime.freeze_garbage_collection()
        assert not gc.isenabled()
        assert gc.get_freeze_count() > 0
        realtime.collect_garbage(256)
    finally:
        gc.unfreeze()
        gc.enable()


def test_parent_that_is_not_ours_counts_as_gone() -> None:
    gone = threading.Event()
    realtime.watch_parent(os.getppid(), gone.set)
    assert not gone.wait(0.5)
    realtime.watch_parent(1 if os.getppid() != 1 else 2, gone.set)
    assert gone.wait(5)


def test_idle_process_runs_behind_all_others() -> None:
    code = (
        "import os; from networld_runtime import realtime; realtime.yield_to_others();"
        "print(os.sched_getscheduler(0) == os.SCHED_IDLE or os.nice(0) == 19)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
