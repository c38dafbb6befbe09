"""Hyper-parameters: a dataclass for each method, changed by `NAME=VALUE`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from networld_runtime.errors import ConfigError, check_values

DISCOUNTS = {"power": 0.5, "sched": 0.95, "sleep": 0.9}
"""Weight of the next slot for each task: fading forgets sooner than queues do."""

OTHER_DISCOUNT = 0.9
"""The same for tasks that are not listed."""


def discount_of(task: str) -> float:
    """Return the weight of the next slot for a task."""
    return DISCOUNTS.get(task, OTHER_DISCOUNT)


@dataclass(frozen=True)
class OfflineSettings:
    """What all methods that learn from data sets have.

    Attributes:
        steps: Optimiser steps at most.
        batch: Samples of a step.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        validate_every: Steps between two looks at the held-out episodes.
        width: Width of the hidden layers of all networks.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    steps: int = 30_000
    batch: int = 256
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    validate_every: int = 500
    width: int = 256

    def __post_init__(self) -> None:
        check_values("hyper-parameters", self, self._checks())

    def _checks(self) -> list[tuple[str, bool, str]]:
        """Return attribute, whether its value is fine, and what is expected; methods add theirs."""
        return [
            ("steps", self.steps >= 1, "at least 1"),
            ("batch", self.batch >= 1, "at least 1"),
            ("learning_rate", 0 < self.learning_rate < 1, "between 0 and 1"),
            ("weight_decay", self.weight_decay >= 0, "0 or more"),
            ("validate_every", self.validate_every >= 1, "at least 1"),
            ("width", self.width >= 1, "at least 1"),
        ]


SettingsT = TypeVar("SettingsT")


def changed(settings: SettingsT, changes: Sequence[str]) -> SettingsT:
    """Return settings with some values changed.

    Args:
        settings: A dataclass of numbers and flags.
        changes: `NAME=VALUE` each.

    Raises:
        ConfigError: A name is not known or a value not of its type; lists all such changes.
    """
    known = [field.name for field in fields(settings)]  # type: ignore[arg-type]  # a dataclass
    values: dict[str, Any] = {}
    problems = []
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            problems.append(f"{change!r}: no hyper-parameter {name!r}; known: {', '.join(known)}")
            continue
        kind = type(getattr(settings, name))
        try:
            values[name] = _flag(text) if kind is bool else kind(text)
        except (ValueError, KeyError):
            expected = "true or false" if kind is bool else f"a value of type {kind.__name__}"
            problems.append(f"{change!r}: expected {expected}")
    if problems:
        raise ConfigError("--set", problems)
    made: SettingsT = replace(settings, **values)  # type: ignore[type-var]  # a dataclass
    return made


def _flag(text: str) -> bool:
    return {"true": True, "false": False}[text]
