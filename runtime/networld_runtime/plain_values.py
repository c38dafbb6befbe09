"""Checks of plain values, as they come from JSON: numbers, counts, names and ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from reprlib import repr as shown
from typing import Any, TypeVar

import numpy as np

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

_Built = TypeVar("_Built")


def is_number(value: object) -> bool:
    """Return whether a value is a number that float32 holds; NaN and true are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= _LARGEST_FLOAT32


def is_count(value: object, lowest: int) -> bool:
    """Return whether a value is a whole number of at least `lowest`."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest


def is_text(value: object) -> bool:
    """Return whether a value is a string that is not empty."""
    return isinstance(value, str) and value != ""


def rises(low: Any, high: Any) -> bool:
    """Return whether `low` is below `high` in float32, or one is no number: that is said of it alone."""
    if not (is_number(low) and is_number(high)):
        return True
    return bool(np.float32(low) < np.float32(high))


def attribute_problems(owner: object, checks: Iterable[tuple[str, bool, str]]) -> list[str]:
    """Return one line for every attribute of `owner` that is not fine.

    Args:
        owner: Holds the values.
        checks: Attribute, whether its value is fine, and what is expected.
    """
    return [
        f"{name} = {shown(getattr(owner, name))}, expected {expected}"
        for name, valid, expected in checks
        if not valid
    ]


def attempt(
    build: Callable[[Any], _Built], data: Any, problems: list[str], where: str = ""
) -> _Built | None:
    """Return what `build` makes of `data`; None, and a line more in `problems`, if it cannot.

    Args:
        build: Raises TypeError or ValueError at data that it cannot use.
        data: Plain data.
        problems: Lines so far.
        where: What the line begins with.
    """
    try:
        return build(data)
    except (TypeError, ValueError) as error:
        problems.append(f"{where}{error}")
        return None
