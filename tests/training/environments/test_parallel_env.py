"""The PettingZoo environment of every task: PettingZoo's own test, the conformance suite, whole episodes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]

from networld_runtime.contract import ActionBins
from networld_runtime.errors import ConfigError
from networld_training.conformance import check_parallel_env
from networld_training.environments.agent_view import AgentView, networks_to_play
from networld_training.environments.parallel_env import MaskedTuple, NetworkParallelEnv
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.sleep.contract import SLEEP_SPEC
from networld_training.tasks.spec import ActionError

SLOTS = 4
POWER = PowerNetwork(warm_up_slots=2, slots=SLOTS)
INTERFACES = [{}, {"discrete_actions": True}, {"mean_field": False, "normalised": False}]


def short(task: str) -> Network:
    changes: dict[str, Any] = {"slots": SLOTS}
    network = TASKS[task].network()  # type: ignore[call-arg]  # registered ones have a name
    return replace(network, **changes)


@pytest.mark.parametrize("options", INTERFACES, ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_registered_tasks_pass_pettingzoos_own_test(task: str, options: dict[str, bool]) -> None:
    parallel_api_test(NetworkParallelEnv(short(task), task=task, **options), num_cycles=10)


@pytest.mark.parametrize("options", INTERFACES, ids=str)
def test_a_masked_hybrid_task_passes_the_conformance_suite(
    options: dict[str, bool], toy_task: type[Task], toy_network: Network
) -> None:
    make = partial(NetworkParallelEnv, toy_network, task=toy_task, **options)
    check_parallel_env(make, seed=3).require()


@pytest.mark.parametrize("task", TASKS)
def test_it_is_the_batched_task(task: str) -> None:
    """Actions of the spaces, played in the environment and in a batch, give the same episode."""
    entry, network = TASKS[task], short(task)
    env = NetworkParallelEnv(network, task=task, normalised=False)
    batch = entry.make(network, [5, 6])
    seen, _ = env.reset(seed=6)
    batch.reset()
    twin = NetworkParallelEnv(network, task=task, normalised=False)
    other, _ = twin.reset(seed=5)
    size = len(entry.spec.features)
    while env.agents:
        actions, others = sampled(env, seen), sampled(twin, other)
        native = [[numbers(chosen[a]) for a in env.possible_agents] for chosen in (others, actions)]
        outcome = batch.step(native)
        seen, rewards, *_ = env.step(actions)
        other = twin.step(others)[0]
        for cell, agent in enumerate(env.possible_agents):
            vector = seen[agent]["observation"] if isinstance(seen[agent], dict) else seen[agent]
            assert (vector[:size] == outcome.observation[1, cell]).all()
            assert (vector[size:] == batch.mean_field[1, cell]).all()
            assert rewards[agent] == outcome.reward[1, cell]
    assert env.metrics() == {name: values[1] for name, values in batch.metrics().items()}


def sampled(env: NetworkParallelEnv, seen: dict[str, Any]) -> dict[str, Any]:
    """Return a random valid action of every agent, from spaces that are seeded by slot and agent."""
    chosen = {}
    for index, agent in enumerate(env.agents):
        space = env.action_space(agent)
        space.seed(100 * env.task.slot + index)
        masked = isinstance(seen[agent], dict)
        chosen[agent] = space.sample(seen[agent]["action_mask"]) if masked else space.sample()
    return chosen


def numbers(action: Any) -> list[float]:
    parts = action if isinstance(action, tuple) else (action,)
    return [float(np.ravel(part)[0]) for part in parts]


def test_spaces_of_one_power() -> None:
    env = NetworkParallelEnv(POWER, task="power")
    space = env.action_space("cell-0")
    assert space == spaces.Box(-40.0, 0.0, (1,), np.float32)
    assert env.observation_space("cell-0") == spaces.Box(-1.5, 1.5, (28 + 5,), np.float32)
    discrete = NetworkParallelEnv(POWER, task="power", discrete_actions=True)
    assert discrete.action_space("cell-0") == spaces.Discrete(17)
    assert list(discrete.view.table[[0, 1, 2, 16], 0]) == [-40.0, -30.0, -28.0, 0.0]


def test_spaces_of_a_masked_choice_and_a_power(toy_task: type[Task], toy_network: Network) -> None:
    env = NetworkParallelEnv(toy_network, task=toy_task)
    space = env.action_space("cell-3")
    assert isinstance(space, MaskedTuple)
    assert list(space.spaces) == [spaces.Discrete(3), spaces.Box(-30.0, 0.0, (1,), np.float32)]
    only_rest = np.array([1, 0, 0], dtype=np.int8)
    assert {int(space.sample(only_rest)[0]) for _ in range(20)} == {0}
    assert {int(space.sample()[0]) for _ in range(50)} == {0, 1, 2}


def test_numbers_beside_other_components_have_few_values() -> None:
    table = AgentView(SLEEP_SPEC, discrete_actions=True).table
    assert table.shape == (3 * 5, 2)
    assert list(table[:5, 1]) == [-6.0, -3.0, 0.0, 3.0, 6.0]


def test_discrete_actions_are_all_combinations_and_their_mask_follows_the_choice(
    toy_task: type[Task], toy_network: Network
) -> None:
    view = AgentView(toy_task.spec, discrete_actions=True)
    assert view.table.shape == (3 * 6, 2)
    assert [tuple(row) for row in view.table[[0, 1, 6, 17]]] == [
        (0, -30),
        (0, -20),
        (1, -30),
        (2, 0),
    ]
    task = toy_task(toy_network, [0])
    task.reset()
    assert task.action_mask is not None
    expected = np.repeat(task.action_mask, 6, axis=-1)
    assert not expected.all()
    assert (view.action_mask(task) == expected).all()


def test_normalised_observations_by_hand(toy_task: type[Task], toy_network: Network) -> None:
    """Queues of 0 and 80 bits are -1 and 1, gains of -10 and 10 dB too; beyond 1.5 is clipped."""
    task = toy_task(toy_network, [0])
    task.reset()
    task.observation[0, 0] = (80.0, -10.0)
    task.observation[0, 1] = (20.0, 40.0)
    seen = AgentView(toy_task.spec).observation(task)
    assert seen[0, :2].tolist() == [[1.0, -1.0, -1.0, -1.0], [-0.5, 1.5, -1.0, -1.0]]
    assert AgentView(toy_task.spec, mean_field=False, normalised=False).observation(task)[
        0, 0
    ].tolist() == [80.0, -10.0]


@given(low=st.floats(-100, 99), width=st.floats(1e-2, 100))
@settings(max_examples=50, deadline=None)
def test_bounds_in_float32_are_within_the_native_ones(low: float, width: float) -> None:
    high = low + width
    view = AgentView(replace(PowerTask.spec, actions=(ActionBins("power_db", low, high, 3),)))
    for bound in (low, high):
        (native,) = view.native(np.array([bound], dtype=np.float32))
        assert low <= native <= high
        assert native == pytest.approx(bound, rel=1e-6)
    assert view.native([high + 0.1 * width]) == [high + 0.1 * width]  # for the task to refuse
    assert np.isnan(view.native([np.nan]))


def test_without_a_seed_the_next_episode_follows_in_its_network() -> None:
    networks = (POWER, replace(POWER, speed_m_s=9.0))
    env = NetworkParallelEnv(Scenario("networld/power/two-v0", "speed", networks), seed=3)
    found = []
    for seed in (None, None, 8, None):
        env.reset(seed=seed)
        found.append((env.task.seeds, env.task.network))
    assert found == [((s,), networks[s % 2]) for s in (3, 4, 8, 9)]


def test_a_scenario_by_its_id() -> None:
    env = NetworkParallelEnv("networld/power/umi100-v0")
    env.reset()
    assert env.task.network == TASKS["power"].scenarios["umi100"].networks[0]
    assert env.metadata["name"] == "networld_power_v0"


def test_the_end_is_a_truncation_and_leaves_a_state() -> None:
    env = NetworkParallelEnv(POWER, task="power")
    env.reset(seed=2)
    silence = {agent: np.array([-40.0]) for agent in env.agents}
    for _ in range(SLOTS):
        observations, rewards, terminations, truncations, infos = env.step(silence)
    assert not env.agents
    assert not any(terminations.values())
    assert all(truncations.values())
    assert set(observations) == set(rewards) == set(infos) == set(env.possible_agents)
    assert env.state_space.contains(env.state())
    assert (env.state()[: 28 + 5] == observations["cell-0"]).all()
    assert infos["cell-0"].keys() == {"utility", "spectral_efficiency"}
    with pytest.raises(ActionError, match="the episodes are over"):
        env.step({})


def test_wrong_actions_are_named(toy_task: type[Task], toy_network: Network) -> None:
    env = NetworkParallelEnv(POWER, task="power")
    with pytest.raises(ActionError, match="call reset first"):
        env.step({})
    env.reset()
    good = {agent: np.array([-3.0]) for agent in env.agents}
    with pytest.raises(ActionError, match="none of cell-6"):
        env.step({agent: good[agent] for agent in env.agents[:-1]})
    with pytest.raises(ActionError, match="2 numbers of cell-1, expected 1"):
        env.step(good | {"cell-1": np.zeros(2)})
    with pytest.raises(ActionError, match="power_db = nan of cell 1"):
        env.step(good | {"cell-1": np.array([np.nan])})
    discrete = NetworkParallelEnv(toy_network, task=toy_task, discrete_actions=True)
    discrete.reset()
    with pytest.raises(ActionError, match="18 of cell-2: expected 0 to 17"):
        discrete.step(dict.fromkeys(discrete.agents, 0) | {"cell-2": 18})


def test_what_cannot_be_played_is_told() -> None:
    with pytest.raises(ConfigError, match="none given for network 'umi100'; name its task"):
        networks_to_play(POWER)
    with pytest.raises(ConfigError, match="'nothing' is not a task"):
        networks_to_play(POWER, "nothing")
    mixed = Scenario("networld/power/mixed-v0", "layout", (POWER, replace(POWER, cells=19)))
    with pytest.raises(ConfigError, match=r"networks with \[7, 19\] cells"):
        NetworkParallelEnv(mixed)
