"""Durations of something that is done again and again, back to back or once in a slot."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WARM_UP = 30


@dataclass(frozen=True)
class Timing:
    """How long something takes.

    Attributes:
        p50_ms: Median.
        p99_ms: 99th percentile.
        p999_ms: 99.9th percentile.
        count: Runs.
    """

    p50_ms: float
    p99_ms: float
    p999_ms: float
    count: int


def time_work(
    work: Callable[[], object],
    count: int,
    pace_s: float = 0.0,
    warm_up: int = WARM_UP,
    afterwards: Callable[[], object] | None = None,
) -> Timing:
    """Time something, after a few runs that do not count.

    Args:
        work: What is done.
        count: How often.
        pace_s: A run begins so long after the one before did; 0 runs back to back. Caches are cold after
            a pause, so a paced run takes longer, and that is what a base station sees.
        warm_up: Runs before, that do not count.
        afterwards: What is done after each run and is no part of its time.
    """
    for _ in range(warm_up):
        work()
        if afterwards is not None:
            afterwards()
    durations_s = np.zeros(count)
    next_s = time.perf_counter()
    for index in range(count):
        if pace_s:
            next_s = max(next_s + pace_s, time.perf_counter())
            time.sleep(max(next_s - time.perf_counter(), 0.0))
        begin_s = time.perf_counter()
        work()
        durations_s[index] = time.perf_counter() - begin_s
        if afterwards is not None:
            afterwards()
    p50, p99, p999 = (
        round(1000 * float(one), 4) for one in np.percentile(durations_s, (50, 99, 99.9))
    )
    return Timing(p50, p99, p999, count)
