"""Finds the neighbours of a cell by what the cells of the site tell of themselves.

The network thread hands births and states in; the loop asks now and then whether the neighbours change. Of
the cells that fit (same contract, same slot, a position in range) the nearest are the neighbours. One that
is gone, by its state or because its messages stay away, gives its place to the next nearest, and is listened
to as long as it is nearer than some neighbour: when it is heard again it comes back.

Membership does not flap: a cell that comes takes a free place at once, but the place of another only when it
has stayed for a while and is heard. Nobody is given up for silence when nobody at all is heard: then it is
our own link that is down.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from networld_runtime.errors import MessageError
from networld_runtime.mesh.authentication import NoSeal
from networld_runtime.mesh.birth import Birth, State, read_birth, read_state
from networld_runtime.mesh.inflow import TokenBucket
from networld_runtime.mesh.positions import Position
from networld_runtime.mesh.topics import NAME_PATTERN

POLL_S = 0.5
LARGEST_SITE = 4096
"""Cells of a site that are remembered; what is beyond is counted and dropped."""
BURST = 64
"""Births and states of a cell that are read in a row; one a second after that."""


@dataclass(frozen=True)
class Wanted:
    """What a cell looks for.

    Attributes:
        site: Its site.
        cell: Its own name.
        contract: Hash of its contract, hexadecimal.
        slot_s: Length of its slot.
        position_m: Where it stands.
        most: How many neighbours at most.
        range_m: How far away they may be; None: as far as they like.
        silent_s: How long a neighbour may be silent, and a cell must stay to take a place.
    """

    site: str
    cell: str
    contract: str
    slot_s: float
    position_m: Position
    most: int
    range_m: float | None
    silent_s: float


@dataclass(frozen=True)
class Membership:
    """Who is heard.

    Attributes:
        neighbours: Those whose messages count, nearest first.
        listening: Those nearer than some neighbour that are gone, or must stay a while longer.
    """

    neighbours: tuple[str, ...] = ()
    listening: tuple[str, ...] = ()


@dataclass
class _Cell:
    """What is known of one cell of the site.

    Times are of the own clock. `here_s` is since when it is there without a break, None if it is gone;
    `gone_s` is when it went, what is heard later brings it back. `chosen_s` is when we began to listen.
    """

    bucket: TokenBucket
    birth: Birth | None = None
    distance_m: float | None = None
    state_epoch: int = -1
    here_s: float | None = None
    gone_s: float = -math.inf
    chosen_s: float | None = None


class Discovery:
    """The cells of a site as one of them sees it.

    Args:
        wanted: What the cell looks for.
        clock: Monotonic clock in seconds.
        open_birth: Returns the birth in what arrived from a cell, `Seal.open_birth`; None takes it as it is.

    Attributes:
        membership: What `poll` returned last.
        rejected: Births and states that were not used, by reason: those of `Seal.open_birth` and
            `birth.read_birth`, `stale` for one of an older boot, `too_many` for cells beyond `LARGEST_SITE`,
            `flood` for one that was not even read because too many came.
    """

    def __init__(
        self,
        wanted: Wanted,
        clock: Callable[[], float],
        open_birth: Callable[[str, bytes], bytes] | None = None,
    ) -> None:
        self.open_birth = open_birth or NoSeal().open_birth
        self.membership = Membership()
        self.rejected: Counter[str] = Counter()
        self._wanted = wanted
        self._clock = clock
        self._lock = threading.Lock()
        self._cells: dict[str, _Cell] = {}
        # States carry no proof, so those who have no birth have a room of their own, the oldest gives way.
        self._unborn: dict[str, _Cell] = {}
        self._next_s = self._deaf_s = -math.inf

    def receive_birth(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a birth; never raises, what is not good is counted by reason."""
        self._receive(topic, lambda name: self._be_born(name, payload, retained))

    def receive_state(self, topic: str, payload: bytes, retained: bool) -> None:
        """Take a state or a last will; never raises, as above."""
        self._receive(topic, lambda name: self._change_state(name, payload, retained))

    def poll(self, arrivals_s: Callable[[], Mapping[str, float | None]]) -> Membership | None:
        """Return who is heard from now on, None if it is the same as before.

        Args:
            arrivals_s: Says when the last good message of each cell that is listened to arrived.
        """
        now_s = self._clock()
        if now_s < self._next_s:
            return None
        self._next_s = now_s + POLL_S
        heard_s = arrivals_s()
        with self._lock:
            self._listen(heard_s, now_s)
            found = self._choose(now_s)
            names = {*found.neighbours, *found.listening}
            for name, one in self._cells.items():
                if name not in names:
                    one.chosen_s = None
                elif one.chosen_s is None:
                    one.chosen_s = now_s
        if found == self.membership:
            return None
        self.membership = found
        return found

    def _receive(self, topic: str, take: Callable[[str], None]) -> None:
        name = topic.split("/")[-2]
        try:
            if not NAME_PATTERN.fullmatch(name):
                raise MessageError("name", "not a name")
            if name != self._wanted.cell:
                self._check_flood(name)
                take(name)
        except MessageError as error:
            with self._lock:
                self.rejected[error.reason] += 1

    def _check_flood(self, name: str) -> None:
        """Refuse what is beyond the rate of a cell: reading it takes the network thread's time."""
        with self._lock:
            if not self._cell(name).bucket.take(self._clock()):
                raise MessageError("flood", f"too many of {name}")

    def _be_born(self, name: str, payload: bytes, retained: bool) -> None:
        birth = read_birth(self.open_birth(name, payload), self._wanted.site, name)
        with self._lock:
            one = self._cell(name)
            if one.birth is not None and birth.epoch < one.birth.epoch:
                raise MessageError("stale", "of an older boot")
            if name not in self._cells:
                if len(self._cells) >= LARGEST_SITE:
                    raise MessageError("too_many", f"more than {LARGEST_SITE} cells")
                self._cells[name] = one
                self._unborn.pop(name, None)
            one.birth = birth
            one.distance_m = self._distance_m(birth)
            if birth.epoch > one.state_epoch or not retained:
                self._arrive(one, retained)

    def _change_state(self, name: str, payload: bytes, retained: bool) -> None:
        state: State = read_state(payload)
        with self._lock:
            one = self._cell(name)
            newest = max(one.state_epoch, -1 if one.birth is None else one.birth.epoch)
            if state.epoch < newest:
                raise MessageError("stale", "of an older boot")
            one.state_epoch = state.epoch
            if state.state == "online":
                self._arrive(one, retained)
            else:
                one.here_s, one.gone_s = None, self._clock()

    def _cell(self, name: str) -> _Cell:
        one = self._cells.get(name) or self._unborn.get(name)
        if one is None:
            if len(self._unborn) >= LARGEST_SITE:
                del self._unborn[next(iter(self._unborn))]
            one = self._unborn[name] = _Cell(TokenBucket(BURST, 1.0, self._clock()))
        return one

    def _arrive(self, one: _Cell, retained: bool) -> None:
        """Note that a cell is there; one that was before we knew of it has stayed long enough."""
        if one.here_s is None:
            unknown = retained and one.gone_s == -math.inf
            one.here_s = -math.inf if unknown else self._clock()

    def _distance_m(self, birth: Birth) -> float | None:
        """Return how far away a cell is, None if it cannot be a neighbour."""
        wanted = self._wanted
        if birth.contract != wanted.contract or birth.position_m is None:
            return None
        if not math.isclose(birth.slot_s, wanted.slot_s, rel_tol=1e-6):
            return None
        distance_m = math.dist(birth.position_m, wanted.position_m)
        return distance_m if wanted.range_m is None or distance_m <= wanted.range_m else None

    def _listen(self, arrivals_s: Mapping[str, float | None], now_s: float) -> None:
        """Take from the ages of messages who is gone and who is back; they are the only truth."""
        silent_since_s = now_s - self._wanted.silent_s
        heard_s = {
            name: -math.inf if arrived_s is None else arrived_s
            for name, arrived_s in arrivals_s.items()
            if name in self._cells
        }
        if all(arrived_s <= silent_since_s for arrived_s in heard_s.values()):
            self._deaf_s = now_s
            return
        for name, arrived_s in heard_s.items():
            one = self._cells[name]
            if one.here_s is None:
                if arrived_s > max(one.gone_s, silent_since_s):
                    one.here_s = now_s
                continue
            chosen_s = now_s if one.chosen_s is None else one.chosen_s
            if max(arrived_s, chosen_s, one.here_s, self._deaf_s) <= silent_since_s:
                one.here_s, one.gone_s = None, now_s

    def _choose(self, now_s: float) -> Membership:
        """Return the nearest that are there; who has just come takes only what is free."""
        most, before = self._wanted.most, self.membership.neighbours
        stayed_s = now_s - self._wanted.silent_s
        fitting = [
            (one.distance_m, name)
            for name, one in self._cells.items()
            if one.distance_m is not None
        ]
        candidates = [name for _, name in sorted(fitting)]
        here = {
            name: since_s
            for name in candidates
            if (since_s := self._cells[name].here_s) is not None
        }
        settled = [name for name in here if name in before or here[name] <= stayed_s]
        chosen = set(settled[:most])
        newcomers = [name for name in here if name not in chosen]
        chosen.update(newcomers[: max(most - len(settled), 0)])
        neighbours = [name for name in candidates if name in chosen]
        if len(neighbours) == most:
            candidates = candidates[: candidates.index(neighbours[-1])]
        listening = [name for name in candidates if name not in chosen]
        return Membership(tuple(neighbours), tuple(listening[:most]))
