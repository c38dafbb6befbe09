"""Tables, lines, picture and options of a watched mesh."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from networld_runtime.errors import ConfigError
from networld_training.mesh.history import BINS, History
from networld_training.mesh.mesh_report import CellRow, MeshReport
from networld_training.mesh.picture import draw
from networld_training.mesh.settings import MeshSettings
from networld_training.mesh.tables import cell_table, site_table, totals, troubled
from networld_training.mesh.view import DRAW_EVERY_S, LineView, LiveView, make_view

ROW = CellRow(
    site="lab",
    cell="cell-0",
    task="power",
    state="online",
    age_s=0.04,
    messages=100,
    message_bytes=3700,
    messages_per_s=20.0,
    bytes_per_s=740.0,
    gaps=2,
    late=0,
    restarts=0,
    rejected={"cell-1": {"stale": 3}},
    unreadable={"message version": 1},
    heard=5,
    neighbours=("cell-1",) * 6,
    contract="61626364",
    sealed=False,
    ready=True,
    deadlines_missed=0,
)
SILENT = replace(
    ROW, cell="cell-1", state="silent", age_s=75.0, messages_per_s=0.0, bytes_per_s=0.0, gaps=0
)
UNSEEN = replace(
    SILENT,
    cell="cell-2",
    task=None,
    state="unknown",
    age_s=None,
    messages=0,
    message_bytes=0,
    heard=None,
    neighbours=None,
    rejected={},
    unreadable={},
)
REPORT = MeshReport(5.0, True, (ROW, SILENT, UNSEEN), {})


def text_of(*shown: Any) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(*shown)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_row_says_everything() -> None:
    lines = text_of(cell_table(REPORT, "site lab")).splitlines()
    rows = [" ".join(line.replace("│", " ").split()) for line in lines if "cell-" in line]
    rejects = "3 stale, 1 message version"
    assert rows == [
        f"cell-0 power online 0.04 s 20.0 37.0 740 2 5/6 {rejects}",
        f"cell-1 power silent 75 s 0.0 37.0 0 0 5/6 {rejects}",
        "cell-2 ? unknown never 0.0 0 0 ?",
    ]


def test_without_room_for_all_those_in_trouble_are_shown() -> None:
    well = [replace(ROW, cell=f"cell-{number}", gaps=0) for number in range(100)]
    well[50] = replace(well[50], state="lost")
    well[70] = replace(well[70], gaps=9)
    text = text_of(cell_table(MeshReport(1.0, True, tuple(well), {}), "x", largest_rows=3))
    assert [word for word in text.split() if word.startswith("cell-")] == [
        "cell-0",
        "cell-50",
        "cell-70",
    ]
    assert "and 97 more" in text


def test_sums() -> None:
    assert totals(REPORT) == (
        "3 cells (1 online, 1 silent, 1 unknown), 20.0 messages/s, 740 B/s, 740 B/s per cell, "
        "2 gaps, rejects: 6 stale"
    )
    assert troubled(REPORT) == "silent: cell-1; unknown: cell-2"
    worse = replace(REPORT, connected=False, foreign={"topic": 2}, other_bytes=12_345)
    assert totals(worse).endswith(
        "other topics: 12.3 kB so far; foreign: 2 topic; NO BROKER, trying again"
    )
    silent = tuple(replace(SILENT, cell=f"cell-{number}") for number in range(8))
    assert troubled(replace(REPORT, cells=silent)).endswith("cell-4 and 3 more")


def test_sites_have_a_row_each() -> None:
    both = replace(REPORT, cells=(ROW, SILENT, replace(ROW, site="roof")))
    lines = text_of(site_table(both, "all sites")).splitlines()
    rows = [line.replace("│", " ").split() for line in lines if "lab" in line or "roof" in line]
    assert rows == [
        ["lab", "2", "1", "20.0", "740", "740", "2", "6", "stale"],
        ["roof", "1", "1", "20.0", "740", "740", "2", "3", "stale"],
    ]


def test_a_terminal_is_drawn_at_most_twice_a_second() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=110, height=30)
    now_s = [0.0]
    with LiveView(console, "site lab", True, lambda: now_s[0]) as view:
        for step in range(101):
            now_s[0] = step / 100
            view.show(REPORT)
        drawn = console.file.getvalue().count("site lab, 5 s")  # type: ignore[attr-defined]
        assert (DRAW_EVERY_S, drawn) == (0.5, 3)
        view.say("lost the broker")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "740 B/s per cell" in text
    assert "lost the broker" in text
    assert isinstance(make_view(console, "x", True), LiveView)


def test_a_file_gets_a_line_every_few_seconds() -> None:
    console = Console(file=io.StringIO(), width=60)
    with make_view(console, "x", True) as view:
        assert isinstance(view, LineView)
        for half in range(25):
            view.show(replace(REPORT, seconds=half / 2))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split(":")[0] for line in lines] == ["5 s", "10 s"]
    assert lines[0].endswith("silent: cell-1; unknown: cell-2")


def test_history_has_the_memory_of_a_picture() -> None:
    history = History(100.0)
    for step in range(1, 2001):
        rows = (replace(ROW, messages_per_s=float(step)), UNSEEN)[: 1 if step < 1000 else 2]
        history.add(replace(REPORT, seconds=step / 20, cells=rows))
    rates, ages = history.values("messages_per_s"), history.values("age_s")
    assert rates.shape == ages.shape == (2, BINS)
    assert history.times_s[-1] == 100.0
    assert (np.diff(history.times_s) > 0).all()
    assert rates[0, -1] == 2000
    assert math.isnan(rates[1, 0])
    assert np.isnan(ages[1]).all()
    assert history.rejects()["stale"].tolist() == [3.0] * BINS
    assert history.gaps()[-1] == 2


@pytest.mark.parametrize("cells", [0, 1, 127])
def test_picture(cells: int, tmp_path: Path) -> None:
    history = History(2.0)
    rows = tuple(replace(ROW, cell=f"cell-{number}") for number in range(cells))
    for second in (0.5, 1.0, 2.0):
        history.add(replace(REPORT, seconds=second, cells=rows))
    draw(history, "lab", tmp_path / "mesh.png")
    assert (tmp_path / "mesh.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "name --broker, or --replay"),
        ({"broker": "tcp://host"}, "expected mqtt://host:port"),
        ({"broker": "mqtt://host:99999"}, "expected mqtt://host:port"),
        ({"broker": "mqtt://host:0"}, "expected mqtt://host:port"),
        ({"broker": "mqtt://host/path"}, "expected mqtt://host:port"),
        ({"broker": "mqtt://me:secret@host"}, "do not belong in a URL"),
        ({"broker": "mqtts://host"}, "needs --ca-file"),
        ({"site": "Lab"}, "--site Lab: expected lower-case"),
        ({"as_site": "other"}, "--as-site: for --replay FILE with --broker"),
        ({"seconds": 0.0}, "--seconds 0.0: expected more than 0"),
        ({"seconds": math.nan}, "--seconds nan"),
        ({"record_limit_mb": 0.0}, "--record-limit-mb 0.0"),
        ({"picture": Path("a.png")}, "--picture: of a recording"),
        ({"speed": "2"}, "--speed: of a recording"),
        ({"replay": Path("a"), "speed": "nan"}, "--speed nan: expected"),
        ({"replay": Path("a"), "speed": "-1"}, "--speed -1: expected"),
        ({"replay": Path("a"), "record": Path("b")}, "--record: a replay is recorded"),
        ({"replay": Path("a"), "site": "lab"}, "--site: a recording has its own"),
        ({"replay": Path("a"), "seconds": 1.0}, "--seconds: a replay ends by itself"),
        ({"certificate_file": Path("a"), "ca_file": Path("b")}, "give both or none"),
        ({"certificate_file": Path("a"), "key_file": Path("b")}, "needs --ca-file"),
        ({"password_file": Path("a")}, "needs --username"),
    ],
)
def test_options_that_do_not_fit_are_told_together(options: dict[str, Any], said: str) -> None:
    settings = {"broker": "mqtt://host", **options} if options else options
    with pytest.raises(ConfigError) as caught:
        MeshSettings(**settings)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_broker_in_the_words_of_a_cell(tmp_path: Path) -> None:
    config = MeshSettings(
        broker="mqtt://[::1]", username="eye", password_file=tmp_path / "p"
    ).broker_config()
    assert (config.host, config.port, config.username) == ("::1", 1883, "eye")
    assert config.password_file == tmp_path / "p"
    assert MeshSettings(broker="mqtt://host:99").broker_config().port == 99


def test_speeds() -> None:
    recorded = Path("a")
    assert MeshSettings(replay=recorded, speed="max").speed_factor == math.inf
    assert MeshSettings(replay=recorded, speed="0.5").speed_factor == 0.5
    assert MeshSettings(replay=recorded).speed_factor is None
