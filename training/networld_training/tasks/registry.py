"""All tasks with their networks, rules and scenarios, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from networld_runtime.contract import Contract
from networld_runtime.errors import ConfigError
from networld_runtime.planner_settings import PlannerSettings
from networld_training.tasks.base import Rule, Task
from networld_training.tasks.ceiling import ShippedCeiling, with_ceiling
from networld_training.tasks.entry import TaskEntry, added_tasks
from networld_training.tasks.learning import Learning
from networld_training.tasks.network import Network
from networld_training.tasks.power.contract import POWER_CONTRACT, POWER_LEARNING
from networld_training.tasks.power.heuristics import POWER_HEURISTICS
from networld_training.tasks.power.network import PowerNetwork
from networld_training.tasks.power.scenarios import POWER_SCENARIOS
from networld_training.tasks.power.task import PowerTask
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.sched.contract import SCHED_CONTRACT, SCHED_LEARNING
from networld_training.tasks.sched.heuristics import SCHED_HEURISTICS
from networld_training.tasks.sched.network import SchedNetwork
from networld_training.tasks.sched.scenarios import SCHED_SCENARIOS
from networld_training.tasks.sched.task import SchedTask
from networld_training.tasks.sleep.contract import SLEEP_CONTRACT, SLEEP_LEARNING
from networld_training.tasks.sleep.heuristics import SLEEP_HEURISTICS
from networld_training.tasks.sleep.network import SleepNetwork
from networld_training.tasks.sleep.scenarios import SLEEP_SCENARIOS
from networld_training.tasks.sleep.task import SleepTask


def _entry(
    make: type[Task],
    network: type[Network],
    heuristics: Mapping[str, Callable[[], Rule[Any]]],
    scenarios: tuple[Scenario, ...],
) -> TaskEntry:
    """Return the entry of one of our tasks: its rules and its ceiling."""
    by_name = {scenario.name: scenario for scenario in scenarios}
    ceiling = partial(ShippedCeiling, make.spec, with_ceiling(scenarios))
    return TaskEntry(make, network, heuristics, by_name, ceiling)


_OWN = {
    "power": _entry(PowerTask, PowerNetwork, POWER_HEURISTICS, POWER_SCENARIOS),
    "sched": _entry(SchedTask, SchedNetwork, SCHED_HEURISTICS, SCHED_SCENARIOS),
    "sleep": _entry(SleepTask, SleepNetwork, SLEEP_HEURISTICS, SLEEP_SCENARIOS),
}

TASKS: Mapping[str, TaskEntry] = {**_OWN, **added_tasks(_OWN)}

CONTRACTS: Mapping[str, Contract] = {
    contract.task: contract for contract in (POWER_CONTRACT, SCHED_CONTRACT, SLEEP_CONTRACT)
}
"""Contracts of the tasks that the world model learns, by name."""

LEARNING: Mapping[str, Learning] = {
    "power": POWER_LEARNING,
    "sched": SCHED_LEARNING,
    "sleep": SLEEP_LEARNING,
}
"""How it learns to act in them, by name."""

SCENARIOS: Mapping[str, Scenario] = {
    scenario.id: scenario for entry in TASKS.values() for scenario in entry.scenarios.values()
}


def planner_in(
    task: str, settings: PlannerSettings, temperature: float | None = None
) -> PlannerSettings:
    """Return planner settings with a temperature, the task's own if none is given."""
    own = LEARNING[task].plan_temperature
    return replace(settings, temperature=own if temperature is None else temperature)


def find_task(name: str) -> TaskEntry:
    """Return a task by name.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in TASKS:
        raise ConfigError("task", f"{name!r} is not a task; known: {', '.join(TASKS)}")
    return TASKS[name]


def find_contract(task: str) -> Contract:
    """Return the contract of a task, by the task's name.

    Raises:
        ConfigError: The world model does not learn this task.
    """
    if task not in CONTRACTS:
        raise ConfigError(
            f"task {task!r}", f"the world model does not learn it; it learns {', '.join(CONTRACTS)}"
        )
    return CONTRACTS[task]


def find_scenario(text: str) -> Scenario:
    """Return the scenario with this id; `power/umi100` is short for `networld/power/umi100-v0`.

    Raises:
        ConfigError: There is none; names the task's scenarios, or the tasks.
    """
    short = text.removeprefix("networld/")
    if f"networld/{short}" in SCENARIOS:
        return SCENARIOS[f"networld/{short}"]
    task, _, name = short.partition("/")
    if task in TASKS and name in TASKS[task].scenarios:
        return TASKS[task].scenarios[name]
    if task in TASKS:
        known = ", ".join(f"{task}/{one}" for one in TASKS[task].scenarios)
    else:
        known = f"{', '.join(f'{one}/...' for one in TASKS)}; `networld scenarios` lists them all"
    raise ConfigError("scenario", f"{text!r} is not a scenario; known: {known}")
