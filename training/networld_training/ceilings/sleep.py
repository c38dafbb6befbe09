"""The objective of the sleep ceiling: what each cell's being awake costs the network, all else as decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_training.radio.arrays import BoolArray, FloatArray
from networld_training.tasks.sleep.genie import PATIENCE_SLOTS, set_cost
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT
from networld_training.tasks.sleep.task import SleepTask

# A difference of costs in reference power at which it counts half; unserved traffic makes huge ones.
COST_SCALE = 5.0


class SleepObjective:
    """One logit: whether the cell should serve users. Offsets stay 0.

    A third of the cells may change their minds in a slot, in turn, because all of them hear about the
    same; a cell goes from light to deep sleep after some time, as in the task's rules.
    """

    output_size = 1
    initial_bias = (2.0,)

    def decide(self, task: SleepTask, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return orders and offsets `[E, K, 2]`."""
        awake = self._awake(task, output)
        rested = (task.state == LIGHT) & (task.memory.slots_in_state >= PATIENCE_SLOTS)
        down = np.where(rested | (task.state == DEEP), DEEP, LIGHT)
        return np.stack([np.where(awake, ACTIVE, down), np.zeros(task.shape)], axis=-1)

    def loss(self, task: SleepTask, output: Tensor) -> Tensor:
        """Return the probability of being awake times what that costs beyond sleeping.

        What a cell in deep sleep decides shows in the next slot; until then it cannot serve.
        """
        deep = task.state == DEEP
        decided = self._awake(task, output.detach().numpy())
        now = _excess_cost(task, 0, decided & ~deep)
        following = _excess_cost(task, 1, decided)
        excess = np.where(deep, following, now)
        excess = excess / (np.abs(excess) + COST_SCALE)
        probability = torch.sigmoid(output[..., 0])
        return (probability * torch.from_numpy(excess).float()).mean()

    def _awake(self, task: SleepTask, output: np.ndarray[Any, Any]) -> BoolArray:
        asleep = (task.state == LIGHT) | (task.state == DEEP)
        turn = task.layout.reuse_colour == task.slot % 3
        return np.where(turn, output[..., 0] > 0, ~asleep)


def _excess_cost(task: SleepTask, ahead: int, awake: BoolArray) -> FloatArray:
    """Return the cost of the network with a cell awake minus that with it asleep, others as they are."""
    episodes, cells = awake.shape
    cost = set_cost(task, ahead, task.state == ACTIVE)
    flips = np.eye(cells, dtype=np.bool_)
    sets = np.concatenate([awake[:, None], awake[:, None] ^ flips], axis=1)
    costs = cost(np.repeat(np.arange(episodes), cells + 1), sets.reshape(-1, cells))
    costs = costs.reshape(episodes, cells + 1)
    change = costs[:, 1:] - costs[:, :1]
    return np.where(awake, -change, change)
