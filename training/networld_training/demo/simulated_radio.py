"""The radio of all cells: one episode of the simulator, served over MQTT slot by slot."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import Transport
from networld_runtime.radio_codec import ObservationMessage, decode_action, encode_observation
from networld_training.demo.slot_clock import SlotClock
from networld_training.tasks.base import Task

DoubleArray = npt.NDArray[np.float64]

SHORTEST_ANSWER_S = 1e-3


@dataclass(frozen=True)
class SlotReport:
    """What one slot looked like from the radio.

    Attributes:
        slot: Number of the slot within its episode, from 0.
        action: Actions that were used, native units `[K, C]`.
        details: Further results of the slot by name, as the task gives them, each `[K]`.
        answer_ms: From the publication of the first observation to a cell's action `[K]`; NaN for a
            cell that was late or is gone.
    """

    slot: int
    action: FloatArray
    details: Mapping[str, FloatArray]
    answer_ms: DoubleArray


@dataclass
class RadioCounters:
    """What the radio saw in all slots so far.

    Attributes:
        slots: Slots that were served.
        missed: Actions that were not there when their slot ended, by cell; cells whose process has
            ended are left out.
        rejected: Actions that could not be used, by reason; `late` belong to a slot that has ended,
            `masked` are not possible in it.
        answer_ms: For each slot, how long the slowest cell took; the length of the slot if one was
            late.
    """

    slots: int = 0
    missed: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    answer_ms: list[float] = field(default_factory=list)


class SimulatedRadio:
    """Gives observations to the cells and takes their actions; make it before connecting.

    A slot lasts its full wall time. A cell whose action is not there in time keeps that of the slot
    before, as hardware does, or takes the contract's safe action where the mask forbids that.

    Args:
        transport: Reaches the broker.
        site: Name of the site.
        cells: Names of the cells, in the order of the simulator.
        contract: Decides bytes and ranges.
        slot_s: Wall time of a slot.
        alive: Returns the cells whose process runs; called in every slot.
        start: What all cells do until their first action of an episode `[C]`; None for the contract's
            safe action.
    """

    def __init__(
        self,
        transport: Transport,
        site: str,
        cells: Sequence[str],
        contract: Contract,
        slot_s: float,
        alive: Callable[[], Sequence[str]],
        start: Sequence[float] | None = None,
    ) -> None:
        self.counters = RadioCounters()
        self.clock = SlotClock(slot_s)
        self._transport = transport
        self._cells = tuple(cells)
        self._contract = contract
        self._slot_s = slot_s
        self._alive = alive
        self._topics = [CellTopics(site, name) for name in cells]
        self._arrival = threading.Condition()
        self._answers: dict[str, tuple[float, FloatArray]] = {}
        self._open: tuple[int, int] | None = None
        self._mask: BoolArray | None = None
        self._episode = -1
        self._slot = -1
        self._utility: FloatArray | None = None
        self._start = np.array(start or contract.safe_action, dtype=np.float32)
        self._safe = np.array(contract.safe_action, dtype=np.float32)
        self._action: FloatArray = np.tile(self._start, (len(self._cells), 1))
        transport.subscribe(
            {
                topics.action: partial(self._receive, name)
                for name, topics in zip(self._cells, self._topics, strict=True)
            }
        )

    def run_episode(self, task: Task, on_slot: Callable[[SlotReport], None]) -> None:
        """Serve one episode from its first slot to its last.

        Args:
            task: One environment; it is reset, and holds the metrics afterwards.
            on_slot: Called for every slot after it ended, while the cells plan the next one.
        """
        observation = task.reset()
        self._action = np.tile(self._start, (len(self._cells), 1))
        self._episode += 1
        self.clock.restart()
        done = False
        report: SlotReport | None = None
        while not done:
            end_s = self.clock.begin_slot()
            begin_s = time.monotonic()
            mask = None if task.action_mask is None else task.action_mask[0]
            coupling = task.coupling[0] if task.couplings else None
            alive = self._publish(observation[0], coupling, mask, end_s)
            if report is not None:
                on_slot(report)  # now, while the cells plan and nothing waits for us
            answer_ms = self._take(self._await_actions(alive, end_s), alive, begin_s)
            outcome = task.step(self._action[None])
            details = {name: values[0] for name, values in outcome.details.items()}
            report = SlotReport(task.slot - 1, self._action, details, answer_ms)
            self._utility = outcome.utility[0]
            observation, done = outcome.observation, outcome.done
        if report is not None:
            on_slot(report)

    def _publish(
        self,
        observation: FloatArray,
        coupling: FloatArray | None,
        mask: BoolArray | None,
        end_s: float,
    ) -> Sequence[str]:
        """Open a slot: publish observations `[K, D]`, couplings and masks; return who can answer."""
        with self._arrival:
            self._slot += 1
            self._answers = {}
            self._open = (self._episode, self._slot)
            self._mask = mask
        alive = self._alive()
        for index, topics in enumerate(self._topics):
            message = ObservationMessage(
                self._episode,
                self._slot,
                observation[index],
                None if self._utility is None else float(self._utility[index]),
                max(end_s - time.monotonic(), SHORTEST_ANSWER_S),
                self._allowed(index),
                None if coupling is None else coupling[index],
            )
            self._transport.publish(topics.observation, encode_observation(message, self._contract))
        return alive

    def _allowed(self, cell: int) -> BoolArray | None:
        """Return the mask of a cell in the present slot."""
        return None if self._mask is None else self._mask[cell]

    def _await_actions(
        self, alive: Sequence[str], end_s: float
    ) -> dict[str, tuple[float, FloatArray]]:
        """Close the slot when all actions are there or it ends; return arrival and action by cell."""
        with self._arrival:
            self._arrival.wait_for(
                lambda: all(name in self._answers for name in alive), end_s - time.monotonic()
            )
            answers, self._open = self._answers, None  # what comes from now on is late
        return answers

    def _take(
        self, answers: dict[str, tuple[float, FloatArray]], alive: Sequence[str], begin_s: float
    ) -> DoubleArray:
        """Use the actions that are there and count; return answer times in ms `[K]`."""
        action = self._action.copy()
        answer_ms = np.full(len(self._cells), np.nan)
        for index, name in enumerate(self._cells):
            if name in answers:
                arrived_s, action[index] = answers[name]
                answer_ms[index] = 1000 * (arrived_s - begin_s)
                continue
            if name in alive:
                self.counters.missed[name] += 1
            if not self._contract.allows(action[index], self._allowed(index)):
                action[index] = self._safe
        self._action = action
        self.counters.slots += 1
        late = any(name in alive and name not in answers for name in self._cells)
        slowest_ms = 1000 * self._slot_s if late else float(np.nanmax(answer_ms))
        self.counters.answer_ms.append(slowest_ms)
        return answer_ms

    def _receive(self, name: str, payload: bytes) -> None:
        """Take an action from the network thread."""
        arrived_s = time.monotonic()
        try:
            message = decode_action(payload, self._contract)
        except MessageError as error:
            self.counters.rejected[error.reason] += 1
            return
        with self._arrival:
            if (message.episode, message.slot) != self._open:
                self.counters.rejected["late"] += 1
                return
            if not self._contract.allows(message.action, self._allowed(self._cells.index(name))):
                self.counters.rejected["masked"] += 1
                return
            self._answers[name] = (arrived_s, message.action)
            self._arrival.notify_all()
