"""What comes in from one neighbour: how much of it is read, how often it comes, how much of it is good."""

from __future__ import annotations

WINDOW_S = 5
"""Rates are told of so many whole seconds, and of the present one."""
_PLACES = WINDOW_S + 1


class TokenBucket:
    """Says of each message whether there is still time for it.

    Args:
        capacity: Messages that may come at once, after a silence.
        refill_per_s: Messages per second in the long run.
        now_s: The clock now.
    """

    def __init__(self, capacity: float, refill_per_s: float, now_s: float) -> None:
        self._capacity = self._tokens = capacity
        self._refill_per_s = refill_per_s
        self._seen_s = now_s

    def take(self, now_s: float) -> bool:
        """Return whether a message that came now may be read, and count it if so."""
        self.add((now_s - self._seen_s) * self._refill_per_s)
        self._seen_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def add(self, tokens: float) -> None:
        """Allow some more messages, up to the capacity."""
        self._tokens = min(self._tokens + tokens, self._capacity)


class Arrivals:
    """How many messages came in each of the last seconds, and how many of them were used."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._seconds = [-1] * _PLACES
        self._came = [0] * _PLACES
        self._good = [0] * _PLACES

    def came(self, now_s: float) -> None:
        """Count a message."""
        self._came[self._place(now_s)] += 1

    def good(self, now_s: float) -> None:
        """Count a message that was counted by `came` as one that is used."""
        self._good[self._place(now_s)] += 1

    def rate_per_s(self, now_s: float) -> float | None:
        """Return good messages per second of late; None if nothing ever came."""
        if self._began_s is None:
            return None
        first_s = max(self._began_s, int(now_s) - WINDOW_S)
        return round(self._sum(self._good, now_s) / max(now_s - first_s, 1.0), 3)

    def valid_share(self, now_s: float) -> float | None:
        """Return the share of good ones among what came of late; None if nothing did."""
        came = self._sum(self._came, now_s)
        return round(self._sum(self._good, now_s) / came, 3) if came else None

    def _place(self, now_s: float) -> int:
        second = int(now_s)
        if self._began_s is None:
            self._began_s = now_s
        place = second % _PLACES
        if self._seconds[place] != second:
            self._seconds[place] = second
            self._came[place] = self._good[place] = 0
        return place

    def _sum(self, counts: list[int], now_s: float) -> int:
        first = int(now_s) - WINDOW_S
        return sum(
            count for second, count in zip(self._seconds, counts, strict=True) if second >= first
        )
