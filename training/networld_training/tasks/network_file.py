"""A user's own network: the type that a task declares, with values from a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

from networld_runtime.config_table import suggestion
from networld_runtime.errors import ConfigError
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network

UNNAMED = "own"
"""Name of a network that gives none and has none by default."""

LARGEST_BYTES = 1 << 20
LARGEST_NUMBER = 1e30
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


def read_values(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, such as `{"cells": 19, "slots": 50}`.

    Raises:
        ConfigError: The file is missing, too large or no JSON object.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ConfigError(str(path), f"larger than {LARGEST_BYTES} bytes")
        values = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(str(path), f"is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(str(path), 'expected a JSON object such as {"cells": 19}')
    return values


def make_network(kind: type[Network], values: Mapping[str, Any], subject: str) -> Network:
    """Return a network with these values, defaults for all others.

    Args:
        kind: Type of the network.
        values: Attributes by name, as JSON has them.
        subject: Where they come from, for messages.

    Raises:
        ConfigError: An attribute is unknown, missing, of the wrong type or out of range; lists all.
    """
    types = get_type_hints(kind)
    known = {one.name: types[one.name] for one in fields(kind)}
    required = {
        one.name
        for one in fields(kind)
        if one.default is MISSING and one.default_factory is MISSING
    }
    given = {"name": UNNAMED, **values} if "name" in required else dict(values)
    problems: list[str] = []
    fitting: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            problems.append(f"{name}: unknown{suggestion(name, list(known))}")
        elif known[name] in _SIMPLE and not _is(value, known[name]):
            problems.append(f"{name} = {value!r}: expected {_SIMPLE[known[name]]}")
        else:
            fitting[name] = float(value) if known[name] is float else value
    called = fitting.get("name", UNNAMED)
    if not called.replace("-", "").replace("_", "").isalnum():
        problems.append(f"name = {called!r}: expected letters, digits, - and _")
    problems += [f"{name}: missing" for name in sorted(required - given.keys())]
    if required <= fitting.keys():
        try:
            network = kind(**fitting)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(subject, problems)
    return network


def _is(value: Any, kind: type) -> bool:
    """Return whether a JSON value is of a type; whole numbers are numbers, flags are none."""
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and abs(value) <= LARGEST_NUMBER  # false for NaN
    return type(value) is kind
