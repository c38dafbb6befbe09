"""A mesh of cells for tests: real agents and MQTT connections, planners that are formulas, radios in memory.

Each cell tells the slot it is in, at two places of its own among the values of its message, and the mean
field keeps their ratio. So what a cell used of whom, and how old it was, is seen in what its planner was
given, and not taken from what the cell counts.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from small_cell import FormulaPlanner

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.config_reader import load_config
from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import LastWill
from networld_runtime.planner import Decision
from networld_runtime.radio import Observation
from networld_runtime.realtime import monotonic_s
from networld_runtime.report import state

SITE = "test"
EPOCH = 1_790_000_000
MOST_CELLS = 8
"""As many as have two places each among 16 values."""
CODES = 100
"""Slots are told modulo this; an int8 in steps of 1/127 holds it exactly."""
GRACE_S = 1.0
"""A slot waits so long for a cell on a busy machine; a cell that hangs for longer misses slots."""
PATIENCE_S = 20.0
TEXT = """
[cell]
site = "{site}"
name = "{name}"
task = "power"
neighbours = {neighbours}
[bundle]
path = "bundle"
[state]
directory = "state"
[timing]
slot_s = {slot_s}
maximum_message_age_slots = {age_slots}
[adaptation]
enabled = false
"""


@dataclass(frozen=True)
class Record:
    """What a cell did in one slot.

    Attributes:
        slot: Number of the slot.
        told_s: When it was about to tell its message, by the monotonic clock.
        acted_s: When it acted.
        share: Share of its neighbours that the mean field says were heard.
        used: How many slots old the message of each neighbour was that the plan used; without those missing.
        ages_s: What the cell says of the age of each neighbour's last message.
    """

    slot: int
    told_s: float
    acted_s: float
    share: float
    used: dict[str, int]
    ages_s: dict[str, float | None]


@dataclass
class SlotPlanner(FormulaPlanner):
    """Tells the slot, and keeps the mean field that it was given."""

    place: int = 0
    slot: int = 0
    told_s: float = 0.0
    mean_field: FloatArray = field(default_factory=lambda: np.zeros(17, dtype=np.float32))

    def encode(self, observation: FloatArray) -> FloatArray:
        del observation
        self.told_s = monotonic_s()
        latent = np.zeros(self.contract.latent_size, dtype=np.float32)
        latent[2 * self.place : 2 * self.place + 2] = slot_values(self.slot)
        return latent

    def plan(
        self,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = np.inf,
    ) -> Decision:
        self.mean_field = mean_field
        return super().plan(latent, mean_field, mask, deadline_s)


class SlotRadio:
    """Gives the newest observation, as a radio does that waits for nobody, and keeps what the cell did."""

    def __init__(self, planner: SlotPlanner, neighbours: Sequence[tuple[str, int]]) -> None:
        self.counters: Counter[str] = Counter(received=0, overtaken=0)
        self.records: list[Record] = []
        self.ages: Callable[[], dict[str, float | None]] = dict
        self.acted = threading.Event()
        self._planner = planner
        self._neighbours = neighbours
        self._arrival = threading.Condition()
        self._newest: Observation | None = None

    def give(self, observation: Observation) -> None:
        """Put an observation in the place of one that was not taken."""
        with self._arrival:
            self.counters["received"] += 1
            self.counters["overtaken"] += self._newest is not None
            self._newest = observation
            self.acted.clear()
            self._arrival.notify()

    def observe(self, timeout_s: float) -> Observation | None:
        with self._arrival:
            if self._newest is None:
                self._arrival.wait(timeout_s)
            observation, self._newest = self._newest, None
            if observation is not None:
                self._planner.slot = observation.slot
            return observation

    def act(self, observation: Observation, action: FloatArray) -> None:
        assert np.isfinite(action).all()
        heard, slot = self._planner.mean_field, observation.slot
        used = {
            name: (slot - code) % CODES
            for name, place in self._neighbours
            if (code := told_slot(heard, place)) is not None
        }
        ages_s = self.ages()  # before the time is taken, so that they are not larger than it says
        told_s, acted_s = self._planner.told_s, monotonic_s()
        record = Record(slot, told_s, acted_s, float(heard[-1]), used, ages_s)
        self.records.append(record)
        self.acted.set()

    def close(self) -> None:
        pass


class MeshCell:
    """One cell in a thread of its own.

    Args:
        contract: With 16 values in a message and at least as many in the latent.
        folder: Where its file and state go.
        place: Its number; its name is made of it.
        neighbours: Numbers of its neighbours.
        broker: How it reaches the broker.
        slot_s: Length of a slot.
        age_slots: How old a message may be.
        epoch: Number of its boot.
    """

    def __init__(
        self,
        contract: Contract,
        folder: Path,
        place: int,
        neighbours: Sequence[int],
        broker: BrokerConfig,
        slot_s: float,
        age_slots: int,
        epoch: int = EPOCH,
    ) -> None:
        self.name = cell_name(place)
        self.topics = CellTopics(SITE, self.name)
        self.neighbours = tuple(cell_name(one) for one in neighbours)
        folder.mkdir(parents=True, exist_ok=True)
        text = TEXT.format(
            site=SITE,
            name=self.name,
            neighbours=list(self.neighbours),
            slot_s=slot_s,
            age_slots=age_slots,
        )
        file = folder / f"{self.name}.toml"
        file.write_text(text.replace("'", '"'))
        self.age_slots = age_slots
        self.observation = np.zeros(contract.observation_size, dtype=np.float32)
        planner = SlotPlanner(contract, place=place)
        self.radio = SlotRadio(planner, list(zip(self.neighbours, neighbours, strict=True)))
        will = LastWill(self.topics.state, state("lost", epoch))
        self.transport = MqttTransport(broker, f"networld-{self.name}", will)
        bundle = Bundle(folder, "stub", "ab" * 32, contract, 4, 7, 8, 1, {}, {})
        self.agent = Agent(load_config(file), bundle, planner, self.transport, self.radio, epoch)
        self.radio.ages = lambda: self.counters()["message_ages_s"]
        self._thread = threading.Thread(target=self.agent.run, name=self.name, daemon=True)

    @property
    def records(self) -> list[Record]:
        """What it did, slot by slot."""
        return self.radio.records

    def counters(self) -> dict[str, Any]:
        """Return what the agent counts."""
        return self.agent.counters()

    def rejected(self, name: str) -> dict[str, int]:
        """Return how many messages of a neighbour were rejected, by reason."""
        found: dict[str, int] = self.counters()["messages_rejected"][name]
        return found

    def start(self) -> None:
        """Connect and begin to act."""
        self.transport.connect()
        self.agent.start()
        self._thread.start()

    def end(self) -> None:
        """End as on an order."""
        self.agent.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), f"{self.name} does not end"
        self.agent.finish()


class Mesh:
    """Cells, and the clock of slots that drives them.

    Args:
        cells: Cells that are started.
        slot_s: Length of a slot.

    Attributes:
        cells: By their names.
        slot: The last slot that was begun.
        overran: How many slots waited for a cell in vain.
    """

    def __init__(self, cells: Sequence[MeshCell], slot_s: float) -> None:
        self.cells = {cell.name: cell for cell in cells}
        self.slot = 0
        self.overran = 0
        self._slot_s = slot_s

    def run(self, slots: int) -> range:
        """Go through some slots in real time; return them."""
        first = self.slot + 1
        for _ in range(slots):
            self._go()
        return range(first, self.slot + 1)

    def run_for(self, seconds: float) -> range:
        """Go through slots for a while; return them."""
        first, end_s = self.slot + 1, time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._go()
        return range(first, self.slot + 1)

    def run_until(self, condition: Callable[[], object], patience_s: float = PATIENCE_S) -> range:
        """Go through slots until something is so; return them."""
        first, end_s = self.slot + 1, time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < end_s, self.told()
            self._go()
        return range(first, self.slot + 1)

    def heard(self, name: str) -> set[str]:
        """Return whose messages a cell used in its last slot."""
        records = self.cells[name].records
        return set(records[-1].used) if records else set()

    def all_hear_all(self) -> bool:
        """Return whether every cell used a message of each other cell in its last slot."""
        names = set(self.cells)
        return all(names - {name} <= self.heard(name) for name in names)

    def all_connected(self, connections: int) -> bool:
        """Return whether every cell believes in its connection, and has made so many."""
        return all(
            one.transport.connected and one.transport.counters["connections"] >= connections
            for one in self.cells.values()
        )

    @contextmanager
    def returns(self) -> Iterator[dict[str, float]]:
        """Note when each cell makes its connection again, by the monotonic clock; all have to."""
        first = {name: cell.transport.counters["connections"] for name, cell in self.cells.items()}
        seen: dict[str, float] = {}
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(0.002):
                for name, cell in self.cells.items():
                    if name not in seen and cell.transport.counters["connections"] > first[name]:
                        seen[name] = time.monotonic()

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join()
        assert set(seen) == set(self.cells), "a cell did not come back"

    def share(self, slots: range, oldest: int | None = None) -> float:
        """Return how many of all messages that could be used in some slots were, up to an age in slots."""
        used = [
            age <= (oldest or cell.age_slots)
            for cell in self.cells.values()
            for slot in slots
            for age in cell.records[slot - 1].used.values()
        ]
        count = sum(len(cell.neighbours) for cell in self.cells.values())
        return sum(used) / (count * len(slots))

    def told(self) -> str:
        """Return the last record of every cell, for who wonders what went wrong."""
        return "\n".join(
            f"{name}: {cell.records[-1:]} {dict(cell.transport.counters)}"
            for name, cell in self.cells.items()
        )

    def assert_all_acted(self) -> None:
        """Assert what holds whatever happens: every cell acted once in every slot, on nothing too old.

        An older message of a neighbour is never used after a newer one, and the share heard is right.
        """
        for name, cell in self.cells.items():
            slots = [record.slot for record in cell.records]
            assert slots == list(range(1, self.slot + 1)), f"{name} did not act in every slot"
            for record in cell.records:
                assert all(1 <= age <= cell.age_slots for age in record.used.values()), record
                assert round(record.share * len(cell.neighbours)) == len(record.used), record
                assert all(record.ages_s[name] is not None for name in record.used), record
            for neighbour in cell.neighbours:
                told = [
                    one.slot - one.used[neighbour] for one in cell.records if neighbour in one.used
                ]
                assert told == sorted(told), f"{name} went back to an older message of {neighbour}"

    def _go(self) -> None:
        begin_s = time.monotonic()
        self.slot += 1
        for cell in self.cells.values():
            now_s = monotonic_s()
            cell.radio.give(Observation(0, self.slot, cell.observation, 1.0, now_s, now_s + 60))
        grace_s = begin_s + GRACE_S
        for cell in self.cells.values():
            self.overran += not cell.radio.acted.wait(max(grace_s - time.monotonic(), 0))
        time.sleep(max(begin_s + self._slot_s - time.monotonic(), 0))


@contextmanager
def mesh(
    contract: Contract,
    folder: Path,
    ports: Sequence[int],
    slot_s: float = 0.05,
    age_slots: int = 4,
    keep_alive_s: int = 10,
    strangers: Sequence[int] = (),
) -> Iterator[Mesh]:
    """Start cells that all hear each other, one at each port, and wait until they do.

    Args:
        contract: With messages of 16 values.
        folder: Where their files go.
        ports: Where each cell reaches the broker; as many cells as ports.
        slot_s: Length of a slot.
        age_slots: How many slots old a message may be.
        keep_alive_s: Of each connection.
        strangers: Numbers of further neighbours of every cell, which are not started.
    """
    assert len(ports) <= MOST_CELLS, f"{len(ports)} cells: a message has places for {MOST_CELLS}"
    numbers = range(len(ports))
    cells = []
    for number, port in zip(numbers, ports, strict=True):
        others = [one for one in (*numbers, *strangers) if one != number]
        broker = BrokerConfig(port=port, keep_alive_s=keep_alive_s)
        cells.append(MeshCell(contract, folder, number, others, broker, slot_s, age_slots))
    made, started = Mesh(cells, slot_s), []
    try:
        for cell in cells:
            cell.start()
            started.append(cell)
        made.run_until(made.all_hear_all)
        yield made
    finally:
        for cell in started:
            cell.end()


def cell_name(number: int) -> str:
    """Return the name of a cell."""
    return f"cell-{number}"


def slot_values(slot: int) -> FloatArray:
    """Return the two values that tell a slot."""
    return np.array([slot % CODES / 127, 1.0], dtype=np.float32)


def told_slot(mean_field: FloatArray, place: int) -> int | None:
    """Return the slot, modulo `CODES`, of the message of a cell in a mean field; None if there is none."""
    code, weight = (float(one) for one in mean_field[2 * place : 2 * place + 2])
    return round(127 * code / weight) if weight > 0 else None
