"""What cells have of their neighbours' messages when some are lost: as at a base station, the newest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from networld_runtime.mesh.message import STEPS, STEPS_OF_4_BITS
from networld_training.evaluation.conditions import MAXIMUM_AGE_SLOTS, Conditions
from networld_training.model.mean_field import average, quantise
from networld_training.tasks.base import Task


class Mailbox:
    """The messages of a batch of episodes.

    A message that is lost is replaced by the newest one of the same neighbour, if that is at most
    `MAXIMUM_AGE_SLOTS` old, as `networld_runtime.mesh.neighbours` does.

    Args:
        conditions: How messages are sent, arrive and are weighed.
    """

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._newest: Tensor | None = None
        self._age_slots: Tensor | None = None

    def reset(self) -> None:
        """Forget the messages of the last batch."""
        self._newest = self._age_slots = None

    def receive(self, told: Tensor, task: Task) -> Tensor:
        """Take what the cells told in the slot before `[E, K, M]`; return the mean field `[E, K, M + 1]`."""
        neighbours = torch.from_numpy(task.neighbours)
        conditions = self._conditions
        steps = STEPS_OF_4_BITS if conditions.bits == 4 else STEPS
        received = quantise(told, steps)[:, neighbours]
        heard = conditions.heard(task)
        if heard is None:
            return average(received, torch.ones(received.shape[:3]))
        arrived = torch.from_numpy(heard.astype(np.bool_))
        if self._newest is None or self._age_slots is None:
            self._newest = torch.zeros_like(received)
            self._age_slots = torch.full(arrived.shape, MAXIMUM_AGE_SLOTS)
        self._newest = torch.where(arrived.unsqueeze(-1), received, self._newest)
        self._age_slots = torch.where(arrived, 1, self._age_slots + 1)
        counts = (self._age_slots <= MAXIMUM_AGE_SLOTS).float()
        age_weight = torch.tensor(conditions.age_weight or 1.0)
        return average(self._newest, counts, age_weight ** (self._age_slots - 1))
