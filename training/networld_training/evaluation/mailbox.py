"""What cells have of their neighbours' messages when some are lost: as at a base station, the newest."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from networld_runtime.config import TimingConfig
from networld_training.evaluation.conditions import Conditions
from networld_training.model.mean_field import average, mean_field, quantise
from networld_training.tasks.base import Task

MAXIMUM_AGE_SLOTS = TimingConfig().maximum_message_age_slots


class Mailbox:
    """The messages of a batch of episodes.

    A message that is lost is replaced by the newest one of the same neighbour, if that is at most
    `MAXIMUM_AGE_SLOTS` old, as `networld_runtime.mesh.neighbours` does.

    Args:
        conditions: How messages arrive.
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
        heard = self._conditions.heard(task)
        if heard is None:
            return mean_field(told, neighbours)
        arrived = torch.from_numpy(heard.astype(np.bool_))
        received = quantise(told)[:, neighbours]
        if self._newest is None or self._age_slots is None:
            self._newest = torch.zeros_like(received)
            self._age_slots = torch.full(arrived.shape, MAXIMUM_AGE_SLOTS)
        self._newest = torch.where(arrived.unsqueeze(-1), received, self._newest)
        self._age_slots = torch.where(arrived, 1, self._age_slots + 1)
        return average(self._newest, (self._age_slots <= MAXIMUM_AGE_SLOTS).float())
