"""The command `networld`: help, exit codes, and the values that anyone can check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from networld_training import cli

COMMANDS = ("bundle", "data", "demo", "evaluate", "export", "mesh", "train")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"example: networld {command}" in capsys.readouterr().out


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = capsys.readouterr().out
    assert all(command in listed for command in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["data", "make", "--output", "set", "--quality", "best"], 3, "quality = 'best'"),
        (["train", "--data", "nowhere"], 6, "networld data"),
        (["train", "--data", "nowhere", "--preset", "huge"], 3, "'huge' is not a preset"),
        (["export", "--checkpoint", "nowhere"], 6, "networld train"),
        (["bundle", "show", "--output", "nowhere"], 4, "networld bundle make"),
        (["evaluate", "--scenario", "moon"], 3, "'moon' is not a scenario"),
        (["evaluate", "--episodes", "0", "--jobs", "0"], 3, "2 problems"),
        (["evaluate", "--bundle", "nowhere"], 4, "manifest.json"),
        (["evaluate", "--published", "--links", "1"], 3, "links"),
        (["evaluate", "--path-loss", "--model", "rural"], 3, "rural"),
        (["evaluate", "--path-loss", "--json", "nowhere/out.json"], 3, "--json"),
        (["evaluate", "--path-loss", "--json", "."], 3, "is a folder"),
        (["evaluate", "--path-loss", "--distance-m", "-1"], 3, "distance_m = -1.0"),
        (["mesh", "--site", "lab"], 3, "name --broker, or --replay FILE"),
        (
            ["mesh", "--broker", "mqtt://127.0.0.1", "--site", "LAB", "--seconds", "0"],
            3,
            "2 problems",
        ),
        (["mesh", "--replay", "nowhere"], 1, "nowhere"),
        (["data", "make", "--output", "/proc/nowhere"], 1, "/proc/nowhere"),
    ],
)
def test_mistakes_are_told_without_a_traceback(
    arguments: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == code
    assert said in capsys.readouterr().err


def test_unknown_option_ends_with_2() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", "--no-such-option"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("options", "expected_db"),
    [
        (["--model", "umi", "--los", "--distance-m", "100"], 85.314),
        (["--model", "umi", "--no-los", "--distance-m", "100"], 104.639),
        (["--model", "uma", "--los", "--distance-m", "500"], 98.270),
    ],
)
def test_path_loss_of_one_distance(
    options: list[str], expected_db: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "loss.json"
    assert cli.main(["evaluate", "--path-loss", *options, "--json", str(file)]) == 0
    value = json.loads(file.read_text())["path_loss_db"]
    assert value == pytest.approx(expected_db, abs=0.005)
    assert capsys.readouterr().out.strip() == f"{value:.4f}"


def test_published_benchmark_writes_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    arguments = ["evaluate", "--published", "--links", "10", "--drops", "20", "--json", str(file)]
    assert cli.main(arguments) == 0
    results = json.loads(file.read_text())
    assert results["wmmse"] > results["random"] > 0
    assert {"fp", "full", "iterations"} <= results.keys()


def test_heuristics_are_compared_on_the_same_drops(tmp_path: Path) -> None:
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in files:
        assert cli.main(["evaluate", "--episodes", "2", "--json", str(file)]) == 0
    assert files[0].read_text() == files[1].read_text()
    rows = json.loads(files[0].read_text())["rows"]
    score = {row["policy"]: row["score"]["iqm"] for row in rows}
    assert score["random"] == 0
    assert score["wmmse-pf"] == 100
