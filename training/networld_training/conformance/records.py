"""Everything that an episode shows, slot by slot, and where two episodes differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

Record = dict[str, np.ndarray[Any, Any]]
"""What one slot showed, by name."""


class Run(Protocol):
    """Seeded episodes under way, acting by a fixed rule: the same episode gets the same actions."""

    instance: Any

    @property
    def over(self) -> bool:
        """Whether the last slot is done."""

    def reset(self) -> Record:
        """Start the episodes and return what they show."""

    def step(self) -> Record:
        """Act for one slot and return what that brought."""


class Subject(Protocol):
    """What is checked: something that can be made and played again and again."""

    @property
    def reference(self) -> list[Record]:
        """What a fresh run shows, from the first slot to the last."""

    def run(self, shift: int = 0) -> Run:
        """Return a fresh run; another shift means other seeds, but the same actions."""


def play(run: Run) -> list[Record]:
    """Return what whole episodes show, from `reset` on."""
    records = [run.reset()]
    while not run.over:
        records.append(run.step())
    return records


def flat(name: str, value: Any) -> Record:
    """Return the arrays in nested dictionaries and sequences, by path."""
    if isinstance(value, Mapping):
        parts = [flat(f"{name}/{key}" if name else str(key), one) for key, one in value.items()]
    elif isinstance(value, (tuple, list)):
        parts = [flat(f"{name}/{index}", one) for index, one in enumerate(value)]
    else:
        return {name: np.array(value)}  # a copy: the owner may write on
    return {path: array for part in parts for path, array in part.items()}


def difference(
    found: Sequence[Record], expected: Sequence[Record], first_slot: int = 0
) -> str | None:
    """Return where two episodes differ first, in words; None if nowhere."""
    for slot, (left, right) in enumerate(zip(found, expected, strict=False), first_slot):
        if left.keys() != right.keys():
            return f"slot {slot} shows {', '.join(sorted(left.keys() ^ right.keys()))} only once"
        for name, array in left.items():
            if not _equal(array, right[name]):
                return f"{name} differs first after {slot} slots"
    if len(found) != len(expected):
        return f"one episode has {len(found) - 1} slots, the other {len(expected) - 1}"
    return None


def _equal(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    if left.dtype.kind == "f" and right.dtype.kind == "f":
        return np.array_equal(left, right, equal_nan=True)
    return np.array_equal(left, right)
