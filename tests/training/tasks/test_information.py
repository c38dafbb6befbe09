"""A rule acts on what its label allows: changing what a cell cannot know does not change what it does."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from networld_training.tasks.base import Rule, Task
from networld_training.tasks.registry import TASKS, find_scenario

SCENARIOS = {"power": "power/umi200", "sched": "sched/umi200-heavy", "sleep": "sleep/uma500-high"}
RULES = [
    (task, name)
    for task in SCENARIOS
    for name, make in TASKS[task].heuristics.items()
    if make().information != "genie"
]
SLOTS = 8
CELL = 0


def act(rule: Rule[Any], task: Task) -> np.ndarray[Any, Any]:
    """Return what the cell would do now in both episodes; neither rule nor random streams move on."""
    action = np.asarray(copy.deepcopy(rule).act(copy.deepcopy(task)))
    return action.reshape(task.action_shape)[:, CELL]


def without_what_it_cannot_know(task: Any, information: str, random: np.random.Generator) -> Any:
    """Return a copy in which other cells' measurements and all that was not told are mixed up."""
    other = copy.deepcopy(task)
    cells = np.delete(np.arange(task.shape[1]), CELL)
    known = [other.measured, *([other.memory] if hasattr(other, "memory") else [])]
    measured = [getattr(one, field.name) for one in known for field in fields(one)]
    own = [getattr(other, name) for name in ("state", "offset_db", "last") if hasattr(other, name)]
    for values in measured + own:
        values[:, cells] = values[:, random.permutation(cells)]
    for name in ("user_gain", "_user_gain"):
        if name in vars(other):
            setattr(other, name, np.ones_like(getattr(other, name)))
    if hasattr(other, "demand"):
        other.demand = replace(other.demand, files=np.zeros_like(other.demand.files))
    told, neighbours = other.received, other.neighbours[CELL]
    told[:, np.setdiff1d(cells, neighbours)] = np.nan
    told[:, CELL] = np.nan
    if information == "mean-field":
        told[:, neighbours] = told[:, random.permutation(neighbours)]
    elif information != "one-hop":
        told[:] = random.normal(size=told.shape)
    return other


@pytest.mark.parametrize(("name", "rule"), RULES)
def test_a_rule_acts_on_what_its_label_allows(name: str, rule: str) -> None:
    entry, random = TASKS[name], np.random.default_rng(1)
    network = replace(find_scenario(SCENARIOS[name]).networks[0], cells=19, slots=SLOTS)
    task, policy = entry.make(network, [5, 6]), entry.heuristics[rule]()
    task.reset()
    policy.reset()
    for _ in range(SLOTS):
        blind = without_what_it_cannot_know(task, policy.information, random)
        assert np.allclose(act(policy, blind), act(policy, task))
        task.step(policy.act(task))
