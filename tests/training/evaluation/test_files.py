"""What an evaluation writes: tables, JSON, CSV, pictures, and the page of published results."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from networld_runtime.errors import ConfigError
from networld_training import cli
from networld_training.evaluation import baselines
from networld_training.evaluation.comparison import Comparison
from networld_training.evaluation.picture import draw_results
from networld_training.evaluation.results import ScenarioResult, results_csv, results_json
from networld_training.evaluation.statistics import Estimate
from networld_training.evaluation.table import (
    Line,
    heading,
    number,
    paired_table,
    policy_table,
    show,
    with_interval,
)
from networld_training.tasks.power import PowerNetwork
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def results() -> list[ScenarioResult]:
    """Two short networks of the power task, with three rules."""
    networks = (PowerNetwork(slots=12), PowerNetwork(slots=12, speed_m_s=9.0))
    scenarios = [
        Scenario("test/power/a-v0", "reference", networks[:1]),
        Scenario("test/power/b-v0", "speed", networks[1:]),
    ]
    return Comparison(scenarios, ("full",), only=True, episodes=4).run(lambda _: None)


def test_json_has_a_row_for_each_policy_and_scenario(results: list[ScenarioResult]) -> None:
    data = json.loads(results_json(results))
    assert data["seed"] == 0
    assert {row["episodes"] for row in data["rows"]} == {4}
    assert data["scenarios"] == {one.scenario.id: one.scenario.digest() for one in results}
    assert len(data["rows"]) == 6
    row = data["rows"][2]
    assert row == {
        "task": "power",
        "scenario": "test/power/a-v0",
        "policy": "full",
        "information": "none",
        "score": {name: pytest.approx(row["score"][name]) for name in ("iqm", "low", "high")},
        "kpis": {kpi.name: pytest.approx(row["kpis"][kpi.name]) for kpi in results[0].spec.kpis},
        "episodes": 4,
        "seed": 0,
    }
    assert row["score"]["low"] < row["score"]["iqm"] < row["score"]["high"]
    assert {one["against"] for one in data["paired"][:2]} == {results[0].bar()}
    assert set(data["paired"][0]["difference"]) == {"value", "low", "high"}


def test_csv_has_the_same_rows(results: list[ScenarioResult]) -> None:
    table = list(csv.DictReader(io.StringIO(results_csv(results))))
    rows = json.loads(results_json(results))["rows"]
    assert len(table) == len(rows)
    for line, row in zip(table, rows, strict=True):
        assert {name: line[name] for name in ("task", "scenario", "policy", "information")} == {
            name: row[name] for name in ("task", "scenario", "policy", "information")
        }
        assert float(line["score_iqm"]) == row["score"]["iqm"]
        assert float(line["score_low"]) == row["score"]["low"]
        assert float(line["jain"]) == row["kpis"]["jain"]
        assert int(line["episodes"]) == 4


def test_tables_are_whole_on_any_terminal(results: list[ScenarioResult]) -> None:
    for width in (40, 200):
        console = Console(file=io.StringIO(), width=width)
        lines = map(Line.of, results[0].rows)
        show(console, policy_table("the title", results[0].spec.kpis, lines))
        show(console, paired_table(results[0].paired("full")))
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert "…" not in text
        assert "100.0 [100.0, 100.0]" in text
        assert "genie" in text
        assert "efficiency" in text
        assert "user rate p5 (b/s/Hz)" in text
        assert "scored: mean log rate" in text
        assert "against full" in text


def test_the_best_policy_is_on_top(results: list[ScenarioResult]) -> None:
    table = policy_table("", results[0].spec.kpis, map(Line.of, results[0].rows))
    first = [str(cell) for cell in table.columns[0].cells]
    assert first[0] == "wmmse-pf"


def test_headings_say_units_once() -> None:
    kpis = {kpi.name: kpi for entry in TASKS.values() for kpi in entry.spec.kpis}
    expected = {
        "mean_delay_s": "mean delay (s)",
        "served_mbit_s": "served (Mbit/s per cell)",
        "user_rate_p5": "user rate p5 (b/s/Hz)",
        "jain": "jain",
    }
    assert {name: heading(kpis[name]) for name in expected} == expected


def test_numbers_are_short() -> None:
    assert [number(value) for value in (None, 0.12345, -12.345, 12345.6)] == [
        *("?", "0.123", "-12.3", "12346")
    ]
    assert with_interval(Estimate(81.46, 76.0, 86.94)) == "81.5 [76.0, 86.9]"
    assert with_interval(Estimate(81.46, 76.0, 86.94), 0) == "81 [76, 87]"


def test_picture_is_a_png(results: list[ScenarioResult], tmp_path: Path) -> None:
    draw_results(results, tmp_path / "one.png")
    assert (tmp_path / "one.png").read_bytes().startswith(PNG)
    assert [file.name for file in tmp_path.iterdir()] == ["one.png"]


def test_command_writes_all_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tmp_path / "mine.json"
    network.write_text('{"task": "power", "slots": 12, "warm_up_slots": 5}')
    files = [tmp_path / f"out.{ending}" for ending in ("json", "csv", "png")]
    command = ["evaluate", "--scenario", str(network), "--episodes", "4", "--against", "full"]
    command += ["--json", str(files[0]), "--csv", str(files[1]), "--picture", str(files[2])]
    assert cli.main(command) == 0
    shown = capsys.readouterr()
    assert "file/power/mine-v0, 4 episodes, seed 0" in shown.out
    assert "against full" in shown.out
    assert "percent 100/100" in shown.err
    data = json.loads(files[0].read_text())
    assert {row["policy"] for row in data["rows"]} == set(TASKS["power"].heuristics)
    assert {one["against"] for one in data["paired"]} == {"full"}
    assert len(files[1].read_text().splitlines()) == 1 + len(data["rows"])
    assert files[2].read_bytes().startswith(PNG)


def test_files_are_written_even_if_nobody_reads_the_tables(tmp_path: Path) -> None:
    network, file = tmp_path / "mine.json", tmp_path / "out.json"
    network.write_text('{"task": "power", "slots": 12, "warm_up_slots": 5}')
    command = [
        sys.executable,
        "-m",
        "networld_training.cli",
        "evaluate",
        "--scenario",
        str(network),
    ]
    command += ["--only", "--episodes", "4", "--json", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    assert len(json.loads(file.read_text())["rows"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--all-baselines", "--only", "--csv", "x.csv"], "takes no --only, --csv"),
        (["--published", "--path-loss"], "--published: takes no --path-loss"),
        (["--path-loss", "--scenario", "power/umi100"], "--path-loss: takes no --scenario"),
        (["--links", "3", "--output-dir", "x"], "evaluate: takes no --output-dir, --links"),
        (["--all-baselines", "--output-dir", __file__], "test_files.py: is a file"),
        (["--json", "a.out", "--csv", "./a.out"], "--csv: a.out: is the file of --json"),
        (["--json", "no/a.json", "--csv", "no/a.csv"], "2 problems"),
        (["--scenario", "moon", "--scenario", "none.json"], "2 problems"),
        (["--task", "chess"], "'chess' is not a task"),
        (["--against", "you"], "--against you"),
    ],
)
def test_mistakes_are_told_before_the_work(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate", *options]) == 3
    assert said in capsys.readouterr().err


def test_baselines_are_all_scenarios_but_the_largest_references_first() -> None:
    scenarios = baselines.baseline_scenarios()
    everywhere = {one.id for entry in TASKS.values() for one in entry.scenarios.values()}
    assert everywhere - {one.id for one in scenarios} == {
        f"networld/{task}/hex61-v0" for task in TASKS
    }
    for task in TASKS:
        axes = [one.axis == "reference" for one in scenarios if one.task == task]
        assert axes == sorted(axes, reverse=True)
        assert axes[0]


def test_published_results_are_written_from_scratch(
    short: Scenario, mixed: Scenario, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "docs"
    baselines.prepare_folder(folder)
    comparison = Comparison((short, mixed), episodes=6, seed=3)
    files = baselines.write_baselines(comparison, folder, "the command", lambda _: None)
    assert {file.name for file in folder.iterdir()} == {file.name for file in files}
    names = {"results.md", "results.csv", "results.json", "results-power.png"}
    assert {file.name for file in files} == names
    assert (folder / "results-power.png").read_bytes().startswith(PNG)
    data = json.loads((folder / "results.json").read_text())
    assert len(data["rows"]) == 2 * len(TASKS["power"].heuristics)
    page = (folder / "results.md").read_text()
    for said in ("`the command`", "6 episodes", "seed 3", "numpy", short.digest()[:12]):
        assert said in page
    for name in TASKS["power"].heuristics:
        assert len(re.findall(rf"^\| `{name}` \|", page, re.MULTILINE)) == 2  # scores and KPIs
    assert [heading for heading in page.splitlines() if heading.startswith("#")] == [
        "# Results",
        "## power",
        "### short in native units, means over the episodes",
        "### Scenarios",
    ]
    scores = next(line for line in page.splitlines() if line.startswith("| `wmmse-pf`"))
    assert scores == "| `wmmse-pf` | genie | 100 [100, 100] | 100 [100, 100] |"


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--output-dir"):
        baselines.prepare_folder(tmp_path / "file" / "docs")
