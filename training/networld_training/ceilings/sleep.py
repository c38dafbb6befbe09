"""The objective of the sleep ceiling: what each cell's being awake costs the network, all else as decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import FloatArray as NormalisedArray
from networld_runtime.contract import normalised
from networld_training.radio.arrays import BoolArray, FloatArray
from networld_training.tasks.sleep.contract import SLEEP_SPEC
from networld_training.tasks.sleep.genie import set_cost
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, PATIENCE_SLOTS
from networld_training.tasks.sleep.task import SleepTask

# About what an idle cell saves by sleeping, in reference power; unserved traffic costs many times more.
COST_UNIT = 2.0
LARGEST_EXCESS = 60.0


class SleepObjective:
    """One logit: the chance that being awake is right. Offsets stay 0.

    A third of the cells may change their minds in a slot, in turn, because all of them hear about the
    same; a cell goes from light to deep sleep after some time, as in the task's rules.
    """

    input_size = len(SLEEP_SPEC.features) + len(SLEEP_SPEC.message)
    output_size = 1
    initial_bias = (1.0,)

    def observe(self, task: SleepTask) -> NormalisedArray:
        """Return the observations and the mean field."""
        seen = normalised(SLEEP_SPEC.features, task.observation)
        field = normalised(SLEEP_SPEC.message, task.mean_field)
        return np.concatenate([seen, field], axis=-1)

    def decide(self, task: SleepTask, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return orders and offsets `[E, K, 2]`."""
        awake = self._awake(task, output)
        rested = (task.state == LIGHT) & (task.memory.slots_in_state >= PATIENCE_SLOTS)
        down = np.where(rested | (task.state == DEEP), DEEP, LIGHT)
        return np.stack([np.where(awake, ACTIVE, down), np.zeros(task.shape)], axis=-1)

    def loss(self, task: SleepTask, output: Tensor) -> Tensor:
        """Return what being awake is expected to cost beyond sleep, the others' decisions drawn.

        Its gradient is that of the expected cost of the network. What a cell in deep sleep decides shows
        in the next slot; until then it cannot serve.
        """
        deep = task.state == DEEP
        chance = torch.sigmoid(output[..., 0])
        turn = np.broadcast_to(task.turn, task.shape)
        drawn = self._awake(task, (torch.bernoulli(chance.detach()) - 0.5)[..., None].numpy())
        excess = np.zeros(task.shape)
        for ahead, awake, asked in ((0, drawn & ~deep, turn & ~deep), (1, drawn, turn & deep)):
            if asked.any():
                excess[asked] = _excess_cost(task, ahead, awake, asked)
        cost = np.clip(excess, -LARGEST_EXCESS, LARGEST_EXCESS) * turn
        expected = (chance * torch.from_numpy(cost).float()).sum() / float(turn.sum())
        return expected / COST_UNIT

    def _awake(self, task: SleepTask, output: np.ndarray[Any, Any]) -> BoolArray:
        asleep = (task.state == LIGHT) | (task.state == DEEP)
        return np.where(task.turn, output[..., 0] > 0, ~asleep)


def _excess_cost(task: SleepTask, ahead: int, awake: BoolArray, asked: BoolArray) -> FloatArray:
    """Return what the network costs with a cell awake less what it costs with it asleep, others as they are.

    Args:
        task: The episodes.
        ahead: 0 for the present slot, 1 for the next.
        awake: What all cells decided `[E, K]`.
        asked: The n cells in question `[E, K]`.

    Returns:
        Differences `[n]`, in the order of `asked`.
    """
    episode, cell = np.nonzero(asked)
    cost = set_cost(task, ahead, task.state == ACTIVE)
    row = np.arange(len(episode))
    with_cell, without = awake[episode], awake[episode]
    with_cell[row, cell] = True
    without[row, cell] = False
    costs = cost(np.concatenate([episode, episode]), np.concatenate([with_cell, without]))
    return costs[: len(row)] - costs[len(row) :]
