"""States that last: read from features, changed by orders, as the sleep task has it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from networld_training.model.credit import Situation
from networld_training.model.holding import Held
from networld_training.tasks.sleep import SleepNetwork, SleepTask
from networld_training.tasks.sleep.contract import SLEEP_CONTRACT, SLEEP_LEARNING
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, WAKING

assert SLEEP_LEARNING.holding is not None
HOLDING = SLEEP_LEARNING.holding
PLACE = {feature.name: index for index, feature in enumerate(SLEEP_CONTRACT.features)}
STATES = [PLACE[name] for name in ("active", "light", "deep")]


@pytest.fixture
def held() -> Held:
    return Held(HOLDING, SLEEP_CONTRACT)


def hot(*choices: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(choices), 3).float()


def normalised(task: SleepTask) -> Tensor:
    return torch.from_numpy(SLEEP_CONTRACT.normalise(task.observation))


def random_orders(
    random: np.random.Generator, task: SleepTask
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    action = np.zeros(task.action_shape)
    action[..., 0] = random.integers(3, size=task.shape)
    return action


def slots(seed: int) -> Iterator[tuple[SleepTask, np.random.Generator]]:
    """Yield a task in which cells take orders at random, slot by slot."""
    task, random = SleepTask(SleepNetwork(slots=14), [1, 2, 3]), np.random.default_rng(seed)
    task.reset()
    for _ in range(10):
        yield task, random
        task.step(random_orders(random, task))


def test_state_is_read_from_the_flags(held: Held) -> None:
    observation = torch.full((4, SLEEP_CONTRACT.observation_size), 0.9)
    observation[:, STATES] = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, -1, -1]])
    assert torch.equal(held.state(observation), hot(0, 1, 2, 0))  # the last one shows none


def test_state_is_that_of_the_task(held: Held) -> None:
    seen = set()
    for task, _ in slots(seed=0):
        seen |= set(task.state.flat)
        expected = np.where(task.state == WAKING, ACTIVE, task.state)
        assert np.array_equal(held.state(normalised(task)).argmax(dim=-1).numpy(), expected)
    assert seen == {ACTIVE, LIGHT, DEEP, WAKING}


def test_turn_is_that_of_the_task(held: Held) -> None:
    for task, _ in slots(seed=0):
        turn = held.turn(normalised(task)).numpy()
        assert np.array_equal(turn, np.broadcast_to(task.turn, task.shape))
        assert 0 < turn.mean() < 1


def test_orders_take_effect_but_for_light_sleep_in_deep_sleep(held: Held) -> None:
    for state, order in product(range(3), repeat=2):
        expected = DEEP if (state, order) == (DEEP, LIGHT) else order
        assert torch.equal(held.effective(hot(state), hot(order)), hot(expected)), (state, order)


def test_orders_take_effect_as_in_the_task(held: Held) -> None:
    for task, random in slots(seed=1):
        action = random_orders(random, task)
        orders = torch.nn.functional.one_hot(torch.from_numpy(action[..., 0]).long(), 3).float()
        found = held.effective(held.state(normalised(task)), orders).argmax(dim=-1)
        assert np.array_equal(found.numpy(), task.effective_action(action)[..., 0])


def test_after_orders_were_held_the_flags_are_those_of_the_task(held: Held) -> None:
    """Two slots later: waking takes one."""
    task, random = SleepTask(SleepNetwork(slots=30), [1, 2, 3]), np.random.default_rng(2)
    task.reset()
    for _ in range(14):
        before, action = normalised(task), random_orders(random, task)
        orders = torch.nn.functional.one_hot(torch.from_numpy(action[..., 0]).long(), 3).float()
        orders = held.effective(held.state(before), orders)
        given = Situation(before, torch.zeros(3, 7, 6, 2), torch.from_numpy(task.neighbours))
        foreseen = held.after(given, orders).observation
        task.step(action)
        task.step(action)
        shown = normalised(task)
        assert torch.equal(foreseen[..., STATES], shown[..., STATES])
        assert torch.equal(foreseen[..., PLACE["waking"]], shown[..., PLACE["waking"]])


def test_all_else_stays_as_it_was(held: Held) -> None:
    random = torch.Generator().manual_seed(0)
    observation = torch.randn(2, 3, SLEEP_CONTRACT.observation_size, generator=random)
    given = Situation(observation, torch.rand(2, 3, 2, 2), torch.tensor([[1, 2], [0, 2], [0, 1]]))
    original = observation.clone()
    after = held.after(given, torch.stack([hot(0, 1, 2), hot(2, 2, 0)]))
    assert torch.equal(given.observation, original)
    assert after.coupling is given.coupling
    assert after.neighbours is given.neighbours
    changed = {*STATES, PLACE["waking"], PLACE["slots_in_state"]}
    same = [index for index in range(SLEEP_CONTRACT.observation_size) if index not in changed]
    assert torch.equal(after.observation[..., same], original[..., same])
    assert after.observation[0][:, STATES].tolist() == [[1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    assert (after.observation[..., PLACE["slots_in_state"]] == -1).all()


@pytest.mark.parametrize(("judged", "weight"), [(1, 0.0), (2, 0.5), (4, 0.5 + 0.25 + 0.125)])
def test_following_slots_weigh_less_and_less(judged: int, weight: float) -> None:
    holding = replace(HOLDING, slots=judged, discount=0.5)
    assert Held(holding, SLEEP_CONTRACT).weight == pytest.approx(weight)
