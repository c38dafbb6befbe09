"""What belongs to a task, and the tasks that other distributions add."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from networld_runtime.errors import ConfigError
from networld_training.tasks.base import Rule, Task
from networld_training.tasks.ceiling import CEILING
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import TaskSpec

GROUP = "networld.tasks"
"""Entry-point group: the name of a task, and the `TaskEntry` that it is."""


@dataclass(frozen=True)
class TaskEntry:
    """Everything that belongs to a task.

    Attributes:
        make: Makes a batch of episodes from a network and seeds.
        network: The task's type of network.
        heuristics: Makers of its rules, by name; `random` and the task's expert are among them.
        scenarios: Its scenarios, by name.
        ceiling: Maker of its information ceiling, the best policy found that acts on a deployed cell's
            information, named `ceiling`; None if there is none.
    """

    make: type[Task]
    network: type[Network]
    heuristics: Mapping[str, Callable[[], Rule[Any]]]
    scenarios: Mapping[str, Scenario]
    ceiling: Callable[[], Rule[Any]] | None = None

    @property
    def spec(self) -> TaskSpec:
        """The task's interface."""
        return self.make.spec

    @property
    def policies(self) -> Mapping[str, Callable[[], Rule[Any]]]:
        """Makers of all policies that come with the task, by name: the rules and the ceiling."""
        return (
            self.heuristics if self.ceiling is None else {**self.heuristics, CEILING: self.ceiling}
        )


def added_tasks(taken: Collection[str]) -> dict[str, TaskEntry]:
    """Return the tasks of other distributions by name, from their entry points in `networld.tasks`.

    Args:
        taken: Names that cannot be used again.

    Raises:
        ConfigError: An entry point cannot be loaded, or what it names is no complete task.
    """
    added: dict[str, TaskEntry] = {}
    for point in entry_points(group=GROUP):
        subject = f"entry point {point.name} = {point.value!r} in {GROUP}"
        try:
            entry = point.load()
        except Exception as error:
            raise ConfigError(
                subject,
                f"cannot be loaded, {type(error).__name__}: {error}; mend or uninstall it",
            ) from error
        problems = _problems(point.name, entry, {*taken, *added})
        if problems:
            raise ConfigError(subject, problems)
        added[point.name] = entry
    return added


def _problems(name: str, entry: object, taken: Collection[str]) -> list[str]:
    if not isinstance(entry, TaskEntry):
        return [f"is {entry!r:.60}, expected a TaskEntry"]
    problems = [f"there is a task {name!r} already"] if name in taken else []
    if entry.spec.name != name:
        problems.append(f"the task's own name is {entry.spec.name!r}, expected the same")
    problems += [
        f"heuristics: {rule!r} is missing"
        for rule in ("random", entry.spec.expert)
        if rule not in entry.heuristics
    ]
    if CEILING in entry.heuristics:
        problems.append(f"heuristics: {CEILING!r} is a name for the field `ceiling` alone")
    if entry.ceiling is not None and entry.ceiling().name != CEILING:
        problems.append(f"ceiling: named {entry.ceiling().name!r}, expected {CEILING!r}")
    problems += [
        f"scenario {key!r} has the id {scenario.id!r}, expected networld/{name}/{key}-v<number>"
        for key, scenario in entry.scenarios.items()
        if not scenario.id.startswith(f"networld/{name}/{key}-v")
    ]
    return problems
