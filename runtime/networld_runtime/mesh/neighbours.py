"""What a cell knows of its neighbours: their newest messages, how old, and what was rejected.

The network thread calls `receive`; the loop reads the mean field. Messages of slot t - 1 are used in
slot t, also when a neighbour's message of slot t is already here, so a few messages are kept of each.

A neighbour that babbles costs next to nothing: beyond a few messages a slot only its newest payload is kept,
unread, until the loop comes by. So a good one is found at least once a slot.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.mesh.authentication import NoSeal, Seal
from networld_runtime.mesh.inflow import TokenBucket
from networld_runtime.mesh.last_heard import Heard
from networld_runtime.mesh.message import MeanFieldMessage, decode
from networld_runtime.mesh.sender import Liveness, Sender

LARGEST_LEAD_SLOTS = 1000
FLOOD_FACTOR = 2
"""So many messages a slot are read, by the clock and by the own slots each."""
BURST_MESSAGES = 64
"""So many may come at once, as they do when a connection was held up."""
UNHEARD = (-1, -1)
REMEMBERED = 256
"""Cells that are no neighbours now, but of which all is kept; of others only the last (epoch, slot) is."""


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
        last_heard: Epoch and slot of neighbours' last messages before this start; nothing older is taken.
        weights: What a neighbour counts in the mean field beside the others, 1 if it is not there; one of
            weight 0 is not heard.
        age_weight: By this a message counts less with each slot that it is older than one; above 0, at
            most 1.

    Attributes:
        names: The neighbours now.
        missing: Neighbours that the last `mean_field` did without.
        ages_slots: How old, in slots, the messages were that mean fields were made of.

    Raises:
        ValueError: `maximum_age_slots` is below 1, or a weight is out of range.
    """

    def __init__(
        self,
        contract: Contract,
        names: Sequence[str],
        maximum_age_slots: int,
        slot_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        seal: Seal | None = None,
        last_heard: Mapping[str, Heard] | None = None,
        weights: Mapping[str, float] | None = None,
        age_weight: float = 1.0,
    ) -> None:
        self.names: tuple[str, ...] = ()
        self.missing: tuple[str, ...] = ()
        self._contract = contract
        self._slot_s = slot_s or contract.slot_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Sender] = {}
        self._read: frozenset[str] = frozenset()
        self._seal = seal or NoSeal()
        self._newest = dict(last_heard or {})
        self._retired: dict[tuple[str, bytes], Heard] = {}
        self._first_slot = 0
        self._own_slot: int | None = None
        self.ages_slots: Counter[int] = Counter()
        self.limit_age(maximum_age_slots)
        self.weigh(weights or {}, age_weight)
        self.change(names)

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

    def weigh(self, weights: Mapping[str, float], age_weight: float) -> None:
        """Weigh neighbours and ages like this from now on.

        Raises:
            ValueError: A weight is below 0, or `age_weight` is not above 0 and at most 1.
        """
        if not (0 < age_weight <= 1 and all(weight >= 0 for weight in weights.values())):
            raise ValueError(f"age_weight = {age_weight}, weights = {dict(weights)}: out of range")
        with self._lock:
            self._weights, self._age_weight = dict(weights), age_weight

    def change(self, names: Sequence[str], listening: Sequence[str] = ()) -> None:
        """Have other neighbours from now on; what is known of those who stay is kept.

        Args:
            names: The neighbours.
            listening: Cells that are no neighbours, but whose messages are read to see if they are back.
        """
        with self._lock:
            before = set(self.names) - set(self.missing)
            self.names = tuple(names)
            self.missing = tuple(name for name in self.names if name not in before)
            self._read = frozenset((*names, *listening))
            for name in (*names, *listening):
                # At the end, so that who left longest ago comes first.
                self._known[name] = (
                    self._known.pop(name) if name in self._known else self._new(name)
                )
            gone = [name for name in self._known if name not in self._read]
            for name in gone[: max(len(gone) - REMEMBERED, 0)]:
                self._newest[name] = self._known.pop(name).newest

    def receive(self, name: str, payload: bytes) -> None:
        """Take a payload that arrived on the topic of neighbour `name`.

        Called from the network thread. Never raises: a payload that is rejected is counted by reason
        (those of `Seal.open` and of `message.decode`, `stale` for a replay, `ahead` for a slot far in the
        future, and `flood` for one that was not even read because too many came).
        """
        now_s = self._clock()
        with self._lock:
            if name not in self._read:
                return  # it was on its way when we turned away
            neighbour, seal = self._known[name], self._seal
            neighbour.received_bytes += len(payload)
            neighbour.arrivals.came(now_s)
            if not neighbour.bucket.take(now_s):
                neighbour.drop_unread()
                neighbour.unread = (payload, now_s)
                return
        self._take(name, neighbour, seal, payload, now_s)

    def begin_episode(self, first_slot: int) -> None:
        """Start an episode: messages of slots before `first_slot` no longer enter a mean field."""
        with self._lock:
            self._first_slot = first_slot
            self._own_slot = first_slot

    def forget(self) -> None:
        """Drop all kept messages: the site's slot counter restarted and they mean nothing now."""
        with self._lock:
            for neighbour in self._known.values():
                neighbour.recent.clear()
                neighbour.drop_unread()
            self._own_slot = None

    def go_on_with(self, seal: Seal, last_heard: Mapping[str, Heard]) -> None:
        """Open what arrives with other keys; who has another one than before begins anew.

        Args:
            seal: Opens what arrives.
            last_heard: Epoch and slot of the last message that the keys of `seal` vouched for, by cell.
        """
        with self._lock:
            before, self._seal = self._seal, seal
            for name in self._newest.keys() | self._known.keys() | last_heard.keys():
                old, new = before.keys.get(name, b""), seal.keys.get(name, b"")
                if old == new:
                    continue
                neighbour = self._known.get(name)
                newest = self._newest.pop(name, UNHEARD) if neighbour is None else neighbour.newest
                self._retired[name, old] = newest
                newest = max(self._retired.get((name, new), UNHEARD), last_heard.get(name, UNHEARD))
                self._newest[name] = newest
                if neighbour is not None:
                    neighbour.newest = newest
                    neighbour.recent.clear()
                    neighbour.drop_unread()

    def last_heard(self) -> dict[str, Heard]:
        """Return epoch and slot of the last message of every neighbour that was heard."""
        with self._lock:
            newest = {name: one.newest for name, one in self._known.items()}
        return {name: heard for name, heard in newest.items() if heard[1] >= 0}

    def mean_field(self, slot: int) -> FloatArray:
        """Return the mean field `[message_size + 1]` that slot `slot` plans with.

        The first entries are the weighted mean of the neighbours' values, the last is the share of
        neighbours heard. All zeros if none was heard.
        """
        self._read_newest()
        now_s = self._clock()
        with self._lock:
            self._own_slot = slot
            oldest_slot = max(self._first_slot, slot - self._maximum_age_slots)
            since_s = now_s - self._maximum_age_s
            heard, values, weights = [], [], []
            for name in self.names:
                message = self._known[name].usable(oldest_slot, slot, since_s)
                age_weight = (
                    0.0 if message is None else self._age_weight ** (slot - message.slot - 1)
                )
                weight = self._weights.get(name, 1.0) * age_weight
                if message is not None and weight > 0:
                    heard.append(name)
                    values.append(message.values)
                    weights.append(weight)
                    self.ages_slots[slot - message.slot] += 1
            self.missing = tuple(name for name in self.names if name not in heard)
        result = np.zeros(self._contract.mean_field_size, dtype=np.float32)
        if heard:
            result[:-1] = _weighted_mean(np.stack(values), weights)
            result[-1] = len(heard) / len(self.names)
        return result

    @property
    def received(self) -> int:
        """Messages accepted from all neighbours, those among them that are none now."""
        with self._lock:
            return sum(neighbour.received for neighbour in self._known.values())

    @property
    def received_bytes(self) -> int:
        """Bytes of all payloads that arrived, the rejected ones among them."""
        with self._lock:
            return sum(neighbour.received_bytes for neighbour in self._known.values())

    def ages_s(self) -> dict[str, float | None]:
        """Return how long ago the last good message of each neighbour arrived, None if none ever did."""
        return {name: one.age_s for name, one in self.liveness().items()}

    def liveness(self) -> dict[str, Liveness]:
        """Return what is known of each neighbour now."""
        now_s = self._clock()
        with self._lock:
            age_s = self._maximum_age_s
            return {name: self._known[name].liveness(now_s, age_s) for name in self.names}

    def arrivals_s(self) -> dict[str, float | None]:
        """Return when the last good message of all who are read arrived, by the clock; None: none did."""
        with self._lock:
            return {name: self._known[name].arrived_s for name in self._read}

    def rejected(self) -> dict[str, dict[str, int]]:
        """Return how many messages of each neighbour were rejected, by reason; as in `received`."""
        with self._lock:
            return {name: dict(one.rejected) for name, one in self._known.items()}

    def _new(self, name: str) -> Sender:
        bucket = TokenBucket(BURST_MESSAGES, FLOOD_FACTOR / self._slot_s, self._clock())
        return Sender(bucket, self._newest.get(name, UNHEARD))

    def _take(
        self, name: str, neighbour: Sender, seal: Seal, payload: bytes, arrived_s: float
    ) -> None:
        """Read a payload; keep what it says, or count why not."""
        try:
            message = decode(seal.open(name, payload), self._contract)
        except MessageError as error:
            with self._lock:
                neighbour.rejected[error.reason] += 1
            return
        with self._lock:
            if seal.keys.get(name) != self._seal.keys.get(name):
                reason: str | None = "forged"  # opened by a key that was taken away meanwhile
            else:
                reason = self._objection(neighbour, message)
            if reason:
                neighbour.rejected[reason] += 1
                return
            neighbour.keep(message, arrived_s)

    def _read_newest(self) -> None:
        """Read the payloads that `receive` had no time for, and give it time for some more."""
        with self._lock:
            unread, seal = [], self._seal
            for name in self._read:
                neighbour = self._known[name]
                neighbour.bucket.add(FLOOD_FACTOR)  # where slots go by faster than the clock says
                if neighbour.unread is not None:
                    unread.append((name, neighbour, *neighbour.unread))
                    neighbour.unread = None
        for name, neighbour, payload, arrived_s in unread:
            self._take(name, neighbour, seal, payload, arrived_s)

    def _objection(self, neighbour: Sender, message: MeanFieldMessage) -> str | None:
        if (message.epoch, message.slot) <= neighbour.newest:
            return "stale"
        # Accepting a slot of the far future would make every later message look like a replay.
        if self._own_slot is not None and message.slot > self._own_slot + LARGEST_LEAD_SLOTS:
            return "ahead"
        return None


def _weighted_mean(values: FloatArray, weights: Sequence[float]) -> FloatArray:
    """Return the mean `[M]` of rows `[n, M]`; some weight is above 0."""
    largest = max(weights)  # of the smallest ones float32 knows nothing
    shares = np.array([weight / largest for weight in weights], dtype=np.float32)
    return np.asarray((shares[:, None] * values).sum(axis=0) / shares.sum(), dtype=np.float32)
