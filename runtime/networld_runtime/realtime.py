"""The one place for clocks, garbage collection and the process's share of the machine."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

PARENT_POLL_S = 0.3


def monotonic_s() -> float:
    """Return seconds of a clock that never steps; only differences mean anything."""
    return time.monotonic()


def new_epoch(previous: int = 0) -> int:
    """Return the wall clock in seconds, or one more than `previous` where that is later.

    A device without a battery-backed clock may boot in the past; its epochs must grow all the same.
    """
    return max(int(time.time()), previous + 1)


def freeze_garbage_collection() -> None:
    """Move all that exists out of the collector's sight and stop automatic collection.

    Call after warm-up. From then on `collect_garbage` is called where the loop has time.
    """
    gc.collect()
    gc.freeze()
    gc.disable()


def collect_garbage(slot: int) -> None:
    """Collect young objects, and every 256th slot the middle generation; below a millisecond."""
    gc.collect(1 if slot % 256 == 0 else 0)


def pin_to_core(core: int) -> bool:
    """Run this process on one core; return False where the system has no such thing."""
    try:
        os.sched_setaffinity(0, {core})
    except (AttributeError, OSError):
        return False
    return True


def yield_to_others() -> None:
    """Run this process only when nothing else wants the processor (or nearly so)."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):
        os.nice(19)


def watch_parent(parent_pid: int, when_gone: Callable[[], None]) -> None:
    """Call `when_gone` once, from a thread of its own, when our parent is no longer `parent_pid`."""

    def watch() -> None:
        while os.getppid() == parent_pid:
            time.sleep(PARENT_POLL_S)
        when_gone()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


FORGETTING = 0.01
"""Share by which an estimate falls when something was quicker, or was not done at all."""


class Estimate:
    """How long something takes, as far as is known: it rises at once and falls slowly.

    Attributes:
        duration_s: How long it takes now.
        usual_s: What it falls to while it is not done: what was slow once is worth another try after a while.

    Args:
        usual_s: How long it takes where nothing disturbs it.
    """

    def __init__(self, usual_s: float = 0.0) -> None:
        self.usual_s = self.duration_s = usual_s

    def took(self, duration_s: float) -> None:
        """Take note of how long it took."""
        share = 1.0 if duration_s > self.duration_s else FORGETTING
        self.duration_s += share * (duration_s - self.duration_s)

    def rested(self) -> None:
        """Take note that it was not done."""
        self.duration_s += FORGETTING * (self.usual_s - self.duration_s)


class LatencyRing:
    """The last `capacity` durations, for percentiles; adding one allocates nothing.

    Args:
        capacity: How many durations are kept.
    """

    def __init__(self, capacity: int = 1024) -> None:
        self._seconds: npt.NDArray[np.float64] = np.zeros(capacity)
        self.count = 0

    def add(self, seconds: float) -> None:
        """Keep one duration."""
        self._seconds[self.count % len(self._seconds)] = seconds
        self.count += 1

    def percentile_ms(self, percent: float) -> float | None:
        """Return a percentile in milliseconds, None if nothing was added yet."""
        kept = self._seconds[: self.count]
        return round(1000 * float(np.percentile(kept, percent)), 3) if self.count else None
