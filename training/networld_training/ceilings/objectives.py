"""All objectives, by task."""

from __future__ import annotations

from collections.abc import Mapping

from networld_runtime.errors import ConfigError
from networld_training.ceilings.objective import Objective
from networld_training.ceilings.power import PowerObjective
from networld_training.ceilings.sched import SchedObjective
from networld_training.ceilings.sleep import SleepObjective

OBJECTIVES: Mapping[str, Objective] = {
    "power": PowerObjective(),
    "sched": SchedObjective(),
    "sleep": SleepObjective(),
}


def find_objective(task: str) -> Objective:
    """Return the objective of a task, by the task's name.

    Raises:
        ConfigError: It has none.
    """
    if task not in OBJECTIVES:
        known = ", ".join(OBJECTIVES)
        raise ConfigError(f"task {task!r}", f"has no objective of a ceiling; known: {known}")
    return OBJECTIVES[task]
