"""What a cell knows of its neighbours: their newest messages, how old, and what was rejected.

The network thread calls `receive`; the loop reads the mean field. Messages of slot t - 1 are used in
slot t, also when a neighbour's message of slot t is already here, so a few messages are kept of each.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.mesh.authentication import NoSeal, Seal
from networld_runtime.mesh.message import MeanFieldMessage, decode

KEPT_MESSAGES = 4
LARGEST_LEAD_SLOTS = 1000


@dataclass(frozen=True)
class _Arrival:
    message: MeanFieldMessage
    arrived_s: float


@dataclass
class _Neighbour:
    newest: tuple[int, int] = (-1, -1)
    recent: list[_Arrival] = field(default_factory=list)
    received: int = 0
    received_bytes: int = 0
    arrived_s: float | None = None
    rejected: Counter[str] = field(default_factory=Counter)


class Neighbours:
    """The neighbours of one cell: who is alive, and their mean field.

    Args:
        contract: Decides how messages are read.
        names: Names of the neighbours whose messages are expected.
        maximum_age_slots: How many slots old a message may be to be used; at least 1.
        slot_s: Length of a slot; None takes the contract's. A message that arrived more than
            `maximum_age_slots + 1` slots ago by the own clock is not used either.
        clock: Monotonic clock in seconds.
        seal: Opens what arrives; None takes it as it is.
        epochs: Epochs of neighbours that were known before this start; nothing older is taken.

    Raises:
        ValueError: `maximum_age_slots` is below 1.
    """

    def __init__(
        self,
        contract: Contract,
        names: Sequence[str],
        maximum_age_slots: int,
        slot_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        seal: Seal | None = None,
        epochs: Mapping[str, int] | None = None,
    ) -> None:
        self.names = tuple(names)
        self._contract = contract
        self._slot_s = slot_s or contract.slot_s
        self._clock = clock
        self._lock = threading.Lock()
        self.limit_age(maximum_age_slots)
        self._seal = seal or NoSeal()
        known = epochs or {}
        self._neighbours = {name: _Neighbour((known.get(name, -1), -1)) for name in self.names}
        self._first_slot = 0
        self._own_slot: int | None = None
        self.missing: tuple[str, ...] = self.names
        """Neighbours that the last `mean_field` did without."""
        self.ages_slots: Counter[int] = Counter()
        """How old, in slots, the messages were that mean fields were made of."""

    def limit_age(self, maximum_age_slots: int) -> None:
        """Use messages up to this age from now on.

        Raises:
            ValueError: It is below 1.
        """
        if maximum_age_slots < 1:
            raise ValueError(f"maximum_age_slots = {maximum_age_slots}: at least 1 is needed")
        with self._lock:
            self._maximum_age_slots = maximum_age_slots
            self._maximum_age_s = (maximum_age_slots + 1) * self._slot_s

    def receive(self, name: str, payload: bytes) -> None:
        """Take a payload that arrived on the topic of neighbour `name`.

        Called from the network thread. Never raises: a payload that is rejected is counted by reason
        (those of `Seal.open` and of `message.decode`, and `stale` for a replay, `ahead` for a slot far in
        the future).
        """
        arrived_s = self._clock()
        neighbour = self._neighbours[name]
        try:
            message = decode(self._seal.open(name, payload), self._contract)
        except MessageError as error:
            with self._lock:
                neighbour.received_bytes += len(payload)
                neighbour.rejected[error.reason] += 1
            return
        with self._lock:
            neighbour.received_bytes += len(payload)
            reason = self._objection(neighbour, message)
            if reason:
                neighbour.rejected[reason] += 1
                return
            neighbour.received += 1
            neighbour.arrived_s = arrived_s
            neighbour.newest = (message.epoch, message.slot)
            neighbour.recent.append(_Arrival(message, arrived_s))
            del neighbour.recent[:-KEPT_MESSAGES]

    def begin_episode(self, first_slot: int) -> None:
        """Start an episode: messages of slots before `first_slot` no longer enter a mean field."""
        with self._lock:
            self._first_slot = first_slot
            self._own_slot = first_slot

    def forget(self) -> None:
        """Drop all kept messages: the site's slot counter restarted and they mean nothing now."""
        with self._lock:
            for neighbour in self._neighbours.values():
                neighbour.recent.clear()
            self._own_slot = None

    def go_on_with(self, seal: Seal) -> None:
        """Open what arrives with other keys; who has another one than before begins anew."""
        with self._lock:
            before, self._seal = self._seal, seal
            for name, neighbour in self._neighbours.items():
                if before.keys.get(name) != seal.keys.get(name):
                    neighbour.newest = (-1, -1)
                    neighbour.recent.clear()

    def epochs(self) -> dict[str, int]:
        """Return the newest epoch of every neighbour that has one."""
        with self._lock:
            newest = {name: one.newest[0] for name, one in self._neighbours.items()}
        return {name: epoch for name, epoch in newest.items() if epoch >= 0}

    def mean_field(self, slot: int) -> FloatArray:
        """Return the mean field `[message_size + 1]` that slot `slot` plans with.

        The first entries are the mean of the neighbours' values, the last is the share of neighbours
        heard. All zeros if none was heard.
        """
        now_s = self._clock()
        with self._lock:
            self._own_slot = slot
            used = {
                name: message
                for name, neighbour in self._neighbours.items()
                if (message := self._usable(neighbour, slot, now_s)) is not None
            }
        usable = {name: message.values for name, message in used.items()}
        self.ages_slots.update(slot - message.slot for message in used.values())
        self.missing = tuple(name for name in self.names if name not in usable)
        result = np.zeros(self._contract.mean_field_size, dtype=np.float32)
        if usable:
            result[:-1] = np.mean(list(usable.values()), axis=0)
            result[-1] = len(usable) / len(self.names)
        return result

    @property
    def received(self) -> int:
        """Messages accepted from all neighbours."""
        with self._lock:
            return sum(neighbour.received for neighbour in self._neighbours.values())

    @property
    def received_bytes(self) -> int:
        """Bytes of all payloads that arrived, the rejected ones among them."""
        with self._lock:
            return sum(neighbour.received_bytes for neighbour in self._neighbours.values())

    def ages_s(self) -> dict[str, float | None]:
        """Return how long ago the last good message of each neighbour arrived, None if none ever did."""
        now_s = self._clock()
        with self._lock:
            return {
                name: None if one.arrived_s is None else round(now_s - one.arrived_s, 3)
                for name, one in self._neighbours.items()
            }

    def rejected(self) -> dict[str, dict[str, int]]:
        """Return how many messages of each neighbour were rejected, by reason."""
        with self._lock:
            return {name: dict(one.rejected) for name, one in self._neighbours.items()}

    def _objection(self, neighbour: _Neighbour, message: MeanFieldMessage) -> str | None:
        if (message.epoch, message.slot) <= neighbour.newest:
            return "stale"
        # Accepting a slot of the far future would make every later message look like a replay.
        if self._own_slot is not None and message.slot > self._own_slot + LARGEST_LEAD_SLOTS:
            return "ahead"
        return None

    def _usable(self, neighbour: _Neighbour, slot: int, now_s: float) -> MeanFieldMessage | None:
        oldest_slot = max(self._first_slot, slot - self._maximum_age_slots)
        for arrival in reversed(neighbour.recent):
            in_time = oldest_slot <= arrival.message.slot < slot
            if in_time and now_s - arrival.arrived_s <= self._maximum_age_s:
                return arrival.message
        return None
