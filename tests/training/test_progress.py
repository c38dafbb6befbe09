"""Lines of progress: how often, and what they say is left."""

from __future__ import annotations

import time

import pytest

from networld_training.progress import RECENT_LINES, Reporter


def test_what_is_left_goes_by_the_recent_pace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From 100 of 1000, ten in each 20 s; after 200 only one in each 20 s."""
    now_s = 50.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    progress = Reporter("train", 1000, 100, None)
    done = 100
    for _ in range(10):
        now_s, done = now_s + 20, done + 10
        progress.update(done)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train 110/1000, 20 s passed, 1780 s left"
    assert lines[-1] == "train 200/1000, 200 s passed, 1600 s left"
    for _ in range(RECENT_LINES + 1):
        now_s, done = now_s + 20, done + 1
        progress.update(done)
    assert f"{20 * (1000 - done)} s left" in capsys.readouterr().err.splitlines()[-1]


def test_lines_are_rare_but_the_last_one_is_always_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    progress = Reporter("train", 100, 0, None)
    for done in range(1, 101):
        now_s += 1
        progress.update(done, "loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert lines[-1] == "train 100/100, 100 s passed, 0 s left loss 1"
