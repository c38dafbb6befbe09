"""When a lost connection is tried again: soon, at times that no two cells share, and not for ever fast."""

from __future__ import annotations

import random

SHORTEST_S = 0.05
FIRST_S = 0.25
LONGEST_S = 1.5
"""With it every cell has tried again 1.5 s after the broker's return, and needs the rest of 2 s to speak."""
LONGEST_SUSPECT_S = 8.0
STEADY_S = 10.0
SUSPECT_AFTER = 5


class BackOff:
    """Doubles a ceiling with every attempt and draws each delay evenly below it.

    Attributes:
        suspect: Whether connections end shortly after they begin again and again, as they do when two
            clients of one name throw each other out; attempts are then rarer.
    """

    def __init__(self, source: random.Random | None = None) -> None:
        self.suspect = False
        self._random = source or random.Random()  # cells that start together must not draw alike
        self._attempts = 0
        self._short_lives = 0

    def delay_s(self) -> float:
        """Return how long to wait before the next attempt."""
        longest_s = LONGEST_SUSPECT_S if self.suspect else LONGEST_S
        ceiling_s = min(FIRST_S * 2 ** min(self._attempts, 16), longest_s)
        self._attempts += 1
        return self._random.uniform(SHORTEST_S, ceiling_s)

    def ended(self, lived_s: float, by_broker: bool) -> None:
        """Take note of how long a connection lived and whether the broker ended it."""
        if lived_s >= STEADY_S:
            self.suspect = False
            self._attempts = self._short_lives = 0
            return
        self._short_lives += by_broker
        self.suspect = self.suspect or self._short_lives >= SUSPECT_AFTER
