"""The base of every task: batches of seeded episodes, checked actions, messages one slot late."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import FloatArray
from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import BoolArray, IntArray
from networld_training.radio.arrays import FloatArray as DoubleArray
from networld_training.radio.streams import Streams, spawn_streams
from networld_training.tasks.messages import as_received, filled, mean_field
from networld_training.tasks.network import Network
from networld_training.tasks.spec import ActionError, Information, TaskSpec, action_problems

__all__ = ["Outcome", "Policy", "Rule", "Task", "shared_reward"]

CREDIT = "credit"
"""Detail of a slot that is no detail: what the cells themselves earned."""


@dataclass(frozen=True)
class Outcome:
    """What a slot brought.

    Attributes:
        observation: Observations of the next slot `[E, K, D]`.
        reward: Mean utility of a cell and its neighbours `[E, K]`.
        utility: What a cell itself was worth in the slot `[E, K]`, in the task's units.
        credit: What the cell earned by what it did, free of the luck of arrivals `[E, K]`.
        done: Whether that was the last slot of the episode.
        details: Further results of the slot by name, each `[E, K]`.
    """

    observation: FloatArray
    reward: FloatArray
    utility: FloatArray
    credit: FloatArray
    done: bool
    details: Mapping[str, FloatArray] = field(default_factory=dict)


class Task(ABC):
    """E episodes of a task, one for each seed.

    Everything random comes from the seeds: `reset` starts the same episodes again, and an episode does not
    depend on the others of its batch. A task owns no randomness: it hands the streams to the physics.

    A subclass sets `spec` and implements `_begin`, `_advance`, `_observe`, `_tell` and `metrics`.

    Args:
        network: Where cells stand and how users move.
        seeds: Seeds of the episodes, whole numbers from 0.

    Attributes:
        spec: Observations, messages, actions and figures of merit.
        couplings: What each of the Q entries of `coupling` is, with its unit; none unless the task says so.
        neighbours: The six nearest cells of each cell `[K, 6]`.
        shape: Episodes and cells, (E, K).
        slot: Number of the present slot, from 0.
        streams: Random streams of each episode; policies draw from `policy`.
        observation: What the cells observe in the present slot, native units `[E, K, D]`.
        action_mask: Valid choices in the present slot `[E, K, A]`; None if no action is masked.
        received: What each cell told in the slot before, as it arrived `[E, K, M]`; NaN where it told
            nothing, and everywhere in the first slot.

    Raises:
        ConfigError: There is no seed, or one is no whole number from 0.
    """

    spec: ClassVar[TaskSpec]
    couplings: ClassVar[tuple[str, ...]] = ()
    slot: int
    streams: list[Streams]
    observation: FloatArray
    action_mask: BoolArray | None = None
    received: DoubleArray

    def __init__(self, network: Network, seeds: Sequence[int]) -> None:
        self.network = network
        self.seeds = tuple(seeds)
        _check_seeds(self.seeds)
        self.layout = network.layout()
        self.neighbours: IntArray = self.layout.neighbours
        self.shape = (len(self.seeds), network.cells)
        self.slot = 0

    @property
    def action_shape(self) -> tuple[int, int, int]:
        """Shape (E, K, C) of the actions that `step` takes."""
        return (*self.shape, len(self.spec.actions))

    @property
    def mean_field(self) -> FloatArray:
        """Average of the messages that the neighbours sent one slot ago, native units `[E, K, M]`.

        Where none told an entry it has the lowest value of its range.
        """
        field = mean_field(self.received, self.neighbours)
        return filled(field, self.spec.message).astype(np.float32)

    @property
    def coupling(self) -> FloatArray:
        """How strongly each neighbour's being active acts on a cell in the present slot, `[E, K, 6, Q]`.

        Linear numbers from 0, in the order of `neighbours`, as `couplings` names them, read before the cells
        act. It is what users report of neighbours, merged: data sets log it for models to learn from. It is
        not part of the observation, and no policy may use it. A task that names couplings overrides it.
        """
        return np.zeros((*self.shape, self.neighbours.shape[1], 0), dtype=np.float32)

    def reset(self) -> FloatArray:
        """Start the episodes and return the observations `[E, K, D]`."""
        self.streams = [spawn_streams(seed) for seed in self.seeds]
        self.slot = 0
        self.received = np.full((*self.shape, len(self.spec.message)), np.nan)
        self._begin()
        self.observation = self._observe()
        return self.observation

    def step(self, action: npt.ArrayLike) -> Outcome:
        """Act for one slot.

        Args:
            action: Native values `[E, K, C]`, or `[E, K]` for a task with one component.

        Raises:
            ActionError: The shape is wrong or a value not allowed (names value and range), `reset` was not
                called, or the episodes are over.
        """
        if not hasattr(self, "observation"):
            raise ActionError("step", "the episodes have not begun; call reset first")
        if self.slot >= self.network.slots:
            raise ActionError(
                "step", f"the episodes are over after {self.slot} slots; call reset to start again"
            )
        values = self._checked(action)
        told = as_received(self._tell(), self.spec.message)
        utility, further = self._advance(values)
        details = {name: one.astype(np.float32) for name, one in further.items()}
        own = utility.astype(np.float32)
        self.received = told
        self.slot += 1
        self.observation = self._observe()
        return Outcome(
            observation=self.observation,
            reward=shared_reward(utility, self.neighbours).astype(np.float32),
            utility=own,
            credit=details.pop(CREDIT, own),
            done=self.slot >= self.network.slots,
            details=details,
        )

    def effective_action(self, action: DoubleArray) -> DoubleArray:
        """Return actions `[E, K, C]` as they would take effect in the present slot; data sets log these.

        A task whose cells cannot always do what they are told overrides it.
        """
        return action

    def balance(self) -> Mapping[str, DoubleArray]:
        """Return what must be zero at any time `[E]` if nothing is lost or made up, by name with its unit.

        Say `queue_bits`: arrived less sent, dropped and waiting. `networld check` asks after every slot and
        takes 0.001 for zero. A task that keeps no such books returns nothing.
        """
        return {}

    @abstractmethod
    def metrics(self) -> dict[str, DoubleArray]:
        """Return the figures of merit over the slots so far, each `[E]`, as `spec.kpis` names them."""

    @abstractmethod
    def _begin(self) -> None:
        """Start the episodes from `streams`."""

    @abstractmethod
    def _advance(self, action: DoubleArray) -> tuple[DoubleArray, dict[str, DoubleArray]]:
        """Act, let time pass, and return utilities and details, each `[E, K]`.

        A detail called `credit` becomes the credit of the outcome; without it that is the utility. A task
        gives one if its utilities depend on more than what the cells do: on what happens to arrive, say.
        """

    @abstractmethod
    def _observe(self) -> FloatArray:
        """Return the present observations `[E, K, D]`, and set `action_mask` if there is one."""

    @abstractmethod
    def _tell(self) -> DoubleArray:
        """Return what the cells tell in the present slot, before they act, `[E, K, M]`."""

    def _checked(self, action: npt.ArrayLike) -> DoubleArray:
        try:
            values = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ActionError(
                "actions", f"are no numbers of shape {self.action_shape}: {error}"
            ) from error
        if values.shape == self.shape and self.action_shape[-1] == 1:
            values = values[..., None]
        if values.shape != self.action_shape:
            raise ActionError("actions", f"shape {values.shape}, expected {self.action_shape}")
        problems = action_problems(self.spec, values, self.action_mask)
        if problems:
            raise ActionError("actions", problems)
        return values


def _check_seeds(seeds: tuple[object, ...]) -> None:
    wrong = [seed for seed in seeds if not (isinstance(seed, int | np.integer) and int(seed) >= 0)]
    if wrong or not seeds:
        found = f"{wrong[0]!r}" if wrong else "none"
        raise ConfigError("seeds", f"{found}, expected whole numbers from 0, at least one")


TaskT_contra = TypeVar("TaskT_contra", bound=Task, contravariant=True)


class Policy(Protocol[TaskT_contra]):
    """Whatever chooses actions from what a task shows."""

    def reset(self) -> None:
        """Forget the last batch of episodes."""

    def act(self, task: TaskT_contra) -> npt.NDArray[np.floating]:
        """Return the actions of all cells in native units, `[E, K, C]` (`[E, K]` if C is 1)."""


class Rule(Policy[TaskT_contra], Protocol[TaskT_contra]):
    """A policy with a name in tables and a label of what it knows.

    A rule that cannot act in every network has a method `fits(network) -> bool`, too; evaluations leave it
    out where it does not fit.
    """

    @property
    def name(self) -> str:
        """Name in tables."""

    @property
    def information(self) -> Information:
        """What it knows beside nothing."""


class StatelessRule:
    """What rules without memory have in common; they know nothing unless they say otherwise."""

    information: Information = "none"

    def reset(self) -> None:
        """Do nothing: there is no state."""


def shared_reward(utility: DoubleArray, neighbours: IntArray) -> DoubleArray:
    """Return the mean utility of each cell and its neighbours, `[E, K]`."""
    around = utility[:, neighbours].sum(axis=-1)
    return np.asarray((utility + around) / (1 + neighbours.shape[1]))
