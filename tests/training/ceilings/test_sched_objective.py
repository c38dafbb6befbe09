"""The scheduling ceiling: what it climbs is the sum of weighted rates, and it starts near a rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from networld_training.ceilings.sched import SchedObjective, _worth_and_harm
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import MAXIMUM_SPECTRAL_EFFICIENCY, spectral_efficiency
from networld_training.tasks.sched.contract import LISTED, MUTE
from networld_training.tasks.sched.heuristics import SCHED_HEURISTICS
from networld_training.tasks.sched.network import SchedNetwork
from networld_training.tasks.sched.task import SchedTask


def weighted_rates(task: SchedTask, choice: IntArray) -> FloatArray:
    """Return the sum of the weighted rates of all cells `[E]`, one link after the other."""
    total = np.zeros(task.shape[0])
    slot_bits = task.network.bandwidth_hz * task.network.slot_s
    for episode, cell in np.ndindex(*task.shape):
        place = choice[episode, cell]
        if place == MUTE:
            continue
        user = task.measured.user[episode, cell, place]
        bits = float(task.measured.backlog_bits[episode, cell, place])
        gain = task.user_gain[episode, user]
        others = [j for j in range(task.shape[1]) if j != cell and choice[episode, j] != MUTE]
        rate = float(spectral_efficiency(gain[cell] / (gain[others].sum() + 1)))
        total[episode] += math.sqrt(bits) * min(rate * slot_bits, bits)
    return total


def test_worth_less_harm_is_the_difference_to_silence() -> None:
    task = SchedTask(SchedNetwork(), range(4))
    task.reset()
    random = np.random.default_rng(0)
    mask = np.asarray(task.action_mask)
    choice = np.where(mask[..., 0] & (random.random(task.shape) < 0.7), 0, MUTE)
    worth, harm = _worth_and_harm(task, choice)
    for cell in range(7):
        on, off = choice.copy(), choice.copy()
        on[:, cell] = np.where(mask[:, cell, 0], 0, MUTE)
        off[:, cell] = MUTE
        waiting = mask[:, cell, 0]
        difference = weighted_rates(task, on) - weighted_rates(task, off)
        found = worth[:, cell, 0] - harm[:, cell]
        assert found[waiting] == pytest.approx(difference[waiting], rel=1e-6)


def test_an_untrained_ceiling_is_about_the_rule_and_silence_can_outweigh_it() -> None:
    task = SchedTask(SchedNetwork(waiting_files=5.0), range(8))
    task.reset()
    task.step(np.zeros((*task.shape, 1)) + np.where(task.measured.waiting, 0, MUTE)[..., None])
    objective = SchedObjective()
    output = np.zeros((*task.shape, objective.output_size), dtype=np.float32)
    rule = SCHED_HEURISTICS["mute-root"]().act(task)
    found = objective.decide(task, output)[..., 0]
    assert ((found == MUTE) == (rule == MUTE)).mean() > 0.9
    assert (found == rule).mean() > 0.8
    output[..., -1] = 100.0
    assert (objective.decide(task, output) == MUTE).all()


def test_the_gradient_is_that_of_the_expected_sum_of_weighted_rates() -> None:
    """All other cells are certain; the first cell serves its first user or is silent, both as likely."""
    task = SchedTask(SchedNetwork(waiting_files=5.0), range(6))
    task.reset()
    objective = SchedObjective()
    logits = np.full((*task.shape, LISTED + 1), -60.0)
    logits[..., 0] = 60.0
    logits[:, 0, [0, MUTE]] = 0.0
    output = torch.from_numpy(logits - objective._rule_logits(task)).float().requires_grad_(True)
    objective.loss(task, output).backward()  # type: ignore[no-untyped-call]
    waiting = task.measured.waiting
    choice = np.where(waiting, 0, MUTE)
    quiet = choice.copy()
    quiet[:, 0] = MUTE
    gained = weighted_rates(task, choice) - weighted_rates(task, quiet)
    bits = task.measured.backlog_bits
    slot_bits = task.network.bandwidth_hz * task.network.slot_s
    most = np.sqrt(bits) * np.minimum(bits, MAXIMUM_SPECTRAL_EFFICIENCY * slot_bits)
    expected = 0.25 * gained / most.max(axis=-1).mean(axis=-1) / waiting.sum()
    assert output.grad is not None
    slope = -output.grad[:, 0, 0].numpy()
    assert slope[waiting[:, 0]] == pytest.approx(expected[waiting[:, 0]], rel=1e-3, abs=1e-7)
