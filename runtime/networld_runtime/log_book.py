"""The logs that neighbours sent: the newest of each, bounded, checked when they arrive."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from networld_runtime.contract import Contract
from networld_runtime.episode_log import LARGEST_LOGS, EpisodeLog, decode_log
from networld_runtime.errors import MessageError
from networld_runtime.mesh.authentication import NoSeal, Seal
from networld_runtime.mesh.inflow import TokenBucket
from networld_runtime.mesh.last_heard import Heard

BURST_LOGS = 4 * LARGEST_LOGS
"""Logs of a neighbour that are read in a row; one a second after that.

A signature over the largest takes a millisecond of the thread that all messages come through.
"""


@dataclass
class _Sender:
    bucket: TokenBucket
    epoch: int = -1
    oldest_epoch: int = 0
    logs: dict[int, EpisodeLog] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)


class LogBook:
    """What the neighbours of one cell logged.

    The network thread calls `receive`; the loop reads.

    Args:
        contract: Decides how logs are read.
        couplings: Numbers that say how strongly one cell acts on another.
        names: Neighbours whose logs are expected.
        capacity: Slots that are kept of each neighbour, whole episodes.
        seal: Opens what arrives; None takes it as it is.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        contract: Contract,
        couplings: int,
        names: Sequence[str],
        capacity: int,
        seal: Seal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._seal = seal or NoSeal()
        self._contract = contract
        self._couplings = couplings
        self._capacity = capacity
        self._lock = threading.Lock()
        self._senders = {name: _Sender(TokenBucket(BURST_LOGS, 1.0, clock())) for name in names}

    def receive(self, name: str, payload: bytes) -> None:
        """Take a payload that arrived on the topic of neighbour `name`.

        Never raises: a payload that is rejected is counted by reason (those of `Seal.open_log` and of
        `decode_log`, `stale` for one of an older epoch, or that ends before the one that is there, and
        `flood` for one that was not even read because too many came). The newest log of an episode counts.
        """
        sender, seal = self._senders[name], self._seal
        if not sender.bucket.take(self._clock()):
            with self._lock:
                sender.rejected["flood"] += 1
            return
        try:
            log = decode_log(seal.open_log(name, payload), self._contract, self._couplings)
        except MessageError as error:
            with self._lock:
                sender.rejected[error.reason] += 1
            return
        with self._lock:
            if seal.keys.get(name) != self._seal.keys.get(name):
                sender.rejected["forged"] += 1  # opened by a key that was taken away meanwhile
                return
            if log.epoch < max(sender.epoch, sender.oldest_epoch) or _is_older(log, sender):
                sender.rejected["stale"] += 1
                return
            if log.epoch > sender.epoch:
                sender.epoch = log.epoch
                sender.logs.clear()
            sender.logs[log.episode] = log
            self._make_room(sender)

    def go_on_with(self, seal: Seal) -> None:
        """Open what arrives with other keys; who has another one than before begins anew."""
        with self._lock:
            before, self._seal = self._seal, seal
            for name, sender in self._senders.items():
                if before.keys.get(name) != seal.keys.get(name):
                    sender.epoch, sender.oldest_epoch = -1, 0

    def expect(self, last_heard: Mapping[str, Heard]) -> None:
        """Take no log any more of an older epoch than a neighbour is in; those that are there stay."""
        with self._lock:
            for name, sender in self._senders.items():
                sender.oldest_epoch = max(sender.oldest_epoch, last_heard.get(name, (0, 0))[0])

    def clear(self) -> None:
        """Forget all logs: the site's slot counter restarted."""
        with self._lock:
            for sender in self._senders.values():
                sender.logs.clear()

    def covers(self, episodes: Iterable[int]) -> bool:
        """Return whether the logs of all neighbours are there for some episodes."""
        wanted = set(episodes)
        with self._lock:
            return all(wanted <= sender.logs.keys() for sender in self._senders.values())

    def logs(self) -> Mapping[str, list[EpisodeLog]]:
        """Return what is there of each neighbour, in the order of the episodes."""
        with self._lock:
            return {
                name: [sender.logs[episode] for episode in sorted(sender.logs)]
                for name, sender in self._senders.items()
            }

    def rejected(self) -> dict[str, dict[str, int]]:
        """Return how many logs of each neighbour were rejected, by reason."""
        with self._lock:
            return {name: dict(sender.rejected) for name, sender in self._senders.items()}

    def _make_room(self, sender: _Sender) -> None:
        """Drop the oldest episodes until the others fit; the newest one always stays."""
        while len(sender.logs) > 1 and (
            len(sender.logs) > LARGEST_LOGS
            or sum(len(log.slots) for log in sender.logs.values()) > self._capacity
        ):
            del sender.logs[min(sender.logs)]


def _is_older(log: EpisodeLog, sender: _Sender) -> bool:
    """Return whether a log ends before the one of the same epoch and episode that is there."""
    kept = sender.logs.get(log.episode)
    return kept is not None and kept.epoch == log.epoch and bool(log.slots[-1] < kept.slots[-1])
