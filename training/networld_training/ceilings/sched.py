"""The objective of the scheduling ceiling: the weighted rate that all cells expect together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import FloatArray as NormalisedArray
from networld_runtime.contract import normalised
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import MAXIMUM_SPECTRAL_EFFICIENCY, spectral_efficiency
from networld_training.tasks.sched.contract import LISTED, MUTE, SCHED_SPEC
from networld_training.tasks.sched.heuristics import LOSS_BORNE, Mute
from networld_training.tasks.sched.task import SchedTask

# Weights of rates are this power of the backlog, as those of the rule `mute-root`.
EXPONENT = 0.5
# How sharply an untrained model prefers what the rule prefers.
SHARPNESS = 2.0
# In Mbit^EXPONENT b/s/Hz; keeps ratios finite.
SMALLEST_WEIGHT = 1e-3
# Largest gain of a choice, relative to what a cell of the network can gain on average.
LARGEST_GAIN = 8.0
# What keeps chances open that have gained little so far.
ENTROPY_WEIGHT = 0.0025


class SchedObjective:
    """Chances of each place of the list, and of silence, as logits that are added to those of `mute-root`.

    An untrained model is about that rule. Training climbs the sum of weighted rates from there, and not from
    just anywhere: that all cells send is a local optimum, and so is that cells spare each other.
    """

    input_size = len(SCHED_SPEC.features) + len(SCHED_SPEC.message) + 3
    output_size = LISTED + 1
    initial_bias = (0.0,) * output_size

    def __init__(self) -> None:
        self._rule = Mute("mean-field", EXPONENT)

    def observe(self, task: SchedTask) -> NormalisedArray:
        """Return the observations, the mean field, and what the rule makes of them."""
        logits = self._rule_logits(task)
        first, silent = logits[..., 0], logits[..., MUTE]
        weighed = np.stack([first, silent, first - silent], axis=-1) / 8
        return np.concatenate(
            [
                normalised(SCHED_SPEC.features, task.observation),
                normalised(SCHED_SPEC.message, task.mean_field),
                np.clip(weighed, -1.5, 1.5),
            ],
            axis=-1,
            dtype=np.float32,
        )

    def decide(self, task: SchedTask, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return the likeliest of the choices that the mask allows `[E, K, 1]`."""
        allowed = np.asarray(task.action_mask)
        logits = np.where(allowed, self._rule_logits(task) + output, -np.inf)
        return np.asarray(np.argmax(logits, axis=-1)[..., None], dtype=np.float64)

    def loss(self, task: SchedTask, output: Tensor) -> Tensor:
        """Return minus what the cells expect to gain over silence, the others' choices drawn.

        Its gradient is that of the expected sum of weighted rates over all cells.
        """
        allowed = torch.from_numpy(np.asarray(task.action_mask))
        logits = torch.from_numpy(self._rule_logits(task)) + output
        logarithm = torch.log_softmax(logits.masked_fill(~allowed, -1e9), dim=-1)
        chance = logarithm.exp()
        drawn = torch.multinomial(chance.detach().flatten(0, 1), 1).reshape(task.shape)
        expected = (chance[..., :LISTED] * torch.from_numpy(_gain(task, drawn.numpy()))).sum(dim=-1)
        entropy = -(chance * logarithm).sum(dim=-1)
        waiting = allowed[..., 0].float()
        gained = (expected + ENTROPY_WEIGHT * entropy) * waiting
        return -gained.sum() / waiting.sum().clamp(min=1)

    def _rule_logits(self, task: SchedTask) -> NormalisedArray:
        worth, loss = self._rule.weigh(task)
        weighed = np.concatenate([LOSS_BORNE * worth, loss[..., None]], axis=-1)
        return np.asarray(SHARPNESS * np.log(weighed + SMALLEST_WEIGHT), dtype=np.float32)


def _gain(task: SchedTask, choice: IntArray) -> NormalisedArray:
    """Return what serving each user gains all cells over silence, the others as chosen `[E, K, 8]`."""
    worth, harm = _worth_and_harm(task, choice)
    bits = task.measured.backlog_bits.astype(np.float64)
    largest = MAXIMUM_SPECTRAL_EFFICIENCY * task.network.bandwidth_hz * task.network.slot_s
    possible = (bits**EXPONENT * np.minimum(bits, largest)).max(axis=-1).mean(axis=-1)
    gain = (worth - harm[..., None]) / np.maximum(possible, 1.0)[:, None, None]
    return np.asarray(np.clip(gain, -LARGEST_GAIN, LARGEST_GAIN), dtype=np.float32)


def _worth_and_harm(task: SchedTask, choice: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return what each user is worth `[E, K, 8]`, and what the others lose if a cell sends `[E, K]`.

    Both are weighted rates in the interference of what the others decided.
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
        rate_bits = spectral_efficiency(signal / interference) * slot_bits
        return np.asarray(bits**EXPONENT * np.minimum(rate_bits, bits))

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
