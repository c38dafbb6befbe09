"""The objective of the scheduling ceiling: what each choice of a cell is worth, all else as decided."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import MAXIMUM_SPECTRAL_EFFICIENCY, spectral_efficiency
from networld_training.tasks.sched.contract import LISTED, MUTE
from networld_training.tasks.sched.task import SchedTask

# Bounds of a target: what a choice is worth, relative to the backlog of the cell's first user.
TARGETS = (-4.0, 2.0)


class SchedObjective:
    """What each place of the list is expected to be worth; silence is worth 0."""

    output_size = LISTED
    initial_bias = tuple(0.5 - 0.1 * place for place in range(LISTED))

    def decide(self, task: SchedTask, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return the choice that is expected to be worth most of those that the mask allows `[E, K, 1]`."""
        waiting = np.asarray(task.action_mask)[..., :LISTED]
        worth = np.where(waiting, output, -np.inf)
        best = np.argmax(worth, axis=-1)
        silent = worth.max(axis=-1) <= 0
        return np.where(silent, MUTE, best)[..., None].astype(np.float64)

    def loss(self, task: SchedTask, output: Tensor) -> Tensor:
        """Return the squared error of the expectations."""
        choice = self.decide(task, output.detach().numpy())[..., 0].astype(np.int64)
        # What a cell divides by must be known to it, or the sign of its expectation may change.
        bits = task.measured.backlog_bits[..., :1].astype(np.float64)
        largest = MAXIMUM_SPECTRAL_EFFICIENCY * task.network.bandwidth_hz * task.network.slot_s
        scale = np.maximum(bits * np.minimum(bits, largest), 1.0)
        target = torch.from_numpy(np.clip(_worth(task, choice) / scale, *TARGETS)).float()
        waiting = torch.from_numpy(np.asarray(task.action_mask)[..., :LISTED]).float()
        return ((output - target).square() * waiting).sum() / waiting.sum().clamp(min=1)


def _worth(task: SchedTask, choice: IntArray) -> FloatArray:
    """Return what each choice adds to the network's backlog-weighted rates (MaxWeight) `[E, K, 8]`.

    The others do what they decided. Silence is worth 0; a user is worth its own backlog times what it
    would be served, less what the neighbours' users lose by the interference.
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
    return np.asarray(worth - harm.sum(axis=1)[..., None])
