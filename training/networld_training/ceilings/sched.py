"""The objective of the scheduling ceiling: the backlog-weighted rates of the slot, with every gain known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import EFFICIENCY, MAXIMUM_SPECTRAL_EFFICIENCY
from networld_training.tasks.sched.contract import LISTED, MUTE
from networld_training.tasks.sched.task import SchedTask

FORBIDDEN = -1e9


class SchedObjective:
    """One logit for each place of the list, and one for silence."""

    output_size = LISTED + 1
    initial_bias = (2.0, 1.0, *(0.0 for _ in range(LISTED - 2)), -1.0)

    def decide(self, task: SchedTask, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return the choice with the largest logit that the mask allows `[E, K, 1]`."""
        allowed = np.where(np.asarray(task.action_mask), output, FORBIDDEN)
        return np.asarray(np.argmax(allowed, axis=-1)[..., None], dtype=np.float64)

    def loss(self, task: SchedTask, output: Tensor) -> Tensor:
        """Return minus the rates of all cells weighted by their users' backlog (MaxWeight).

        The choices are softened: a cell counts as interference with the probability that it sends.
        """
        measured = task.measured
        mask = torch.from_numpy(np.asarray(task.action_mask))
        probability = torch.softmax(output.masked_fill(~mask, FORBIDDEN), dim=-1)
        sending = 1 - probability[..., MUTE]
        episodes, cells, _ = measured.user.shape
        flat = measured.user.reshape(episodes, -1, 1)
        listed = np.take_along_axis(task.user_gain, flat, axis=1)
        gain = torch.from_numpy(listed.reshape(episodes, cells, LISTED, cells)).float()
        signal = torch.diagonal(gain, dim1=1, dim2=3).transpose(1, 2)
        received = (gain * sending[:, None, None, :]).sum(dim=-1)
        interference = received - signal * sending[..., None] + 1
        efficiency = EFFICIENCY * torch.log2(1 + signal / interference)
        efficiency = efficiency.clamp(max=MAXIMUM_SPECTRAL_EFFICIENCY)
        backlog = torch.from_numpy(measured.backlog_bits * measured.present).float()
        slot_bits = efficiency * task.network.bandwidth_hz * task.network.slot_s
        served = torch.minimum(slot_bits, backlog)
        value = (probability[..., :LISTED] * backlog * served).sum(dim=(1, 2))
        # Episodes with long queues must not drown the others.
        scale = (backlog.square().sum(dim=(1, 2)) + 1).sqrt() * slot_bits.detach().mean() + 1
        return -(value / scale).mean()
