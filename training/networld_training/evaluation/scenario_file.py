"""A user's own network as a scenario: a JSON object with `task` and fields of the task's network."""

from __future__ import annotations

from pathlib import Path

from networld_runtime.errors import ConfigError
from networld_training.tasks.network_file import make_network, read_values
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario


def load_scenario(file: str) -> Scenario:
    """Return the scenario of a file such as `{"task": "power", "cells": 19, "speed_m_s": 3}`.

    Fields that are left out have the defaults of the task's network; `name` is the file's by default.
    The id of the scenario is `file/<task>/<name>-v0`.

    Raises:
        ConfigError: The file is missing or no JSON object, or keys are unknown or values of the wrong type
            or out of range; lists every problem.
    """
    path = Path(file)
    values = {"name": path.stem, **read_values(path)}
    task = values.pop("task", None)
    if not (isinstance(task, str) and task in TASKS):
        raise ConfigError(str(path), f"task = {task!r}: expected one of {', '.join(TASKS)}")
    network = make_network(TASKS[task].network, values, str(path))
    return Scenario(f"file/{task}/{network.name}-v0", "reference", (network,))
