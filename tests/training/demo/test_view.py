"""The live table and the lines, drawn into a string."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from networld_training.demo import view
from networld_training.demo.scenes.registry import SCENES
from networld_training.demo.simulated_radio import RadioCounters, SlotReport
from networld_training.demo.view import LineView, LiveView, make_view

REPORT = SlotReport(
    slot=4,
    action=np.array([[-3.0], [-40.0]], dtype=np.float32),
    details={},
    answer_ms=np.array([12.0, np.nan]),
)
SEEN = {"rate": np.array([1.5, 0.0])}
POWER = SCENES["power"]


def perform(console: Console) -> str:
    counters = RadioCounters()
    counters.missed["cell-1"] = 2
    with make_view(console, ("cell-0", "cell-1"), POWER) as shown:
        shown.phase("before adaptation", 100, "slots")
        shown.heard({"cell-0": 99.5})
        shown.slot("3 of 6", REPORT, SEEN, counters)
        shown.advance(5)
        shown.say("cell-1 was killed by signal 9; the others go on")
        shown.phase("adaptation", 2, "cells")
        shown.advance(1)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


def test_terminal_gets_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "DRAW_EVERY_S", 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    assert isinstance(make_view(console, (), POWER), LiveView)
    text = perform(console)
    for word in (
        "drop 3 of 6, slot 5",
        "-3.0 dB",
        "1.5 b/s/Hz",
        "off",
        "12 ms",
        "late",
        "99.5 %",
        "signal 9",
    ):
        assert word in text


def test_file_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "LINE_EVERY_S", 0.0)
    console = Console(file=io.StringIO())
    assert isinstance(make_view(console, (), POWER), LineView)
    lines = perform(console).splitlines()
    assert lines[0] == "before adaptation: 100 slots"
    assert lines[1].startswith("  5 of 100 slots, 2 deadlines missed, 0 s left")
    assert lines[-1].startswith("  1 of 2 cells")
