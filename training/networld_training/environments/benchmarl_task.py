"""Any task as a BenchMARL task, for IPPO, MAPPO, QMIX and others; needs `networld-training[baselines]`.

    experiment = Experiment(
        task=NetworkTaskClass.of("networld/power/umi200-v0"),
        algorithm_config=IppoConfig.get_from_yaml(),
        model_config=MlpConfig.get_from_yaml(),
        critic_model_config=MlpConfig.get_from_yaml(),
        config=ExperimentConfig.get_from_yaml(),
        seed=0,
    )

`share_policy_params=False` in the configuration trains each cell's policy on its own experience alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarl.environments.common import TaskClass
from torchrl.data import Composite
from torchrl.envs import EnvBase

from networld_training.environments.agent_view import networks_to_play
from networld_training.environments.torchrl_env import (
    GROUP,
    NetworkTorchEnv,
    has_continuous_actions,
)
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.registry import find_scenario
from networld_training.tasks.scenario import Scenario


class NetworkTaskClass(TaskClass):  # type: ignore[misc]
    """A task in a scenario; `config` holds arguments of `NetworkTorchEnv`."""

    @classmethod
    def of(
        cls,
        scenario: str | Scenario | Network,
        *,
        task: str | type[Task] | None = None,
        mean_field: bool = True,
        reward_scale: tuple[float, float] = (0.0, 1.0),
    ) -> NetworkTaskClass:
        """Return the BenchMARL task of a scenario.

        Args:
            scenario: Id of a scenario, a scenario, or a network with `task`.
            task: The task or its name, where the scenario does not say it.
            mean_field: Whether agents see the mean field of the neighbours' messages, too.
            reward_scale: Rewards are shown less the first, divided by the second.

        Raises:
            ConfigError: The scenario or the task is not known, or its networks differ in size.
        """
        if isinstance(scenario, str):
            scenario = find_scenario(scenario)
        make, _ = networks_to_play(scenario, task)
        config = {
            "scenario": scenario,
            "task": task,
            "mean_field": mean_field,
            "reward_scale": reward_scale,
        }
        return cls(f"{make.spec.name}_{scenario.name}", config)

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        """Return what makes a batch of `num_envs` episodes."""
        return lambda: NetworkTorchEnv(
            episodes=num_envs,
            seed=seed or 0,
            discrete_actions=not continuous_actions,
            device=device,
            **self.config,
        )

    def supports_continuous_actions(self) -> bool:
        """Return whether all components of an action are numbers."""
        make, _ = networks_to_play(self.config["scenario"], self.config["task"])
        return has_continuous_actions(make.spec)

    def supports_discrete_actions(self) -> bool:
        """Return True: numbers have bins."""
        return True

    def max_steps(self, env: EnvBase) -> int:
        """Return the slots of the longest episode."""
        return int(env.slots)

    def has_render(self, env: EnvBase) -> bool:
        """Return False."""
        del env
        return False

    def group_map(self, env: EnvBase) -> dict[str, list[str]]:
        """Return the one group with all cells."""
        return dict(env.group_map)

    def observation_spec(self, env: EnvBase) -> Composite:
        """Return the spec of the observations of one episode; BenchMARL adds the batch itself."""
        return _group_entry(env, "observation")

    def action_mask_spec(self, env: EnvBase) -> Composite | None:
        """Return the spec of the action masks of one episode; None if no choice is masked."""
        masked = "action_mask" in env.full_observation_spec_unbatched[GROUP]
        return _group_entry(env, "action_mask") if masked else None

    def state_spec(self, env: EnvBase) -> Composite:
        """Return the spec of the state of one episode."""
        return Composite({"state": env.full_observation_spec_unbatched["state"].clone()})

    def action_spec(self, env: EnvBase) -> Composite:
        """Return the spec of the actions of one episode."""
        return env.full_action_spec_unbatched

    def info_spec(self, env: EnvBase) -> None:
        """Return None: there are no infos."""
        del env

    @staticmethod
    def env_name() -> str:
        """Return the name of the family of tasks."""
        return "networld"


def _group_entry(env: EnvBase, name: str) -> Composite:
    group = env.full_observation_spec_unbatched[GROUP]
    return Composite({GROUP: Composite({name: group[name].clone()}, shape=group.shape)})
