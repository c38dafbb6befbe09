"""What is known of one neighbour: its last messages, how old they are, and what was rejected."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from networld_runtime.mesh.inflow import Arrivals, TokenBucket
from networld_runtime.mesh.message import MeanFieldMessage

KEPT_MESSAGES = 4


@dataclass(frozen=True)
class Liveness:
    """What is known of one neighbour now; openpilot's three questions to a message.

    Attributes:
        alive: Whether a good message arrived lately enough to be used.
        age_s: How long ago the last good one arrived, None if none ever did.
        rate_per_s: Good messages per second of late, None if nothing ever arrived.
        valid_share: Share of good ones among what arrived of late, None if nothing did.
    """

    alive: bool
    age_s: float | None
    rate_per_s: float | None
    valid_share: float | None


@dataclass
class Sender:
    """One neighbour; whoever uses it holds the lock.

    Attributes:
        bucket: Says how much of it is read.
        newest: Epoch and slot of its last good message.
        recent: Its last good messages of that epoch and when they arrived, oldest first.
        unread: The newest payload that there was no time for, and when it arrived.
        received: Good messages.
        received_bytes: Bytes of all its payloads.
        arrived_s: When the last good one arrived.
        arrivals: What came of late.
        rejected: Messages that were not used, by reason.
    """

    bucket: TokenBucket
    newest: tuple[int, int] = (-1, -1)
    recent: list[tuple[MeanFieldMessage, float]] = field(default_factory=list)
    unread: tuple[bytes, float] | None = None
    received: int = 0
    received_bytes: int = 0
    arrived_s: float | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)
    rejected: Counter[str] = field(default_factory=Counter)

    def keep(self, message: MeanFieldMessage, arrived_s: float) -> None:
        """Take a good message."""
        if message.epoch > self.newest[0]:
            self.recent.clear()  # slots of another epoch may be counted from elsewhere
        self.received += 1
        self.arrived_s = arrived_s
        self.arrivals.good(arrived_s)
        self.newest = (message.epoch, message.slot)
        self.recent.append((message, arrived_s))
        del self.recent[:-KEPT_MESSAGES]

    def drop_unread(self) -> None:
        """Give up the payload that there was no time for."""
        if self.unread is not None:
            self.rejected["flood"] += 1
            self.unread = None

    def usable(self, oldest_slot: int, slot: int, since_s: float) -> MeanFieldMessage | None:
        """Return its newest message of slots from `oldest_slot` and below `slot` that arrived since then."""
        for message, arrived_s in reversed(self.recent):
            if oldest_slot <= message.slot < slot and arrived_s >= since_s:
                return message
        return None

    def liveness(self, now_s: float, maximum_age_s: float) -> Liveness:
        """Return what is known of it now."""
        age_s = None if self.arrived_s is None else round(now_s - self.arrived_s, 3)
        return Liveness(
            age_s is not None and age_s <= maximum_age_s,
            age_s,
            self.arrivals.rate_per_s(now_s),
            self.arrivals.valid_share(now_s),
        )
