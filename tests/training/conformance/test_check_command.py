"""`networld check`: what can be named, what is wrong with what was named, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from networld_training import cli

TOY = Path(__file__).parents[1] / "toy.py"
CLASS = f"{TOY}:ToyTask"


def test_a_sound_task_ends_with_0_and_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tmp_path / "network.json"
    network.write_text('{"task": "toy", "cells": 19, "slots": 3}')
    file = tmp_path / "findings.json"
    assert cli.main(["check", CLASS, "--network", str(network), "--json", str(file)]) == 0
    findings = json.loads(file.read_text())
    assert findings["passed"]
    shown, progress = capsys.readouterr()
    assert "checks 20/20" in progress
    assert all(one["check"] in shown for one in findings["checks"])


def test_a_broken_task_ends_with_1_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken_task.py"
    source = TOY.read_text().replace("self._queue -= self._last", "self._queue -= self._last / 2")
    broken.write_text(source)
    file = tmp_path / "findings.json"
    arguments = ["check", f"{broken}:ToyTask", "--slots", "3", "--json", str(file)]
    assert cli.main(arguments) == 1
    findings = json.loads(file.read_text())
    assert not findings["passed"]
    (failed,) = [one for one in findings["checks"] if one["result"] == "failed"]
    assert failed["check"] == "balance-is-zero"
    shown = capsys.readouterr().out
    assert "1 of 20 checks failed" in shown
    assert f"hint: {failed['hint']}" in shown


def test_a_registered_task_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["check", "power", "--scenario", "power/umi100", "--slots", "3"]
    assert cli.main(arguments) == 0
    assert "PowerTask" in capsys.readouterr().out


ENVIRONMENT = """
from functools import partial
import sys
sys.path.insert(0, {folder!r})
from toy import ToyNetwork, ToyTask
from networld_training.environments.parallel_env import NetworkParallelEnv

class Toys(NetworkParallelEnv):
    def __init__(self):
        super().__init__(ToyNetwork(slots=3), task=ToyTask)

make = partial(NetworkParallelEnv, ToyNetwork(slots=3), task=ToyTask, discrete_actions=True)
"""


@pytest.mark.parametrize("options", [["Toys"], ["make", "--pettingzoo"]])
def test_an_environment_by_class_or_maker(
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    file = tmp_path / f"environment_of_{options[0]}.py"
    file.write_text(ENVIRONMENT.format(folder=str(TOY.parent)))
    assert cli.main(["check", f"{file}:{options[0]}", *options[1:]]) == 0
    assert "parallel-api" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "'nothing': expected the name of a task (power"),
        (["nowhere.py:Task"], "nowhere.py: there is no such file"),
        (["nowhere.module:Task"], "ModuleNotFoundError: No module named 'nowhere'"),
        ([f"{TOY}:ToyTaks"], "has no 'ToyTaks'; did you mean ToyTask?"),
        ([f"{TOY}:ToyNetwork"], "expected a subclass of Task or of PettingZoo's ParallelEnv"),
        ([f"{TOY}:np", "--pettingzoo"], "expected a class or function to call"),
        (["syntax.py:Task"], "syntax.py: cannot be imported, SyntaxError"),
        ([CLASS, "--network", "nowhere.json"], "nowhere.json: cannot be read"),
        ([CLASS, "--network", "broken.json"], "broken.json: is not JSON"),
        ([CLASS, "--network", "list.json"], "expected a JSON object"),
        ([CLASS, "--network", "wrong.json"], "3 problems"),
        ([CLASS, "--network", "wrong.json"], "cell: unknown; did you mean cells?"),
        ([CLASS, "--network", "wrong.json"], "slots = 2.5: expected a whole number"),
        ([CLASS, "--network", "wrong.json"], "speed_m_s = 'fast': expected a number"),
        ([CLASS, "--network", "range.json"], "cells = 8: expected one of"),
        ([CLASS, "--network", "other.json"], "other.json: task = 'power': expected 'toy'"),
        ([CLASS, "--slots", "-1"], "slots = -1: expected a whole number, at least 1"),
        ([CLASS, "--slots", "0"], "slots = 0: expected a whole number, at least 1"),
        ([CLASS, "--scenario", "power/umi100"], "power/umi100 is not one of ToyTask"),
        ([CLASS, "--scenario", "power/moon"], "'power/moon' is not a scenario"),
        (["json:JSONDecoder", "--pettingzoo", "--slots", "3"], "--slots: is for tasks"),
        ([CLASS, "--json", "nowhere/out.json"], "--json: nowhere/out.json"),
    ],
)
def test_mistakes_are_told(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    (tmp_path / "syntax.py").write_text("class Task(:")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "wrong.json").write_text('{"cell": 7, "slots": 2.5, "speed_m_s": "fast"}')
    (tmp_path / "other.json").write_text('{"task": "power"}')
    (tmp_path / "range.json").write_text('{"cells": 8}')
    assert cli.main(["check", *arguments]) == 3
    assert said in capsys.readouterr().err


def test_networks_with_required_attributes(tmp_path: Path) -> None:
    file = tmp_path / "demanding.py"
    file.write_text(
        TOY.read_text().replace('name: str = "toy"', "tilt_deg: float = field(kw_only=True)")
        .replace("import dataclass", "import dataclass, field")
    )  # fmt: skip
    assert cli.main(["check", f"{file}:ToyTask"]) == 3
    network = tmp_path / "network.json"
    network.write_text('{"tilt_deg": 6, "slots": 2}')
    assert cli.main(["check", f"{file}:ToyTask", "--network", str(network)]) == 0


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["check", "--help"])
    assert ended.value.code == 0
    assert "example: networld check" in capsys.readouterr().out
