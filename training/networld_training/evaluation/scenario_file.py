"""A user's own network as a scenario: a JSON object with `task` and fields of the task's network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from networld_runtime.errors import ConfigError
from networld_training.tasks.network import Network
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario

LARGEST_BYTES = 1 << 20
LARGEST_NUMBER = 1e30
_WORDS = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def load_scenario(file: str) -> Scenario:
    """Return the scenario of a file such as `{"task": "power", "cells": 19, "speed_m_s": 3}`.

    Fields that are left out have the defaults of the task's network; `name` is the file's by default.
    The id of the scenario is `file/<task>/<name>-v0`.

    Raises:
        ConfigError: The file is missing or no JSON object, or keys are unknown or values of the wrong type
            or out of range; lists every problem.
    """
    path = Path(file)
    data = _read(path)
    task = data.get("task")
    if not (isinstance(task, str) and task in TASKS):
        raise ConfigError(str(path), f"task = {task!r}: expected one of {', '.join(TASKS)}")
    network = TASKS[task].network
    kinds = get_type_hints(network)
    known = {field.name: kinds[field.name] for field in fields(network)}
    given = {"name": path.stem, **data}
    del given["task"]
    problems = [
        f"{key}: unknown; known are task, {', '.join(known)}" for key in given if key not in known
    ]
    values = {}
    for key, value in given.items():
        if key not in known:
            continue
        if _is(value, known[key]):
            values[key] = known[key](value)
        else:
            problems.append(f"{key} = {value!r}: expected {_WORDS[known[key]]}")
    if not str(values.get("name", "x")).replace("-", "").replace("_", "").isalnum():
        problems.append(f"name = {values['name']!r}: expected letters, digits, - and _")
    made, out_of_range = _make(network, values)
    problems += out_of_range
    if problems or made is None:
        raise ConfigError(str(path), problems)
    return Scenario(f"file/{task}/{made.name}-v0", "reference", (made,))


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ConfigError(str(path), f"larger than {LARGEST_BYTES} bytes")
        data = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(path), f"is not JSON ({error})") from error
    if not isinstance(data, dict):
        raise ConfigError(str(path), 'expected a JSON object such as {"task": "power"}')
    return data


def _is(value: Any, kind: type) -> bool:
    """Return whether a JSON value is of a field's type; whole numbers are numbers, flags are none."""
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) <= LARGEST_NUMBER  # false for NaN
    return type(value) is kind


def _make(network: type[Network], values: Mapping[str, Any]) -> tuple[Network | None, list[str]]:
    """Return the network, or what is out of range."""
    defaults = {"name": "file"} | dict(values)
    try:
        return network(**defaults), []
    except ConfigError as error:
        return None, error.problems
