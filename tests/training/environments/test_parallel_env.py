"""The PettingZoo environment: the interface's own test, and whole episodes decided by the seed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]

from networld_runtime.contract import FloatArray
from networld_training.environments.parallel_env import PowerParallelEnv
from networld_training.tasks.power import PowerNetwork, PowerTask

SHORT = PowerNetwork(warm_up_slots=5, slots=12)


def episode(env: PowerParallelEnv, seed: int | None) -> list[Any]:
    """Play one episode with actions that depend on the slot and the agent, and return all of it."""
    seen: list[Any] = [env.reset(seed=seed)[0]]
    generator = np.random.default_rng(1)
    while env.agents:
        actions = {agent: generator.uniform(-40, 0, 1) for agent in env.agents}
        seen.append(env.step(actions))
    return seen


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return bool(np.array_equal(left, right))


def test_parallel_api() -> None:
    parallel_api_test(PowerParallelEnv(SHORT), num_cycles=40)


def test_spaces_are_the_same_objects_and_hold_what_comes() -> None:
    env = PowerParallelEnv(SHORT)
    observations, _ = env.reset(seed=0, options={"anything": 1})
    for agent in env.possible_agents:
        assert env.observation_space(agent) is env.observation_space(agent)
        assert env.action_space(agent) is env.action_space(agent)
        assert env.observation_space(agent).contains(observations[agent])


def test_the_seed_decides_the_whole_episode() -> None:
    first, again = episode(PowerParallelEnv(SHORT), 4), episode(PowerParallelEnv(SHORT), 4)
    assert len(first) == 13
    assert equal(first, again)
    assert not equal(first, episode(PowerParallelEnv(SHORT), 5))


def test_reset_twice_starts_the_same_episode() -> None:
    env = PowerParallelEnv(SHORT)
    assert equal(episode(env, 4), episode(env, 4))


def test_without_a_seed_the_next_episode_follows() -> None:
    env = PowerParallelEnv(SHORT, seed=3)
    third, fourth = episode(env, None), episode(env, None)
    assert equal(third, episode(env, 3))
    assert equal(fourth, episode(env, None))
    assert equal(fourth, episode(PowerParallelEnv(SHORT), 4))


def test_two_environments_interleaved_do_not_meet() -> None:
    alone = episode(PowerParallelEnv(SHORT), 4)
    one, other = PowerParallelEnv(SHORT), PowerParallelEnv(SHORT)
    one.reset(seed=4)
    other.reset(seed=9)
    generator = np.random.default_rng(1)
    for expected in alone[1:]:
        actions = {agent: generator.uniform(-40, 0, 1) for agent in one.agents}
        other.step({agent: np.zeros(1) for agent in other.agents})
        assert equal(one.step(actions), expected)


def test_a_copy_in_mid_episode_goes_on_identically() -> None:
    env = PowerParallelEnv(SHORT)
    env.reset(seed=4)
    actions = {agent: np.full(1, -3.0) for agent in env.agents}
    env.step(actions)
    twin = copy.deepcopy(env)
    while env.agents:
        assert equal(env.step(actions), twin.step(actions))
    assert not twin.agents


def test_it_is_the_batched_task_and_poisoned_global_randomness_changes_nothing() -> None:
    def play(poison: int) -> tuple[list[FloatArray], float]:
        np.random.seed(poison)
        env = PowerParallelEnv(SHORT)
        seen = episode(env, 6)
        return [np.stack(list(step[0].values())) for step in seen[1:]], env.metrics()["jain"]

    observations, jain = play(0)
    task = PowerTask(SHORT, [5, 6])
    task.reset()
    generator = np.random.default_rng(1)
    for observation in observations:
        outcome = task.step(np.tile(generator.uniform(-40, 0, 7).astype(np.float32), (2, 1)))
        assert (outcome.observation[1] == observation).all()
    assert task.metrics()["jain"][1] == jain
    assert equal(observations, play(1)[0])


def test_the_end_is_a_truncation_and_leaves_a_state() -> None:
    env = PowerParallelEnv(SHORT)
    observations, rewards, terminations, truncations, infos = episode(env, 2)[-1]
    assert not env.agents
    assert not any(terminations.values())
    assert all(truncations.values())
    assert set(observations) == set(rewards) == set(infos) == set(env.possible_agents)
    assert env.state().shape == (7 * 28,)
    assert set(infos["cell-0"]) == {"utility", "spectral_efficiency"}
