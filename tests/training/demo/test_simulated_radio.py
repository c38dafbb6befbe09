"""The radio against cells that answer from the same process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.radio_codec import (
    ActionMessage,
    ObservationMessage,
    decode_observation,
    encode_action,
)
from networld_training.data.behaviours import random_values
from networld_training.demo.simulated_radio import SimulatedRadio, SlotReport
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.registry import CONTRACTS, TASKS

SLOTS = 6
SCENARIO = PowerNetwork(slots=SLOTS, warm_up_slots=2)
FULL_POWER = (0.0,)
COUPLINGS = {"power": 1, "sched": 1, "sleep": 2}
CELLS = tuple(f"cell-{index}" for index in range(7))

Answer = Callable[[str, ObservationMessage], ActionMessage | None]


def wait_not(seconds: float) -> None:
    del seconds


class Site:
    """A radio and cells that answer as the test says."""

    def __init__(
        self,
        answer: Answer,
        slot_s: float = 5.0,
        task: str = "power",
        start: Sequence[float] | None = FULL_POWER,
    ) -> None:
        bus = MemoryBus()
        self.contract = CONTRACTS[task]
        self.make = TASKS[task].make
        self.alive = list(CELLS)
        self.seen: dict[str, list[ObservationMessage]] = {name: [] for name in CELLS}
        self.reports: list[SlotReport] = []
        self.transport = MemoryTransport(bus)
        self.radio = SimulatedRadio(
            self.transport, "demo", CELLS, self.contract, slot_s, lambda: self.alive, start
        )
        self.transport.connect()
        self.radio.clock._sleep = wait_not  # cells answer at once: nothing to wait for
        for name in CELLS:
            self._add_cell(bus, name, answer, task)

    def _add_cell(self, bus: MemoryBus, name: str, answer: Answer, task: str) -> None:
        topics, transport = CellTopics("demo", name), MemoryTransport(bus)

        def observe(payload: bytes) -> None:
            message = decode_observation(payload, self.contract, (6, COUPLINGS[task]))
            self.seen[name].append(message)
            action = answer(name, message)
            if action is not None:
                transport.publish(topics.action, encode_action(action, self.contract))

        transport.subscribe({topics.observation: observe})
        transport.connect()

    def run(self, seed: int, network: Network = SCENARIO) -> Task:
        task = self.make(network, [seed])
        self.radio.run_episode(task, self.reports.append)
        return task


def obedient(name: str, message: ObservationMessage) -> ActionMessage:
    return act(message, -float(name[-1]))


def act(message: ObservationMessage, *action: float) -> ActionMessage:
    return ActionMessage(message.episode, message.slot, np.array(action, dtype=np.float32))


def test_actions_reach_the_simulator_and_slots_run_on() -> None:
    site = Site(obedient)
    task = site.run(3)
    site.run(4)

    alone = PowerTask(SCENARIO, [3])
    alone.reset()
    outcomes = [alone.step([[0, -1, -2, -3, -4, -5, -6]]) for _ in range(SLOTS)]
    assert isinstance(task, PowerTask)
    np.testing.assert_array_equal(task.user_rates, alone.user_rates)

    seen = site.seen["cell-2"]
    assert [message.slot for message in seen] == list(range(2 * SLOTS))
    assert [message.episode for message in seen] == [0] * SLOTS + [1] * SLOTS
    utilities = [message.utility for message in seen[: SLOTS + 1]]
    assert utilities == [None, *(pytest.approx(one.utility[0, 2]) for one in outcomes)]
    np.testing.assert_allclose(seen[1].values, outcomes[0].observation[0, 2])
    begun = PowerTask(SCENARIO, [3])
    begun.reset()
    assert begun.coupling.any()
    np.testing.assert_array_equal(seen[0].coupling, begun.coupling[0, 2])
    assert [report.slot for report in site.reports] == [*range(SLOTS), *range(SLOTS)]
    assert site.radio.counters.missed.total() == 0
    assert site.radio.counters.slots == 2 * SLOTS


def test_late_cell_keeps_its_power_and_is_counted() -> None:
    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        if name == "cell-3" and message.slot > 1:
            return None
        return obedient(name, message)

    site = Site(answer, slot_s=0.01)
    site.run(0)
    assert site.radio.counters.missed == {"cell-3": SLOTS - 2}
    assert site.reports[-1].action[3, 0] == -3.0
    assert np.isnan(site.reports[-1].answer_ms[3])
    assert site.radio.counters.answer_ms[-1] == pytest.approx(10)


def test_lost_cell_is_not_waited_for_and_not_counted_as_late() -> None:
    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        return None if name == "cell-3" else obedient(name, message)

    site = Site(answer)
    site.alive.remove("cell-3")
    site.run(0)
    assert site.radio.counters.missed.total() == 0
    assert site.reports[-1].action[3, 0] == 0.0  # full power, as in the warm-up


@pytest.mark.parametrize(("start", "begun"), [(FULL_POWER, 0.0), (None, -15.0)])
def test_episode_begins_with_the_start_and_not_with_the_last_action(
    start: Sequence[float] | None, begun: float
) -> None:
    """A cell that acts in one episode and is silent in the next does there what all cells begin with."""

    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        return None if name == "cell-3" and message.episode == 1 else obedient(name, message)

    site = Site(answer, start=start)
    site.run(0)
    site.alive.remove("cell-3")
    site.run(1)
    powers = [report.action[3, 0] for report in site.reports]
    assert powers == [-3.0] * SLOTS + [begun] * SLOTS


def test_action_of_another_slot_is_rejected() -> None:
    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        slot = message.slot - (name == "cell-0")
        return act(replace(message, slot=max(slot, 0)), -1.0)

    site = Site(answer, slot_s=0.01)
    site.run(0)
    assert site.radio.counters.rejected == {"late": SLOTS - 1}
    assert site.radio.counters.missed == {"cell-0": SLOTS - 1}


def test_payload_that_is_no_action_is_rejected() -> None:
    site = Site(obedient)
    site.radio._receive("cell-0", b"\xff")
    assert site.radio.counters.rejected.total() == 1


def short(task: str) -> Network:
    return replace(TASKS[task].scenarios["train"].networks[0], slots=SLOTS)


@pytest.mark.parametrize("task", CONTRACTS)
def test_every_task_is_served(task: str) -> None:
    """Cells take any action that they may; the simulator gets just that."""
    random = np.random.default_rng(5)
    components = CONTRACTS[task].actions

    def answer(name: str, message: ObservationMessage) -> ActionMessage:
        del name
        masks = None if message.mask is None else message.mask[None, None]
        drawn = [random_values(one, (1, 1), random, masks)[0, 0] for one in components]
        return act(message, *drawn)

    site = Site(answer, task=task, start=None)
    served = site.run(3, short(task))
    assert site.radio.counters.rejected == site.radio.counters.missed == {}
    alone = TASKS[task].make(short(task), [3])
    alone.reset()
    for report in site.reports:
        masks = [site.seen[name][report.slot].mask for name in CELLS]
        if alone.action_mask is None:
            assert masks == [None] * len(CELLS)
        else:
            np.testing.assert_array_equal(masks, alone.action_mask[0])
        couplings = [site.seen[name][report.slot].coupling for name in CELLS]
        np.testing.assert_array_equal(couplings, alone.coupling[0])
        details = alone.step(report.action[None]).details
        for name, values in details.items():
            np.testing.assert_array_equal(report.details[name], values[0])
    for name, figure in served.metrics().items():
        np.testing.assert_array_equal(figure, alone.metrics()[name])


def test_action_that_the_mask_forbids_is_rejected() -> None:
    forbidden = 0

    def answer(name: str, message: ObservationMessage) -> ActionMessage:
        nonlocal forbidden
        assert message.mask is not None
        chosen = int(np.argmin(message.mask))  # all users are served nowhere
        forbidden += not message.mask[chosen]
        return act(message, chosen if name == "cell-2" else 8.0)

    site = Site(answer, slot_s=0.01, task="sched", start=None)
    site.run(0, short("sched"))
    assert forbidden == SLOTS * len(CELLS)
    assert site.radio.counters.rejected == {"masked": SLOTS}
    assert site.radio.counters.missed == {"cell-2": SLOTS}
    assert all(report.action[2, 0] == 8 for report in site.reports)


def test_late_cell_keeps_its_user_while_there_is_one_and_is_silent_then() -> None:
    """Its queue is empty at some time; serving it again and again must not end the episode."""

    def answer(name: str, message: ObservationMessage) -> ActionMessage | None:
        assert message.mask is not None
        if name == "cell-1" and message.slot > 0:
            return None
        return act(message, float(np.argmax(message.mask)))

    site = Site(answer, slot_s=0.001, task="sched", start=None)
    site.run(1, replace(short("sched"), slots=100))
    user = site.reports[0].action[1, 0]
    served = np.array([report.action[1, 0] for report in site.reports])
    possible = [
        message.mask is not None and message.mask[int(user)] for message in site.seen["cell-1"]
    ]
    first_empty = possible.index(False)
    assert user < 8
    assert (served[:first_empty] == user).all()
    assert (served[first_empty:] == 8).all()


def test_without_a_start_cells_begin_safely() -> None:
    site = Site(lambda *_: None, slot_s=0.001, start=None)
    site.run(0)
    assert site.reports[0].action.tolist() == [[-15.0]] * len(CELLS)
