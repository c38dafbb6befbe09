"""An absolute schedule of slots on the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable


class SlotClock:
    """Begins slots at equal distances; a delay of one slot does not move the next ones.

    Only when more than half a slot has been lost does the schedule move: otherwise the slots that
    follow would be too short for any answer, and one hiccup would look like many.

    Args:
        slot_s: Length of a slot.
        now: Monotonic clock in seconds.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        slot_s: float,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.slips = 0
        """How often the schedule moved."""
        self._slot_s = slot_s
        self._now = now
        self._sleep = sleep
        self._next_s: float | None = None

    def restart(self) -> None:
        """Let the next slot begin at once."""
        self._next_s = None

    def begin_slot(self) -> float:
        """Wait for the beginning of the next slot and return when it ends."""
        now_s = self._now()
        if self._next_s is None:
            begin_s = now_s
        elif now_s > self._next_s + self._slot_s / 2:
            self.slips += 1
            begin_s = now_s
        else:
            begin_s = self._next_s
        if begin_s > now_s:
            self._sleep(begin_s - now_s)
        self._next_s = begin_s + self._slot_s
        return self._next_s
