"""The network in which a task is checked: what the task declares, with values from JSON."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from networld_runtime.config_table import suggestion
from networld_runtime.errors import ConfigError
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network

UNNAMED = "own"
"""Name of a network that gives none."""

_SIMPLE = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}


def network_type(make: type[Task]) -> type[Network]:
    """Return the type of network that a task declares with `network: ItsNetwork`; else `Network`.

    Raises:
        ConfigError: The declaration cannot be resolved or is not a type of network.
    """
    try:
        declared = get_type_hints(make).get("network", Network)
    except NameError as error:
        raise ConfigError(
            make.__name__, f"type hints: {error}; import what they name outside TYPE_CHECKING"
        ) from error
    if not isinstance(declared, type) or not issubclass(declared, Network):
        raise ConfigError(make.__name__, f"network: {declared}, expected a subclass of Network")
    return declared


def make_network(kind: type[Network], values: dict[str, Any], subject: str) -> Network:
    """Return a network with these values, defaults for all others.

    Args:
        kind: Type of the network.
        values: Attributes by name, as JSON has them.
        subject: Where they come from, for messages.

    Raises:
        ConfigError: An attribute is unknown, missing, of the wrong type or out of range; lists all.
    """
    types = get_type_hints(kind)
    known = [one.name for one in fields(kind)]
    problems = []
    for name, value in values.items():
        expected = types.get(name)
        if name not in known:
            problems.append(f"{name}: unknown{suggestion(name, known)}")
        elif expected in _SIMPLE and not _is(value, expected):
            problems.append(f"{name} = {value!r}: expected {_SIMPLE[expected]}")
    values = {"name": UNNAMED, **values} if not _has_default(kind, "name") else values
    problems += [
        f"{name}: missing" for name in known if name not in values and not _has_default(kind, name)
    ]
    if problems:
        raise ConfigError(subject, problems)
    return kind(**values)


def read_network(kind: type[Network], path: Path) -> Network:
    """Return the network in a JSON file, `{"cells": 19, "slots": 50}`.

    Raises:
        ConfigError: The file is missing or not a JSON object, or see `make_network`.
    """
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(str(path), f"not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(str(path), f"{values!r:.60}: expected an object with attributes")
    return make_network(kind, values, str(path))


def _is(value: Any, expected: type) -> bool:
    if expected is float:
        return type(value) in (int, float)
    return type(value) is expected


def _has_default(kind: type[Network], name: str) -> bool:
    (one,) = (one for one in fields(kind) if one.name == name)
    return one.default is not MISSING or one.default_factory is not MISSING
