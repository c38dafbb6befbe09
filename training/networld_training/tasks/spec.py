"""What a task offers: observations, messages, actions and figures of merit, with their units."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from networld_runtime.contract import (
    Action,
    Choice,
    Feature,
    actions_from_json,
    allowed,
    mask_size,
    native_bounds,
)
from networld_runtime.errors import NetWorldError

__all__ = [
    "INFORMATION",
    "Action",
    "ActionError",
    "Choice",
    "Information",
    "Kpi",
    "TaskSpec",
    "action_problems",
    "allowed",
    "native_bounds",
]

Information = Literal["none", "local", "mean-field", "one-hop", "genie"]
"""What a policy knows: nothing of the network; what its cell measures; also the average of what the
neighbours told one slot ago; also what each of them told; everything, at once."""

INFORMATION: tuple[Information, ...] = ("none", "local", "mean-field", "one-hop", "genie")


class ActionError(NetWorldError, ValueError):
    """Actions that a task does not take, or a step that it cannot make now."""

    exit_code = 8


@dataclass(frozen=True)
class Kpi:
    """A figure of merit in native units."""

    name: str
    unit: str
    higher_is_better: bool = True


@dataclass(frozen=True)
class TaskSpec:
    """The interface of a task, the same in all of its scenarios.

    Attributes:
        name: Name of the task.
        slot_s: Length of a slot.
        features: Entries of an observation.
        message: Entries of what a cell tells its neighbours once per slot, as int8 over its range.
        actions: Components of an action; at most one choice is masked.
        kpis: Figures of merit that `Task.metrics` returns; the first is the one that is scored.
        expert: Heuristic whose result scores 100; `random` scores 0.
    """

    name: str
    slot_s: float
    features: tuple[Feature, ...]
    message: tuple[Feature, ...]
    actions: tuple[Action, ...]
    kpis: tuple[Kpi, ...]
    expert: str

    @property
    def mask_size(self) -> int:
        """Entries of the action mask, 0 if no action is masked."""
        return mask_size(self.actions)

    def to_json(self) -> dict[str, Any]:
        """Return the interface as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskSpec:
        """Build an interface from `to_json`'s data.

        Raises:
            KeyError, TypeError: A key is missing, unknown or of the wrong type.
        """
        fields = dict(data)
        fields["features"] = tuple(Feature(**feature) for feature in fields["features"])
        fields["message"] = tuple(Feature(**feature) for feature in fields["message"])
        fields["actions"] = actions_from_json(fields["actions"])
        fields["kpis"] = tuple(Kpi(**kpi) for kpi in fields["kpis"])
        return cls(**fields)

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON form, as hexadecimal digits."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def action_problems(
    spec: TaskSpec,
    action: np.ndarray[Any, Any],
    mask: np.ndarray[Any, Any] | None = None,
) -> list[str]:
    """Return what is wrong with actions `[E, K, C]`, one line for each component at most.

    Args:
        spec: The task.
        action: Native values.
        mask: Valid choices of the masked component `[E, K, A]`.
    """
    problems = []
    for index, component in enumerate(spec.actions):
        values = action[..., index]
        valid, expected = allowed(component, values, mask)
        if not valid.all():
            episode, cell = (int(axis[0]) for axis in np.nonzero(~valid))
            if mask is not None and isinstance(component, Choice) and component.masked:
                now = np.flatnonzero(mask[episode, cell])
                expected += f" ({', '.join(map(str, now))} now)"
            problems.append(
                f"{component.name} = {values[episode, cell]:g} of cell {cell} in episode {episode}: "
                f"expected {expected}"
            )
    return problems
