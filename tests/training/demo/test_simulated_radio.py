"""The radio against cells that answer from the same process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from networld_runtime.radio_codec import (
    ActionMessage,
    ObservationMessage,
    decode_observation,
    encode_action,
)
from networld_runtime.topics import CellTopics
from networld_runtime.transport import MemoryBus, MemoryTransport
from networld_training.demo.simulated_radio import SimulatedRadio, SlotReport
from networld_training.tasks.power import PowerNetwork, PowerTask

SLOTS = 6
SCENARIO = PowerNetwork(slots=SLOTS, warm_up_slots=2)
CONTRACT = PowerTask.contract
CELLS = tuple(f"cell-{index}" for index in range(7))

Answer = Callable[[str, ObservationMessage], ActionMessage | None]


def wait_not(seconds: float) -> None:
    del seconds


class Network:
    """A radio and cells that answer as the test says."""

    def __init__(self, answer: Answer, slot_s: float = 5.0) -> None:
        bus = MemoryBus()
        self.alive = list(CELLS)
        self.seen: dict[str, list[ObservationMessage]] = {name: [] for name in CELLS}
        self.reports: list[SlotReport] = []
        self.transport = MemoryTransport(bus)
        self.radio = SimulatedRadio(
            self.transport, "demo", CELLS, CONTRACT, slot_s, lambda: self.alive
        )
        self.transport.connect()
        self.radio.clock._sleep = wait_not  # cells answer at once: nothing to wait for
        for name in CELLS:
            self._add_cell(bus, name, answer)

    def _add_cell(self, bus: MemoryBus, name: str, answer: Answer) -> None:
        topics, transport = CellTopics("demo", name), MemoryTransport(bus)

        def observe(payload: bytes) -> None:
            message = decode_observation(payload, CONTRACT)
            self.seen[name].append(message)
            action = answer(name, message)
            if action is not None:
                transport.publish(topics.action, encode_action(action, CONTRACT))

        transport.subscribe({topics.observation: observe})
        transport.connect()

    def run(self, seed: int) -> PowerTask:
        task = PowerTask(SCENARIO, [seed])
        self.radio.run_episode(task, self.reports.append)
        return task


def obedient(name: str, message: ObservationMessage) -> ActionMessage:
    return ActionMessage(message.episode, message.slot, -float(name[-1]))


def test_actions_reach_the_simulator_and_slots_run_on() -> None:
    network = Network(obedient)
    task = network.run(3)
    network.run(4)

    alone = PowerTask(SCENARIO, [3])
    alone.reset()
    outcomes = [alone.step([[0, -1, -2, -3, -4, -5, -6]]) for _ in range(SLOTS)]
    np.testing.assert_array_equal(task.user_rates, alone.user_rates)

    seen = network.seen["cell-2"]
    assert [message.slot for message in seen] == list(range(2 * SLOTS))
    assert [message.episode for message in seen] == [0] * SLOTS + [1] * SLOTS
    utilities = [message.utility for message in seen[: SLOTS + 1]]
    assert utilities == [None, *(pytest.approx(one.utility[0, 2]) for one in outcomes)]
    np.testing.assert_allclose(seen[1].values, outcomes[0].observation[0, 2])
    assert [report.slot for report in network.reports] == [*range(SLOTS), *range(SLOTS)]
    assert network.radio.counters.missed.total() == 0
    assert network.radio.counters.slots == 2 * SLOTS


def test_late_cell_keeps_its_power_and_is_counted() -> None:
    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        if name == "cell-3" and message.slot > 1:
            return None
        return obedient(name, message)

    network = Network(answer, slot_s=0.01)
    network.run(0)
    assert network.radio.counters.missed == {"cell-3": SLOTS - 2}
    assert network.reports[-1].action_db[3] == -3.0
    assert np.isnan(network.reports[-1].answer_ms[3])
    assert network.radio.counters.answer_ms[-1] == pytest.approx(10)


def test_lost_cell_is_not_waited_for_and_not_counted_as_late() -> None:
    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        return None if name == "cell-3" else obedient(name, message)

    network = Network(answer)
    network.alive.remove("cell-3")
    network.run(0)
    assert network.radio.counters.missed.total() == 0
    assert network.reports[-1].action_db[3] == 0.0  # full power, as in the warm-up


def test_action_of_another_slot_is_rejected() -> None:
    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        slot = message.slot - (name == "cell-0")
        return ActionMessage(message.episode, max(slot, 0), -1.0)

    network = Network(answer, slot_s=0.01)
    network.run(0)
    assert network.radio.counters.rejected == {"late": SLOTS - 1}
    assert network.radio.counters.missed == {"cell-0": SLOTS - 1}


def test_payload_that_is_no_action_is_rejected() -> None:
    network = Network(obedient)
    network.radio._receive("cell-0", b"\xff")
    assert network.radio.counters.rejected.total() == 1
