"""Durations counted in buckets: cheap to add to, and sums over cells still mean something."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.5, 2.0, 4.0)
"""Bounds of the buckets as shares of a slot: close together where a deadline is kept or missed."""


class Histogram:
    """Counts of durations up to each bound, as Prometheus has them.

    Args:
        bounds: Upper ends of the buckets in seconds, rising; longer durations have a bucket of their own.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum_s = 0.0

    @classmethod
    def around(cls, slot_s: float) -> Histogram:
        """Return a histogram with bounds around the length of a slot."""
        return cls([float(f"{share * slot_s:.6g}") for share in SHARES])

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self._sum_s += seconds

    def to_json(self) -> dict[str, Any]:
        """Return bounds, counts of each bucket by itself (one more than bounds), and the sum."""
        return {
            "bounds_s": list(self.bounds),
            "counts": list(self._counts),
            "sum_s": round(self._sum_s, 6),
        }
