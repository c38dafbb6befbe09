"""States that last: read from features, changed by orders, as the sleep task has it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from networld_training.model.credit import Situation
from networld_training.model.holding import Held
from networld_training.tasks.sleep import SleepNetwork, SleepTask
from networld_training.tasks.sleep.contract import SLEEP_CONTRACT, SLEEP_LEARNING
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, PATIENCE_SLOTS, WAKING

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


def test_rest_is_light_at_first_and_deep_in_the_end(held: Held) -> None:
    """By the genie's rule, which knows the states; a cell that serves would begin with light rest."""
    seen = set()
    for task, _ in slots(seed=1):
        rested = (task.state == LIGHT) & (task.memory.slots_in_state >= PATIENCE_SLOTS)
        expected = np.where(rested | (task.state == DEEP), DEEP, LIGHT)
        assert np.array_equal(held.rest(normalised(task)).argmax(dim=-1).numpy(), expected)
        seen |= {*zip(task.state.flat, expected.flat, strict=True)}
    assert {(ACTIVE, LIGHT), (LIGHT, LIGHT), (LIGHT, DEEP), (DEEP, DEEP)} <= seen


def test_who_goes_on_serves_on_or_rests_on(held: Held) -> None:
    for task, _ in slots(seed=2):
        observation = normalised(task)
        serves = (task.state == ACTIVE) | (task.state == WAKING)
        rest = held.rest(observation).argmax(dim=-1).numpy()
        kept = held.kept(observation)
        assert np.array_equal(kept.argmax(dim=-1).numpy(), np.where(serves, ACTIVE, rest))
        assert (kept.sum(dim=-1) == 1).all()


def test_every_rest_is_judged_as_a_light_one(held: Held) -> None:
    random = torch.Generator().manual_seed(0)
    observation = torch.randn(1, 4, SLEEP_CONTRACT.observation_size, generator=random)
    observation[0, :, STATES] = torch.tensor(
        [[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [-1, -1, -1]]
    )
    coupling = torch.rand(1, 4, 2, 2)
    given = Situation(observation, coupling, torch.tensor([[1, 2], [0, 2], [0, 1], [0, 1]]))
    original = observation.clone()
    judged, order = held.judged(given, hot(2, 1, 0, 2)[None])
    assert order[0].argmax(dim=-1).tolist() == [LIGHT, LIGHT, ACTIVE, LIGHT]
    flags = judged.observation[0, :, STATES]
    assert flags.tolist() == [[1, -1, -1], [-1, 1, -1], [-1, 1, -1], [-1, -1, -1]]
    same = [index for index in range(observation.shape[-1]) if index not in STATES]
    assert torch.equal(judged.observation[..., same], original[..., same])
    assert judged.coupling is coupling
    assert torch.equal(given.observation, original)
