"""Whether a cell does worse since it acts by a new adapter, by the utilities that it sees itself.

The guardrail of an adaptation is judged by the credit model; this is judged by the world.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

WINDOW = 256
"""Slots before and after that are compared."""
BLOCK = 16
"""Slots that count as one observation: neighbouring ones are alike."""
LOOKS = 4
"""After so many windows without a fall an adapter has proved itself."""
ERRORS = 3.0
"""A fall counts if it is so many standard errors deep: traffic comes and goes without any adapter."""


class RegressionWatch:
    """Compares a cell's utilities since an adapter was adopted with those before."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._before: list[float] = []
        self._after: list[float] | None = None

    @property
    def watching(self) -> bool:
        """Whether an adapter is on trial."""
        return self._after is not None

    def adopted(self) -> None:
        """Begin a trial; there is none without a full window before it."""
        full = len(self._recent) == WINDOW
        self._before, self._after = list(self._recent), [] if full else None

    def forget(self) -> None:
        """End a trial, if there is one: what acts now is what acted long before, or other slots begin."""
        self._recent.clear()
        self._after = None

    def add(self, utility: float) -> bool:
        """Take the utility of another slot; return whether the adapter on trial has done harm, once."""
        if not math.isfinite(utility):
            return False
        self._recent.append(utility)
        if self._after is None:
            return False
        self._after.append(utility)
        if len(self._after) % WINDOW:
            return False
        worse = _fell(self._before, self._after)
        if worse or len(self._after) == LOOKS * WINDOW:
            self._after = None
        return worse


def _fell(before: list[float], after: list[float]) -> bool:
    old, new = (np.reshape(values, (-1, BLOCK)).mean(axis=1) for values in (before, after))
    error = math.sqrt(old.var(ddof=1) / len(old) + new.var(ddof=1) / len(new))
    return bool(new.mean() < old.mean() - ERRORS * error - 1e-9)
