"""TorchRL environments and BenchMARL tasks: specs, seeds, masks, and one short training of each kind.

`make test-baselines` installs what they need and runs them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.errors import ConfigError
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.power import PowerNetwork
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario

pytest.importorskip("torchrl", reason="needs networld-training[baselines]: make test-baselines")

import torch
from torchrl.envs.utils import check_env_specs

from networld_training.environments.torchrl_env import NetworkTorchEnv

POWER = PowerNetwork(warm_up_slots=2, slots=4)


def short(task: str) -> Network:
    changes: dict[str, Any] = {"slots": 4}
    return replace(TASKS[task].network(), **changes)  # type: ignore[call-arg]  # registered ones have a name


@pytest.mark.parametrize("discrete", [False, True])
@pytest.mark.parametrize("task", TASKS)
def test_specs_of_registered_tasks_hold(task: str, discrete: bool) -> None:
    check_env_specs(NetworkTorchEnv(short(task), 3, task=task, discrete_actions=discrete))


def test_specs_and_masks_of_a_masked_hybrid_task_hold(
    toy_task: type[Task], toy_network: Network
) -> None:
    env = NetworkTorchEnv(toy_network, 5, task=toy_task)
    check_env_specs(env)
    played = env.rollout(12, break_when_any_done=False)
    action = played["agents", "action"]
    assert action.shape == (5, 12, 7)
    mask = played["agents", "action_mask"]
    assert not mask.all()
    assert mask.gather(-1, action[..., None]).all()


def test_it_is_the_batched_task() -> None:
    env = NetworkTorchEnv(POWER, 2, seed=8, task="power", normalised=False)
    played = env.rollout(10)
    assert played.shape == (2, 4)
    batch = TASKS["power"].make(POWER, [8, 9])
    seen = batch.reset()
    for slot in range(4):
        now = played[:, slot]
        assert (now["agents", "observation"][..., :28].numpy() == seen).all()
        assert (now["state"] == now["agents", "observation"].flatten(1)).all()
        outcome = batch.step(now["agents", "action"].numpy())
        assert (now["next", "agents", "reward"][..., 0].numpy() == outcome.reward).all()
        assert bool(now["next", "truncated"].all()) == outcome.done
        assert not now["next", "terminated"].any()
        seen = outcome.observation


def test_resets_rotate_through_the_networks_and_never_repeat_a_seed() -> None:
    networks = (POWER, replace(POWER, speed_m_s=9.0))
    scenario = Scenario("networld/power/two-v0", "speed", networks)
    env = NetworkTorchEnv(scenario, 3, seed=5)
    seeds: list[int] = []
    for turn in range(4):
        env.reset()
        assert env.task.network == networks[(5 + turn) % 2]
        assert all(seed % 2 == (5 + turn) % 2 for seed in env.task.seeds)
        seeds += env.task.seeds
    assert sorted(seeds) == list(range(5, 5 + 12))
    env.set_seed(5)
    env.reset()
    assert list(env.task.seeds) == seeds[:3]


def test_rewards_may_be_standardised_and_turns_be_taken_up() -> None:
    plain = NetworkTorchEnv(POWER, 2, task="power")
    scaled = NetworkTorchEnv(POWER, 2, task="power", reward_scale=(3.0, 4.0))
    for env in (plain, scaled):
        env.turn = 5
    torch.manual_seed(0)
    raw = plain.rollout(4)["next", "agents", "reward"]
    torch.manual_seed(0)
    assert torch.allclose(scaled.rollout(4)["next", "agents", "reward"], (raw - 3) / 4)
    assert plain.task.seeds == (10, 11)
    assert plain.turn == 6


def test_a_part_of_a_batch_cannot_be_reset() -> None:
    env = NetworkTorchEnv(POWER, 2, task="power")
    with pytest.raises(ConfigError, match="call reset first"):
        _ = env.task
    started = env.reset()
    started["_reset"] = torch.tensor([[True], [False]])
    with pytest.raises(ConfigError, match="begin and end together"):
        env.reset(started)


def test_actions_out_of_range_are_refused() -> None:
    env = NetworkTorchEnv(POWER, 2, task="power")
    started = env.reset()
    started["agents", "action"] = torch.full((2, 7, 1), np.nan)
    with pytest.raises(ValueError, match="power_db = nan"):
        env.step(started)


@pytest.mark.parametrize("algorithm", ["Ippo", "Mappo", "Qmix"])
@pytest.mark.parametrize("task", ["power", "toy"])
def test_benchmarl_trains(
    algorithm: str, task: str, toy_task: type[Task], toy_network: Network, tmp_path: Path
) -> None:
    pytest.importorskip("benchmarl", reason="needs networld-training[baselines]")
    import benchmarl.algorithms
    from benchmarl.experiment import Experiment, ExperimentConfig
    from benchmarl.models.mlp import MlpConfig

    from networld_training.environments.benchmarl_task import NetworkTaskClass

    config = ExperimentConfig.get_from_yaml()
    config.max_n_frames = 48
    config.on_policy_collected_frames_per_batch = config.off_policy_collected_frames_per_batch = 24
    config.on_policy_n_envs_per_worker = config.off_policy_n_envs_per_worker = 4
    config.on_policy_minibatch_size, config.on_policy_n_minibatch_iters = 12, 1
    config.off_policy_train_batch_size, config.off_policy_n_optimizer_steps = 12, 1
    config.evaluation_interval, config.evaluation_episodes = 24, 2
    config.loggers, config.create_json, config.save_folder = [], False, str(tmp_path)
    own = NetworkTaskClass.of(toy_network, task=toy_task)
    trained = NetworkTaskClass.of(POWER, task="power") if task == "power" else own
    experiment = Experiment(
        task=trained,
        algorithm_config=getattr(benchmarl.algorithms, f"{algorithm}Config").get_from_yaml(),
        model_config=MlpConfig.get_from_yaml(),
        critic_model_config=MlpConfig.get_from_yaml(),
        seed=0,
        config=config,
    )
    before = [one.clone() for one in experiment.policy.parameters()]
    experiment.run()
    assert experiment.total_frames == 48
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before, experiment.policy.parameters(), strict=True)
    )
    assert experiment.continuous_actions == (task == "power" and algorithm != "Qmix")
