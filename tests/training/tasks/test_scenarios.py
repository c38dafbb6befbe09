"""Scenarios: frozen under their ids, found by id or short name, and one axis from the reference."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from networld_runtime.errors import ConfigError
from networld_training.tasks.registry import SCENARIOS, TASKS, find_scenario, find_task
from networld_training.tasks.scenario import Scenario

FROZEN = Path(__file__).with_name("scenarios.json")


def test_a_scenario_never_changes_under_its_id() -> None:
    """A changed network needs a new version; then add its hash to the file, and keep the old one."""
    frozen = json.loads(FROZEN.read_text())
    found = {name: scenario.digest() for name, scenario in SCENARIOS.items()}
    assert found == frozen


def test_every_parameter_is_part_of_the_hash() -> None:
    scenario = find_scenario("power/umi200")
    network = scenario.networks[0]
    for name, value in asdict(network).items():
        if not isinstance(value, float):
            continue
        change: dict[str, Any] = {name: value + 0.01}
        changed = replace(network, **change)
        assert replace(scenario, networks=(changed,)).digest() != scenario.digest(), name


@pytest.mark.parametrize("task", TASKS)
def test_each_task_has_every_axis(task: str) -> None:
    scenarios = TASKS[task].scenarios.values()
    axes = {scenario.axis for scenario in scenarios}
    assert axes == {
        *("training", "reference", "layout", "size", "distance", "density", "traffic"),
        *("speed", "bandwidth", "combined"),
    }
    for scenario in scenarios:
        assert scenario.task == task
        assert scenario.id == f"networld/{task}/{scenario.name}-v0"
        assert all(isinstance(one, TASKS[task].network) for one in scenario.networks)


def test_episodes_are_spread_over_the_networks() -> None:
    scenario = find_scenario("networld/power/train-v0")
    assert len(scenario.networks) == 9
    assert scenario.network_of(13) is scenario.networks[4]
    groups = scenario.by_network([0, 9, 4, 1])
    assert [(network.name, seeds) for network, seeds in groups] == [
        ("train-0", [0, 9]),
        ("train-1", [1]),
        ("train-4", [4]),
    ]


def test_short_names_and_unknown_ones() -> None:
    found = find_scenario("networld/power/umi100-v0")
    assert find_scenario("power/umi100") is find_scenario("power/umi100-v0") is found
    with pytest.raises(
        ConfigError, match=r"'power/umi1000' is not a scenario; known: .*power/umi100,"
    ):
        find_scenario("power/umi1000")
    with pytest.raises(ConfigError, match="'nosuch/x' is not a scenario"):
        find_scenario("nosuch/x")
    with pytest.raises(ConfigError, match="'nosuch' is not a task; known: power"):
        find_task("nosuch")


def test_the_name_is_what_stands_before_the_version() -> None:
    assert Scenario("networld/power/a-v-b-v12", "layout", ()).name == "a-v-b"


@pytest.mark.parametrize("task", TASKS)
def test_counts_are_whole_and_quantities_finite(task: str) -> None:
    network = next(iter(TASKS[task].scenarios.values())).networks[0]
    for name, value in asdict(network).items():
        if isinstance(value, str):
            continue
        wrong = float(value) if isinstance(value, int) else math.inf
        change: dict[str, Any] = {name: wrong}
        with pytest.raises(ConfigError, match=f"{name} = {wrong}: expected"):
            replace(network, **change)
