"""What a world model is told of each task fits the task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from networld_runtime.contract import ActionBins, Choice
from networld_training.data.behaviours import random_values
from networld_training.tasks.learning import bin_activity, choice_activity
from networld_training.tasks.registry import CONTRACTS, LEARNING, TASKS

HOLDING = [name for name, learning in LEARNING.items() if learning.holding is not None]


def test_activity_of_a_power_is_linear_and_off_has_none() -> None:
    with_off = ActionBins("power_db", -20.0, 0.0, 3, off=-30.0)
    assert bin_activity(with_off) == pytest.approx((0.0, 0.01, 0.1, 1.0))
    assert bin_activity(replace(with_off, off=None)) == pytest.approx((0.01, 0.1, 1.0))


def test_activity_of_choices_of_one_component() -> None:
    actions = (
        ActionBins("offset_db", -1.0, 1.0, 2),
        Choice("mode", ("active", "light", "deep")),
        Choice("user", ("first", "none")),
    )
    assert choice_activity(actions, 1, (0, 2)) == (0, 0, 1, 0, 1, 0, 0)
    assert choice_activity(actions, 0, (1,)) == (0, 1, 0, 0, 0, 0, 0)
    assert choice_activity(actions, 2, ()) == (0,) * 7


def test_every_task_that_is_learned_says_how() -> None:
    assert LEARNING.keys() == CONTRACTS.keys()


@pytest.mark.parametrize("name", LEARNING)
def test_every_entry_of_an_action_has_an_activity(name: str) -> None:
    activity = LEARNING[name].activity
    assert len(activity) == CONTRACTS[name].action_size
    assert min(activity) == 0
    assert max(activity) == pytest.approx(1)


@pytest.mark.parametrize("name", LEARNING)
def test_every_coupling_has_a_floor_below_what_is_logged(name: str) -> None:
    entry, floors = TASKS[name], np.array(LEARNING[name].floors)
    task = entry.make(replace(entry.scenarios["train"].networks[0], slots=2), range(10))
    task.reset()
    total = task.coupling.sum(axis=2)
    assert floors.shape == total.shape[2:]
    assert (floors > 0).all()
    assert (floors < np.median(total, axis=(0, 1))).all()


@pytest.mark.parametrize("name", LEARNING)
def test_features_of_behaviour_show_what_was_done(name: str) -> None:
    """After a few slots in the same episodes they are others if the cells did something else."""
    entry, behaviour = TASKS[name], LEARNING[name].behaviour
    names = [feature.name for feature in CONTRACTS[name].features]
    assert len(set(behaviour)) == len(behaviour) > 0
    shown = []
    for seed in (1, 2):
        task = entry.make(replace(entry.scenarios["train"].networks[0], slots=4), range(3))
        task.reset()
        random = np.random.default_rng(seed)
        for _ in range(4):
            action = [
                random_values(component, task.shape, random, task.action_mask)
                for component in task.spec.actions
            ]
            observation = task.step(np.stack(action, axis=-1)).observation
        shown.append(observation)
    differs = (shown[0] != shown[1]).any(axis=(0, 1))
    assert [feature for feature in behaviour if not differs[names.index(feature)]] == []
    # Not all that differs is behaviour, and the policy sees something.
    assert len(behaviour) < len(names) / 2


@pytest.mark.parametrize("name", HOLDING)
def test_states_that_last_are_those_that_the_contract_shows(name: str) -> None:
    contract, learning = CONTRACTS[name], LEARNING[name]
    holding, order = learning.holding, contract.actions[0]
    assert holding is not None
    assert isinstance(order, Choice)
    assert holding.states == order.labels
    flags = {feature.name for feature in contract.features if feature.unit == "flag"}
    assert {*holding.states, holding.turn} <= flags
    since = next(feature for feature in contract.features if feature.name == holding.since)
    assert since.unit == "slots"
    assert since.low < holding.patience_slots <= since.high
    # The policy must see whose turn it is, and the states that it is to hold.
    seen = {*holding.states, holding.turn, holding.since}
    assert not seen & set(learning.behaviour)
