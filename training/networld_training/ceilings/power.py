"""The objective of the power ceiling: the utilities of the slot, with every gain known."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import FloatArray as NormalisedArray
from networld_runtime.contract import normalised
from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import EFFICIENCY, MAXIMUM_SPECTRAL_EFFICIENCY
from networld_training.tasks.power.contract import LOWEST_POWER_DB, OFF_DB, POWER_SPEC
from networld_training.tasks.power.task import PowerTask


class PowerObjective:
    """One output: the power, as a share of the range from off to full in dB."""

    input_size = len(POWER_SPEC.features)
    output_size = 1
    initial_bias = (1.0,)

    def observe(self, task: PowerTask) -> NormalisedArray:
        """Return the observations."""
        return normalised(POWER_SPEC.features, task.observation)

    def decide(self, task: PowerTask, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return powers in dB of full power `[E, K, 1]`."""
        del task
        power_db = OFF_DB / (1 + np.exp(output.astype(np.float64)))
        return np.where(power_db < LOWEST_POWER_DB, OFF_DB, power_db)

    def loss(self, task: PowerTask, output: Tensor) -> Tensor:
        """Return minus the mean utility of the cells with users.

        Rates below the smallest SINR keep their gradient: they count as the formula says.
        """
        measured = task.measured
        active = torch.from_numpy(measured.active)
        gain = torch.from_numpy(measured.gain).float()
        weight = torch.from_numpy(measured.weight).float()
        power = torch.pow(10.0, OFF_DB / 10 * torch.sigmoid(-output[..., 0])) * active
        received = gain * power[:, None, :]
        signal = torch.diagonal(received, dim1=1, dim2=2)
        ratio = signal / (received.sum(dim=-1) - signal + 1)
        efficiency = EFFICIENCY * torch.log2(1 + ratio)
        efficiency = efficiency.clamp(max=MAXIMUM_SPECTRAL_EFFICIENCY)
        share = task.network.averaging
        utility = torch.log(1 - share + share * efficiency * weight) / share
        return -(utility * active).sum() / active.sum()
