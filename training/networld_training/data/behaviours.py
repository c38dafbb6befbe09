"""Who acts in logged data: a rule for each cell of each episode, and how its actions are disturbed."""

from __future__ import annotations

from typing import Any

import numpy as np

from networld_runtime.contract import ActionBins, FloatArray
from networld_training.data.qualities import Quality
from networld_training.radio.arrays import BoolArray
from networld_training.tasks.base import Rule, Task
from networld_training.tasks.registry import find_task
from networld_training.tasks.spec import Action

Array = np.ndarray[Any, Any]

OFF_SHARE = 1 / 3
"""Share of "off" among the random values of an action that has it."""


class BehaviourPolicy:
    """Acts for all cells of a batch of episodes, each by its own behaviour or all of an episode by one.

    A rule that no cell of the batch follows is never asked; one that knows the whole network answers
    for all cells, and those that follow it take their part. A disturbed cell draws its jitter and its
    share of random slots once for the episode.

    Args:
        quality: The mixture.
        task: The episodes, just reset.
        random: Draws who does what; independent of the task's streams.

    Attributes:
        behaviours: What each cell follows, an index into the quality `[E, K]`.
    """

    def __init__(self, quality: Quality, task: Task, random: np.random.Generator) -> None:
        self.random = random
        self.behaviours: Array = random.choice(
            len(quality.behaviours), size=task.shape, p=quality.weights
        )
        if quality.together:
            alike = random.random(task.shape[0]) < quality.together
            self.behaviours[alike] = self.behaviours[alike, :1]
        disturbed = np.array([one.disturbed for one in quality.behaviours])[self.behaviours]
        self._jitter = random.choice(quality.jitters, size=task.shape) * disturbed
        self._random_share = random.choice(quality.random_shares, size=task.shape) * disturbed
        make = find_task(task.spec.name).heuristics
        self._rules: dict[int, Rule[Any]] = {
            int(index): make[quality.rules[index]]() for index in np.unique(self.behaviours)
        }
        for rule in self._rules.values():
            rule.reset()

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot as they take effect."""
        action = np.zeros(task.action_shape)
        for index, rule in self._rules.items():
            answer = np.asarray(rule.act(task)).reshape(task.action_shape)
            action = np.where((self.behaviours == index)[..., None], answer, action)
        for number, component in enumerate(task.spec.actions):
            values = action[..., number]
            if isinstance(component, ActionBins):
                values = jittered(values, component, self._jitter, self.random)
            explore = self.random.random(values.shape) < self._random_share
            explored = random_values(component, values.shape, self.random, task.action_mask)
            action[..., number] = np.where(explore, explored, values)
        return task.effective_action(action).astype(np.float32)


def jittered(
    values: Array, bins: ActionBins, spread: Array | float, random: np.random.Generator
) -> Array:
    """Move native values about; one below the range is off or, without "off", the lowest; off stays off.

    Args:
        values: Native values of any shape.
        bins: The action.
        spread: Standard deviations of the jitter, in lengths of the action's range.
        random: Draws it.
    """
    moved = values + spread * (bins.high - bins.low) * random.standard_normal(values.shape)
    lowest = bins.low if bins.off is None else bins.off
    moved = np.where(moved < bins.low, lowest, np.minimum(moved, bins.high))
    return np.where(values < bins.low, values, moved)


def random_values(
    component: Action,
    shape: tuple[int, ...],
    random: np.random.Generator,
    mask: BoolArray | None = None,
) -> Array:
    """Draw native values of an action, each allowed one as likely; "off" has a share of its own.

    Args:
        component: The component of the action.
        shape: Episodes and cells `(E, K)`.
        random: Draws them.
        mask: Valid choices `[E, K, A]`; only a masked choice heeds it.
    """
    if isinstance(component, ActionBins):
        values = random.uniform(component.low, component.high, shape)
        if component.off is None:
            return np.asarray(values)
        return np.where(random.random(shape) < OFF_SHARE, component.off, values)
    lots = random.random((*shape, component.size))
    if component.masked and mask is not None:
        lots = np.where(mask, lots, -1.0)
    return np.asarray(np.argmax(lots, axis=-1))
