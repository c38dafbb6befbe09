"""The sleep ceiling: what it climbs is the cost of the network, and what its decisions mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from networld_training.ceilings.sleep import COST_UNIT, SleepObjective, _excess_cost
from networld_training.tasks.sleep.genie import set_cost
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT
from networld_training.tasks.sleep.network import SleepNetwork
from networld_training.tasks.sleep.task import SleepTask


def test_the_excess_cost_is_that_of_the_two_sets() -> None:
    task = SleepTask(SleepNetwork(), range(3))
    task.reset()
    awake = np.random.default_rng(1).random(task.shape) < 0.6
    asked = np.zeros(task.shape, dtype=np.bool_)
    asked[1, 2] = asked[2, 5] = True
    found = _excess_cost(task, 0, awake, asked)
    cost = set_cost(task, 0, task.state == ACTIVE)
    for value, (episode, cell) in zip(found, ((1, 2), (2, 5)), strict=True):
        sets = np.stack([awake[episode], awake[episode]])
        sets[:, cell] = [True, False]
        with_cell, without = cost(np.array([episode, episode]), sets)
        assert value == pytest.approx(with_cell - without)


def test_the_gradient_is_that_of_the_expected_cost() -> None:
    """All cells are awake for certain but one, which is undecided."""
    task = SleepTask(SleepNetwork(), range(5))
    task.reset()
    turn = np.flatnonzero(task.layout.reuse_colour == 0)
    output = torch.full((*task.shape, 1), 60.0)
    output[:, turn[0]] = 0.0
    output.requires_grad_(True)
    SleepObjective().loss(task, output).backward()  # type: ignore[no-untyped-call]
    cost = set_cost(task, 0, task.state == ACTIVE)
    episodes = np.arange(5)
    everyone = np.ones(task.shape, dtype=np.bool_)
    without = everyone.copy()
    without[:, turn[0]] = False
    excess = cost(episodes, everyone) - cost(episodes, without)
    assert (excess != 0).all()
    assert output.grad is not None
    expected = 0.25 * excess / (5 * len(turn)) / COST_UNIT
    assert output.grad[:, turn[0], 0].numpy() == pytest.approx(expected, rel=1e-4)


def test_cells_change_in_turn_and_sleep_deeply_after_some_time() -> None:
    task = SleepTask(SleepNetwork(), [1, 2])
    task.reset()
    objective, colour = SleepObjective(), task.layout.reuse_colour
    first = np.broadcast_to(colour == 0, task.shape)
    down, up = (np.full((*task.shape, 1), sign, dtype=np.float32) for sign in (-1.0, 1.0))
    for output, expected in ((down, LIGHT), (up, LIGHT), (up, DEEP), (up, ACTIVE)):
        action = objective.decide(task, output)
        assert (action[..., 1] == 0).all()
        assert (action[..., 0] == np.where(first, expected, ACTIVE)).all()
        task.step(action)
