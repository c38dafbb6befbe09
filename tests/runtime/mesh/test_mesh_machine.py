"""A cell among others that come, go, restart and speak over a network that loses, repeats and reorders.

What a cell says stands in the message itself: each speaks in two entries of its own, one for the epoch and
one for the slot, so that the mean field shows which message of whom it was made from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.mesh.discovery import POLL_S, Discovery, Wanted
from networld_runtime.mesh.following import Following
from networld_runtime.mesh.message import STEPS, MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import BURST_MESSAGES, Neighbours
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import LastWill, MemoryBus, MemoryTransport
from networld_runtime.report import state

SLOT_S = 0.1
AGE_SLOTS = 3
MOST = 2
SILENT_S = 2.0
PLACES_M = {"b": 100.0, "c": -100.0, "d": 200.0, "e": 300.0}
NAMES = st.sampled_from(sorted(PLACES_M))
CYCLE = 100


@dataclass
class Other:
    """Another cell, and all that arrived from it, in order, as `(epoch, slot, arrived_s)`."""

    transport: MemoryTransport | None = None
    epoch: int = 0
    born: bool = False
    lost_s: float | None = None
    arrived: list[tuple[int, int, float]] = field(default_factory=list)
    flooded_slot: int = -100


class Mesh(RuleBasedStateMachine):
    """The rules; the invariants look at every mean field."""

    contract: Contract

    @initialize()
    def begin(self) -> None:
        self.now_s = 0.0
        self.slot = self.first_slot = 20
        self.bus = MemoryBus()
        self.others = {name: Other() for name in PLACES_M}
        self.held: list[tuple[str, int, int, bytes]] = []
        self.sent = 0
        wanted = Wanted(
            "test", "a", self.contract.digest().hex(), SLOT_S, (0, 0), MOST, None, SILENT_S
        )
        self.transport = MemoryTransport(self.bus)
        self.neighbours = Neighbours(self.contract, (), AGE_SLOTS, SLOT_S, clock=lambda: self.now_s)
        self.neighbours.begin_episode(self.first_slot)
        self.discovery = Discovery(wanted, lambda: self.now_s)
        self.following = Following(self.discovery, self.neighbours, self.transport, "test")
        self.transport.connect()

    @rule(name=NAMES)
    def connect_or_restart(self, name: str) -> None:
        """A boot: a larger epoch, a birth, and the state."""
        other, topics = self.others[name], CellTopics("test", name)
        other.epoch += 1
        other.transport = MemoryTransport(
            self.bus, LastWill(topics.state, state("lost", other.epoch))
        )
        other.transport.connect()
        birth: dict[str, Any] = {
            "version": 1,
            "epoch": other.epoch,
            "contract": self.contract.digest().hex(),
            "slot_s": SLOT_S,
            "position_m": [PLACES_M[name], 0],
        }
        other.transport.publish(topics.birth, json.dumps(birth).encode(), retain=True)
        other.transport.publish(topics.state, state("online", other.epoch), retain=True)
        other.born, other.lost_s = True, None

    @precondition(lambda self: any(one.transport for one in self.others.values()))
    @rule(name=NAMES)
    def lose(self, name: str) -> None:
        """The process is gone: the broker publishes its will."""
        other = self.others[name]
        if other.transport is not None:
            other.transport.lose()
            other.transport, other.lost_s = None, self.now_s

    @rule(name=NAMES)
    def late_will_of_the_boot_before(self, name: str) -> None:
        """It must change nothing."""
        other = self.others[name]
        if other.born and other.transport is not None:
            before = dict(self.discovery.rejected)
            topic = CellTopics("test", name).state
            self.bus.publish(topic, state("lost", other.epoch - 1), retain=False)
            assert self.discovery.rejected["stale"] == before.get("stale", 0) + 1

    @rule(name=NAMES, ahead=st.integers(-AGE_SLOTS - 1, 1), hold=st.booleans())
    def speak(self, name: str, ahead: int, hold: bool) -> None:
        """Send a message, at once or into a network that keeps it for a while."""
        other = self.others[name]
        if other.transport is None:
            return
        slot = max(self.slot + ahead, 0)
        values = np.zeros(self.contract.message_size, dtype=np.float32)
        place = 2 * sorted(PLACES_M).index(name)
        values[place] = (other.epoch % CYCLE + 1) / STEPS
        values[place + 1] = (slot % CYCLE + 1) / STEPS
        payload = encode(MeanFieldMessage(other.epoch, slot, values), self.contract)
        message = (name, other.epoch, slot, payload)
        if hold:
            self.held.append(message)
        else:
            self._deliver(message)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), keep=st.booleans())
    def deliver_reordered_or_duplicated(self, data: st.DataObject, keep: bool) -> None:
        """Deliver any message of the network, once or once more."""
        index = data.draw(st.integers(0, len(self.held) - 1))
        self._deliver(self.held[index] if keep else self.held.pop(index))

    @precondition(lambda self: self.held)
    @rule()
    def drop(self) -> None:
        """A message is lost for good."""
        self.held.pop(0)

    @rule(name=NAMES)
    def babble(self, name: str) -> None:
        """One message again and again."""
        for _ in range(2 * BURST_MESSAGES):
            self.speak(name, 0, hold=False)
        self.others[name].flooded_slot = self.slot

    @rule(name=NAMES, early=st.integers(0, 1))
    def restart_between_two_words(self, name: str, early: int) -> None:
        """The word of the boot before counts no more once there is one of the next."""
        self.speak(name, early, hold=False)
        self.connect_or_restart(name)
        self.speak(name, 0, hold=False)
        self.go(1)

    @rule(slots=st.integers(1, 6), speaking=st.booleans())
    def go(self, slots: int, speaking: bool = False) -> None:
        """Time goes by, slot by slot, with or without words of all that are there."""
        for _ in range(slots):
            for name in PLACES_M if speaking else ():
                self.speak(name, 0, hold=False)
            self.now_s += SLOT_S
            self.slot += 1
            self.following.poll()
            self._check(self.neighbours.mean_field(self.slot))

    @rule()
    def wait(self) -> None:
        """Time goes by until the next look at the membership, and nothing is heard meanwhile."""
        self.now_s += POLL_S
        self.go(1)
        for name, other in self.others.items():
            back = [at_s for _, _, at_s in other.arrived if at_s >= (other.lost_s or 0.0)]
            if other.lost_s is not None and not back:
                assert name not in self.neighbours.names

    @rule()
    def begin_episode(self) -> None:
        self.first_slot = self.slot
        self.neighbours.begin_episode(self.slot)

    @invariant()
    def membership_is_sound(self) -> None:
        found = self.discovery.membership
        names = found.neighbours
        assert names == self.neighbours.names
        assert len(names) <= MOST
        assert list(names) == sorted(names, key=lambda name: (abs(PLACES_M[name]), name))
        assert all(self.others[name].born for name in names)
        assert not set(names) & set(found.listening)
        topics = {CellTopics("test", name).message for name in names + found.listening}
        assert {one for one in self.transport._handlers if one.endswith("/message")} == topics

    @invariant()
    def every_message_is_accounted_for(self) -> None:
        self.neighbours.mean_field(self.slot)  # reads what there was no time for
        rejected = sum(sum(one.values()) for one in self.neighbours.rejected().values())
        assert self.neighbours.received + rejected == self.sent
        assert self.transport.counters["handler_errors"] == 0

    def _deliver(self, message: tuple[str, int, int, bytes]) -> None:
        name, epoch, slot, payload = message
        topic = CellTopics("test", name).message
        if topic in self.transport._handlers:
            self.others[name].arrived.append((epoch, slot, self.now_s))
            self.sent += 1
        self.bus.publish(topic, payload, retain=False)

    def _check(self, mean: FloatArray) -> None:
        """Hold a mean field against all that arrived."""
        names, missing = self.neighbours.names, self.neighbours.missing
        heard = [name for name in names if name not in missing]
        if not heard:
            assert not mean.any()
            return
        assert mean[-1] == np.float32(len(heard) / len(names))
        for index, name in enumerate(sorted(PLACES_M)):
            said = np.rint(mean[2 * index : 2 * index + 2] * len(heard) * STEPS).astype(int) - 1
            if name not in heard:
                assert (said == -1).all(), "who is missing says nothing"
                self._check_missing(name)
                continue
            epochs = [epoch for epoch, _, _ in self.others[name].arrived]
            usable = {
                (epoch % CYCLE, slot % CYCLE)
                for epoch, slot, _ in self._usable(name)
                if epoch == max(epochs)
            }
            assert tuple(said) in usable, "only what is young enough and of the newest boot"

    def _check_missing(self, name: str) -> None:
        """Nobody is missing whose newest message would count."""
        other = self.others[name]
        if name not in self.neighbours.names or self.slot - other.flooded_slot <= AGE_SLOTS:
            return
        newest = max(other.arrived, default=None, key=lambda one: one[:2])
        first = next((one for one in other.arrived if newest and one[:2] == newest[:2]), None)
        assert first is None or first not in self._usable(name)

    def _usable(self, name: str) -> list[tuple[int, int, float]]:
        oldest = max(self.first_slot, self.slot - AGE_SLOTS)
        longest_s = (AGE_SLOTS + 1) * SLOT_S
        return [
            one
            for one in self.others[name].arrived
            if oldest <= one[1] < self.slot and self.now_s - one[2] <= longest_s + 1e-9
        ]


def test_a_mesh_of_cells_that_come_and_go(contract: Contract) -> None:
    machine: Any = type("MeshOfContract", (Mesh,), {"contract": contract})
    machine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
    machine.TestCase("runTest").runTest()
