"""docs/evaluation.md is a contract: its class and its network run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from networld_training import cli
from networld_training.commands.evaluate import BASELINE_EPISODES, EPISODES
from networld_training.evaluation.baselines import REFERENCE_FACTOR
from networld_training.evaluation.statistics import RESAMPLES

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()


def block(language: str) -> str:
    """Return the one block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_own_class_and_own_network_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_policy.py").write_text(block("python"))
    (tmp_path / "my-network.json").write_text(block("json"))
    monkeypatch.chdir(tmp_path)
    command = ["evaluate", "--scenario", "my-network.json", "--policy", "my_policy.py:MyPolicy"]
    assert cli.main([*command, "--only", "--episodes", "2"]) == 0
    shown = capsys.readouterr().out
    assert "file/power/my-network-v0" in shown
    assert re.search(r"my-policy .* mean-field", shown)


def test_options_of_its_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "--help"])
    known = capsys.readouterr().out
    options = set(re.findall(r"--[a-z-]+", PAGE))
    assert len(options) >= 8
    assert [option for option in options if option not in known] == []


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"from {RESAMPLES} resamples" in PAGE
    assert f"`--episodes` is {BASELINE_EPISODES} there" in PAGE
    assert REFERENCE_FACTOR == 4
    assert f"four times as many; otherwise it is {EPISODES}." in PAGE
