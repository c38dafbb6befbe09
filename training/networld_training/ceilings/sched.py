"""The objective of the scheduling ceiling: what each choice of a cell is worth, all else as decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import FloatArray as NormalisedArray
from networld_runtime.contract import normalised
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import MAXIMUM_SPECTRAL_EFFICIENCY, spectral_efficiency
from networld_training.tasks.sched.contract import LISTED, MEGABIT, MUTE, SCHED_SPEC
from networld_training.tasks.sched.heuristics import LOSS_BORNE, Mute
from networld_training.tasks.sched.task import SchedTask

# A target is relative to the backlog of the cell's first user, and not larger than this.
LARGEST_TARGET = 4.0
# In Mbit b/s/Hz; keeps ratios finite.
SMALLEST_WEIGHT = 1e-3


class SchedObjective:
    """Expectations: what each place of the list is worth to the cell, and what sending costs the others.

    As in the task's rules, a cell bears `LOSS_BORNE` times its own worth before it is silent: two cells that
    spare each other at once help nobody.
    """

    input_size = len(SCHED_SPEC.features) + len(SCHED_SPEC.message) + 3
    output_size = LISTED + 1
    initial_bias = (*(0.5 - 0.05 * place for place in range(LISTED)), 0.0)

    def __init__(self) -> None:
        self._rule = Mute("mean-field")

    def observe(self, task: SchedTask) -> NormalisedArray:
        """Return the observations, the mean field, and what `mute-mean` makes of them."""
        own, loss = self._rule.weigh(task)
        bits = task.measured.backlog_bits[..., 0]
        unit = np.maximum(bits / MEGABIT * MAXIMUM_SPECTRAL_EFFICIENCY, SMALLEST_WEIGHT)
        ratio = np.log((loss + SMALLEST_WEIGHT) / (own + SMALLEST_WEIGHT))
        weighed = np.stack([own / unit, loss / unit, ratio / LARGEST_TARGET], axis=-1)
        return np.concatenate(
            [
                normalised(SCHED_SPEC.features, task.observation),
                normalised(SCHED_SPEC.message, task.mean_field),
                np.clip(weighed, -LARGEST_TARGET, LARGEST_TARGET),
            ],
            axis=-1,
            dtype=np.float32,
        )

    def decide(self, task: SchedTask, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return the choice that is expected to be worth most, or silence `[E, K, 1]`."""
        waiting = np.asarray(task.action_mask)[..., :LISTED]
        worth = np.where(waiting, output[..., :LISTED], -np.inf)
        silent = LOSS_BORNE * worth.max(axis=-1) < output[..., LISTED]
        choice = np.where(silent, MUTE, np.argmax(worth, axis=-1))
        return choice[..., None].astype(np.float64)

    def loss(self, task: SchedTask, output: Tensor) -> Tensor:
        """Return the squared error of the expectations."""
        choice = self.decide(task, output.detach().numpy())[..., 0].astype(np.int64)
        worth, harm = _worth_and_harm(task, choice)
        # What a cell divides by must be known to it, or its decision would change.
        bits = task.measured.backlog_bits[..., :1].astype(np.float64)
        largest = MAXIMUM_SPECTRAL_EFFICIENCY * task.network.bandwidth_hz * task.network.slot_s
        scale = np.maximum(bits * np.minimum(bits, largest), 1.0)
        targets = np.concatenate([worth, harm[..., None]], axis=-1) / scale
        target = torch.from_numpy(np.minimum(targets, LARGEST_TARGET)).float()
        waiting = np.asarray(task.action_mask)[..., :LISTED]
        counted = np.concatenate([waiting, waiting[..., :1]], axis=-1)
        weight = torch.from_numpy(counted.astype(np.float32))
        return ((output - target).square() * weight).sum() / weight.sum().clamp(min=1)


def _worth_and_harm(task: SchedTask, choice: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return what each user is worth `[E, K, 8]`, and what the others lose if a cell sends `[E, K]`.

    Both are backlog-weighted rates (MaxWeight) in the interference of what the others decided.
    """
    measured = task.measured
    episodes, cells, _ = measured.user.shape
    own = np.arange(cells)
    flat = measured.user.reshape(episodes, -1, 1)
    gain = np.take_along_axis(task.user_gain, flat, axis=1).reshape(episodes, cells, LISTED, cells)
    sending = choice != MUTE
    backlog = measured.backlog_bits.astype(np.float64)
    slot_bits = task.network.bandwidth_hz * task.network.slot_s

    def weighted_rate(signal: FloatArray, interference: FloatArray, bits: FloatArray) -> FloatArray:
        return bits * np.minimum(spectral_efficiency(signal / interference) * slot_bits, bits)

    signal = np.moveaxis(gain[:, own, :, own], 0, 1)
    received = (gain * sending[:, None, None, :]).sum(axis=-1)
    interference = np.maximum(received - signal * sending[..., None], 0.0) + 1
    worth = weighted_rate(signal, interference, backlog)

    place = np.where(sending, choice, 0)[..., None]
    chosen_gain = np.take_along_axis(gain, place[..., None], axis=2)[:, :, 0]
    chosen_signal, chosen_interference, bits = (
        np.take_along_axis(values, place, axis=-1) for values in (signal, interference, backlog)
    )
    # Rows are users that are served, columns the cell that is silent, or is not.
    silent = np.maximum(chosen_interference - chosen_gain * sending[:, None, :], 1.0)
    harm = weighted_rate(chosen_signal, silent, bits)
    harm -= weighted_rate(chosen_signal, silent + chosen_gain, bits)
    harm *= sending[..., None]
    harm[:, own, own] = 0.0
    return worth, harm.sum(axis=1)
