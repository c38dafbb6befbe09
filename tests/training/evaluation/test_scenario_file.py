"""A user's own network: read, or refused with all of its problems."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from networld_runtime.errors import ConfigError
from networld_training.evaluation.scenario_file import load_scenario
from networld_training.tasks.power import PowerNetwork
from networld_training.tasks.registry import TASKS


def write(folder: Path, **data: Any) -> str:
    file = folder / "my-network.json"
    file.write_text(json.dumps(data))
    return str(file)


def test_a_file_is_a_scenario(tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, task="power", cells=19, speed_m_s=3))
    assert scenario.id == "file/power/my-network-v0"
    assert scenario.task == "power"
    assert scenario.name == "my-network"
    assert scenario.networks == (PowerNetwork(name="my-network", cells=19, speed_m_s=3.0),)


def test_whole_numbers_and_others_make_the_same_scenario(tmp_path: Path) -> None:
    one = load_scenario(write(tmp_path, task="power", speed_m_s=3))
    other = load_scenario(write(tmp_path, task="power", speed_m_s=3.0))
    assert one.digest() == other.digest()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_defaults(task: str, tmp_path: Path) -> None:
    scenario = load_scenario(write(tmp_path, task=task, name="mine"))
    assert isinstance(scenario.networks[0], TASKS[task].network)
    assert scenario.id == f"file/{task}/mine-v0"


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        task="power",
        colour="red",
        cells=8,
        slots=2.5,
        users_per_cell=True,
        model=3,
        speed_m_s="fast",
        bandwidth_hz=float("inf"),
        noise_figure_db=-1,
        name="a/b",
    )
    with pytest.raises(ConfigError) as raised:
        load_scenario(file)
    text = str(raised.value)
    for said in (
        "9 problems",
        "colour: unknown; known here: name, cells",
        "cells = 8: expected one of",
        "slots = 2.5: expected a whole number",
        "users_per_cell = True: expected a whole number",
        "model = 3: expected a string",
        "speed_m_s = 'fast': expected a number",
        "bandwidth_hz = inf: expected a number",
        "noise_figure_db = -1.0: expected 0 to 40",
        "name = 'a/b': expected letters",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "expected a JSON object"),
        ("{", "is not JSON"),
        ("{}", "task = None: expected one of power"),
        ('{"task": "chess"}', "task = 'chess': expected one of power"),
        ('{"task": ["power"]}', "expected one of power"),
        ('{"task": "power", "slots": 1e999}', "slots = inf"),
        ('{"task": "power", "speed_m_s": 1' + 400 * "0" + "}", "expected a number"),
    ],
)
def test_what_is_no_scenario_is_refused(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_scenario(str(file))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario(str(tmp_path / "none.json"))
