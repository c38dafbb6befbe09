"""A task under check: fresh batches of episodes, and valid actions by seed and slot alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from networld_training.conformance.records import Record, flat, play
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Outcome, Task
from networld_training.tasks.network import Network
from networld_training.tasks.spec import Choice, native_bounds

EPISODES = 2
SHIFT = 1000

MakeTask = Callable[[Network, Sequence[int]], Task]


@dataclass
class TaskRun:
    """A batch of episodes that acts by `valid_action`.

    Attributes:
        instance: The batch.
        action_seeds: Seeds of the actions, one for each episode.
    """

    instance: Task
    action_seeds: Sequence[int]

    @property
    def over(self) -> bool:
        """Whether the last slot is done."""
        return self.instance.slot >= self.instance.network.slots

    def reset(self) -> Record:
        """Start the episodes."""
        returned = self.instance.reset()
        return self._shown() | flat("", {"returned": returned})

    def step(self) -> Record:
        """Act for one slot."""
        outcome = self.instance.step(valid_action(self.instance, self.action_seeds))
        shown = {
            "reward": outcome.reward,
            "utility": outcome.utility,
            "credit": outcome.credit,
            "details": outcome.details,
            "done": outcome.done,
            "metrics": self.instance.metrics() if self.over else {},
        }
        return self._shown() | flat("", shown)

    def _shown(self) -> Record:
        task = self.instance
        shown = flat("", {"observation": task.observation, "mean_field": task.mean_field})
        if not self.over:
            shown |= flat("coupling", task.coupling)
        if task.action_mask is not None:
            shown |= flat("action_mask", task.action_mask)
        return shown


class TaskSubject:
    """A task and a network to check.

    Args:
        make: Makes a batch of episodes from a network and seeds.
        network: Where the episodes take place.
        seed: Seed of the first episode; the following ones are next to it.
    """

    def __init__(self, make: MakeTask, network: Network, seed: int = 0) -> None:
        self.make = make
        self.network = network
        self.seeds = list(range(seed, seed + EPISODES))

    @cached_property
    def reference(self) -> list[Record]:
        """What a fresh batch shows, from the first slot to the last."""
        return play(self.run())

    def run(self, shift: int = 0) -> TaskRun:
        """Return a fresh batch; another shift means other seeds, but the same actions."""
        task = self.make(self.network, [seed + SHIFT * shift for seed in self.seeds])
        return TaskRun(task, self.seeds)

    def task(self) -> Task:
        """Return a fresh batch that has not begun."""
        return self.make(self.network, self.seeds)

    def begun(self) -> Task:
        """Return a fresh batch in its first slot."""
        task = self.task()
        task.reset()
        return task

    def slots(self) -> Iterator[tuple[Task, Outcome]]:
        """Play a fresh batch and yield it with the outcome of each slot."""
        task = self.begun()
        for _ in range(self.network.slots):
            yield task, task.step(valid_action(task))


def valid_action(task: Task, seeds: Sequence[int] | None = None) -> FloatArray:
    """Return allowed actions `[E, K, C]` of the present slot, drawn for each episode from its seed.

    Args:
        task: The batch of episodes.
        seeds: Seeds of the actions; those of the episodes if not given.
    """
    cells = task.shape[1]
    action = np.empty(task.action_shape)
    for episode, seed in enumerate(task.seeds if seeds is None else seeds):
        generator = np.random.default_rng((seed, task.slot))
        for index, component in enumerate(task.spec.actions):
            if not isinstance(component, Choice):
                drawn = generator.uniform(*native_bounds(component), cells)
            else:
                preference = generator.random((cells, component.size))
                if component.masked and task.action_mask is not None:
                    preference *= task.action_mask[episode]
                drawn = np.argmax(preference, axis=-1)
            action[episode, :, index] = drawn
    return action
