"""Credits: what a cell earned by what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from networld_training.tasks.base import Task
from networld_training.tasks.registry import TASKS
from networld_training.tasks.sched import MUTE, SchedNetwork, SchedTask
from networld_training.tasks.sched.heuristics import RandomValid


@pytest.mark.parametrize("name", [name for name in TASKS if name != "sched"])
def test_it_is_the_utility_unless_the_task_says_otherwise(name: str) -> None:
    entry = TASKS[name]
    task = entry.make(replace(entry.scenarios["train"].networks[0], slots=3), [1, 2])
    task.reset()
    outcome = task.step(entry.heuristics["random"]().act(task))
    np.testing.assert_array_equal(outcome.credit, outcome.utility)
    assert outcome.credit.dtype == np.float32


def test_a_task_gives_one_beside_its_details(toy_task: type[Task], toy_network: Any) -> None:
    base: Any = toy_task

    def advance(self: Any, action: Any) -> Any:
        utility, details = base._advance(self, action)
        return utility, details | {"credit": 2 * utility + 1}

    earning: Callable[..., Any] = type("Earning", (toy_task,), {"_advance": advance})
    task, plain = earning(toy_network, [0, 1]), base(toy_network, [0, 1])
    task.reset()
    plain.reset()
    action = np.ones(task.action_shape)
    action[..., 0] = task.action_mask[..., 1]
    action[..., 1] = -5.0
    outcome, expected = task.step(action), plain.step(action)
    assert outcome.credit.dtype == np.float32
    assert outcome.credit == pytest.approx(2 * expected.utility + 1, rel=1e-5)
    # Nothing else depends on it.
    np.testing.assert_array_equal(outcome.utility, expected.utility)
    np.testing.assert_array_equal(outcome.reward, expected.reward)
    assert outcome.details.keys() == expected.details.keys() == {"sent"}


def test_sched_credit_from_the_queues() -> None:
    network = SchedNetwork(slots=12, offered_mbit_s=40.0, large_scale_slots=2, speed_m_s=30.0)
    task = SchedTask(network, (1, 2, 3))
    task.reset()
    silent = earned = 0
    for _ in range(12):
        queued, sent = task.queues.bits.copy(), task.queues.served_bits.copy()
        users, action = task.measured.user.copy(), RandomValid().act(task).reshape(task.shape)
        credit = task.step(action).credit
        sent = task.queues.served_bits - sent
        for episode in range(3):
            for cell in range(7):
                if action[episode, cell] == MUTE:
                    assert credit[episode, cell] == 0
                    silent += 1
                    continue
                user = users[episode, cell, int(action[episode, cell])]
                backlog_mbit = queued[episode, user] / 1e6
                expected = np.sqrt(backlog_mbit) * sent[episode, user] / 1e6
                assert credit[episode, cell] == pytest.approx(expected, rel=1e-5)
                earned += expected > 0
    assert silent > 10
    assert earned > 100


def test_sched_credit_does_not_depend_on_what_arrives() -> None:
    quiet, busy = (SchedTask(SchedNetwork(slots=4), (5, 6)) for _ in range(2))
    quiet.reset()
    busy.reset()
    busy._arrivals[1:] += 3
    action = RandomValid().act(quiet)
    one, two = quiet.step(action), busy.step(action)
    assert (one.utility != two.utility).any() or (one.observation != two.observation).any()
    np.testing.assert_array_equal(one.credit, two.credit)
