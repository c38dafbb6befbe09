"""What a cell has to say and what has become of it; whoever uses it holds a lock.

Nothing queues but what is reliable and not retained. Of the others the newest of each topic counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

QUEUED_RELIABLE = 32
MOST_TRIES = 5
"""Connections that may end with the same payload unacknowledged: it may be why."""
LARGE_BYTES = 4096
"""What is retained and no larger is never given up: births and states."""


@dataclass(frozen=True, eq=False)
class Outgoing:
    """A payload on its way."""

    topic: str
    payload: bytes
    reliable: bool
    retain: bool


class Outbox:
    """Payloads that wait, are on their way, or are to be said again on every connection."""

    def __init__(self) -> None:
        self._retained: dict[str, bytes] = {}
        self._newer: set[str] = (
            set()
        )  # topics whose retained payload is newer than the one on its way
        self._unsent: set[str] = set()
        self._reliable: dict[Outgoing, bool] = {}  # and whether it was sent on this connection
        self._tries: Counter[str] = Counter()  # connections that ended with a payload of a topic

    @property
    def reliable(self) -> int:
        """How many payloads are not acknowledged."""
        return len(self._reliable)

    def admit(self, outgoing: Outgoing, *, connected: bool, closing: bool) -> str:
        """Return the counter that a payload belongs to, having taken note of one that goes out."""
        if outgoing.retain:
            self._retained[outgoing.topic] = outgoing.payload
        if not outgoing.reliable and outgoing.topic in self._unsent:
            return "skipped"
        if closing or (not connected and (outgoing.retain or not outgoing.reliable)):
            return "unsent"  # what is retained is sent on the next connection
        if not outgoing.reliable:
            self._unsent.add(outgoing.topic)
        elif outgoing.retain:
            self._admit_retained(outgoing)
        elif sum(not one.retain for one in self._reliable) >= QUEUED_RELIABLE:
            return "unsent"
        else:
            self._reliable[outgoing] = False
        return "published"

    def begin(self, *, closing: bool) -> list[Outgoing]:
        """Return what a connection begins with: what is retained, then what was not acknowledged."""
        waiting = [one for one in self._reliable if not one.retain]
        again = [] if closing else list(self._retained.items())
        retained = [Outgoing(topic, payload, True, True) for topic, payload in again]
        self._reliable = dict.fromkeys([*retained, *waiting], False)
        return [*retained, *waiting]

    def sends(self, outgoing: Outgoing) -> bool:
        """Note that a payload goes out now; return whether it is still to."""
        if not outgoing.reliable:
            return True
        if self._reliable.get(outgoing, True):
            return False  # the connection began with it, or a newer one has its place
        self._reliable[outgoing] = True
        return True

    def sent(self, outgoing: Outgoing) -> Outgoing | None:
        """Note that a payload was handed over or acknowledged; return one that is to follow it."""
        if not outgoing.reliable:
            self._unsent.discard(outgoing.topic)
            return None
        self._reliable.pop(outgoing, None)
        self._tries.pop(outgoing.topic, None)
        if not outgoing.retain or outgoing.topic not in self._newer:
            return None
        self._newer.discard(outgoing.topic)
        newer = Outgoing(outgoing.topic, self._retained[outgoing.topic], True, True)
        self._reliable[newer] = False
        return newer

    def lost(self, outgoing: Outgoing) -> None:
        """Note that there is no connection for a payload; what is reliable waits for the next one."""
        self._unsent.discard(outgoing.topic)

    def ended(self) -> Outgoing | None:
        """Note that the connection ended; return a payload that too many ended with, now given up."""
        self._unsent.clear()
        self._newer.clear()
        suspect = self._suspect()
        # What is retained begins the next connection in its newest form; an older must not follow.
        self._reliable = {one: False for one in self._reliable if not one.retain}
        if suspect is None:
            return None
        self._tries = Counter({suspect.topic: self._tries[suspect.topic] + 1})
        if self._tries[suspect.topic] < MOST_TRIES:
            return None
        self._tries.clear()
        self._reliable.pop(suspect, None)
        if suspect.retain:
            self._retained.pop(suspect.topic, None)
        return suspect

    def _suspect(self) -> Outgoing | None:
        """Return what the connection may have ended for: the largest retained, or the first other."""
        sent = [one for one, sent in self._reliable.items() if sent]
        large = [one for one in sent if one.retain and len(one.payload) > LARGE_BYTES]
        if large:
            return max(large, key=lambda one: len(one.payload))
        return next((one for one in sent if not one.retain), None)

    def _admit_retained(self, outgoing: Outgoing) -> None:
        """Let a payload take the place of the one before on its topic, or follow it once that has arrived.

        They never queue: a status that comes every few seconds must not keep a goodbye from being sent.
        """
        before = [one for one in self._reliable if one.retain and one.topic == outgoing.topic]
        if any(self._reliable[one] for one in before):
            self._newer.add(outgoing.topic)
            return
        for one in before:
            del self._reliable[one]
        self._reliable[outgoing] = False
