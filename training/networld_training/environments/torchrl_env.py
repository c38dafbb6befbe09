"""Any task as a batched TorchRL environment; needs `pip install networld-training[baselines]`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase
from torchrl.data import Binary, Bounded, Categorical, Composite, Unbounded
from torchrl.envs import EnvBase

from networld_runtime.contract import ActionBins
from networld_runtime.errors import ConfigError
from networld_training.environments.agent_view import AgentView, networks_to_play
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import TaskSpec, native_bounds

GROUP = "agents"


def has_continuous_actions(spec: TaskSpec) -> bool:
    """Return whether all components of an action are numbers; agents with a choice act discretely."""
    return all(isinstance(action, ActionBins) for action in spec.actions)


class NetworkTorchEnv(EnvBase):  # type: ignore[misc]
    """E episodes of a task at a time, all cells in the group "agents".

    `("agents", "observation")` is `[E, K, D]`, `("agents", "reward")` `[E, K, 1]`, `"state"` all cells'
    observations `[E, K x D]`, and `("agents", "action_mask")` `[E, K, A]` where a choice is masked.
    `("agents", "action")` is `[E, K, C]` in native units if all components are numbers; otherwise, or with
    `discrete_actions`, it is `[E, K]`, a row of `AgentView.table`.

    Every reset starts E new episodes in one network, the next one of the scenario; the episode of seed s
    is in the network that the scenario has for s. All episodes end together, by truncation. `turn` counts the
    resets; who sets it goes on where another run stopped.

    Args:
        scenario: Id of a scenario, a scenario, or a network with `task`.
        episodes: Episodes E of a batch.
        seed: Seed of the first episode; the next E episodes for each network count up from it.
        task: The task or its name; needed for a network and for a task that is not registered.
        mean_field: Whether observations hold the mean field of the neighbours' messages, too.
        normalised: Whether each feature's range is scaled to [-1, 1] and clipped at 1.5.
        discrete_actions: Whether numbers are picked from their bins, too.
        reward_scale: Rewards are shown less the first, divided by the second.
        device: Where the tensors are; the simulator itself runs on the CPU.

    Raises:
        ConfigError: The scenario or the task is not known, or its networks differ in size.
    """

    def __init__(
        self,
        scenario: str | Scenario | Network,
        episodes: int = 32,
        seed: int = 0,
        *,
        task: str | type[Task] | None = None,
        mean_field: bool = True,
        normalised: bool = True,
        discrete_actions: bool = False,
        reward_scale: tuple[float, float] = (0.0, 1.0),
        device: str | torch.device = "cpu",
    ) -> None:
        self._make, self._networks = networks_to_play(scenario, task)
        super().__init__(device=device, batch_size=torch.Size([episodes]))
        spec = self._make.spec
        self.view = AgentView(
            spec,
            mean_field=mean_field,
            normalised=normalised,
            discrete_actions=discrete_actions or not has_continuous_actions(spec),
        )
        self.reward_scale = reward_scale
        self.episodes = episodes
        self.cells = self._networks[0].cells
        self.slots = max(network.slots for network in self._networks)
        self.group_map = {GROUP: [f"cell-{cell}" for cell in range(self.cells)]}
        self._task: Task | None = None
        self._set_seed(seed)
        self._make_specs()

    @property
    def task(self) -> Task:
        """The present episodes.

        Raises:
            ConfigError: `reset` was not called.
        """
        if self._task is None:
            raise ConfigError("environment", "no episode has begun; call reset first")
        return self._task

    def _make_specs(self) -> None:
        batch, agents = (self.episodes,), (self.episodes, self.cells)
        size = len(self.view.features)
        low, high = self.view.limits
        seen = {"observation": Bounded(low, high, (*agents, size))}
        if self.view.mask_size:
            count = self.view.mask_size
            seen["action_mask"] = Binary(n=count, shape=(*agents, count), dtype=torch.bool)
        state = Bounded(low, high, (*batch, self.cells * size))
        group = Composite(seen, shape=agents)
        self.observation_spec = Composite({GROUP: group, "state": state}, shape=batch)
        action = Composite({"action": self._action_spec()}, shape=agents)
        self.action_spec = Composite({GROUP: action}, shape=batch)
        reward = Composite({"reward": Unbounded((*agents, 1))}, shape=agents)
        self.reward_spec = Composite({GROUP: reward}, shape=batch)
        flags = ("done", "terminated", "truncated")
        self.done_spec = Composite(
            {flag: Categorical(2, shape=(*batch, 1), dtype=torch.bool) for flag in flags},
            shape=batch,
        )

    def _action_spec(self) -> Any:
        agents = (self.episodes, self.cells)
        if self.view.discrete_actions:
            return Categorical(len(self.view.table), shape=agents)
        bounds = np.array([native_bounds(action) for action in self.view.spec.actions])
        low, high = torch.as_tensor(bounds, dtype=torch.float32).T
        shape = (*agents, len(bounds))
        return Bounded(low.expand(shape).clone(), high.expand(shape).clone(), shape)

    def _reset(self, tensordict: TensorDictBase | None, **_: Any) -> TensorDictBase:
        chosen = None if tensordict is None else tensordict.get("_reset", None)
        if chosen is not None and not bool(chosen.all()):
            raise ConfigError("reset", "the episodes of a batch begin and end together")
        network, seeds = self._next_episodes()
        self._task = self._make(network, seeds)
        self._task.reset()
        return self._seen(done=False)

    def _step(self, tensordict: TensorDictBase) -> TensorDictBase:
        action = tensordict.get((GROUP, "action")).detach().cpu().numpy()
        outcome = self.task.step(self.view.native(action))
        following = self._seen(outcome.done)
        mean, deviation = self.reward_scale
        reward = (self._tensor(outcome.reward) - mean) / deviation
        following.set((GROUP, "reward"), reward[..., None])
        return following

    def _set_seed(self, seed: int | None) -> None:
        self._next_seed = seed or 0
        self.turn = 0

    def _next_episodes(self) -> tuple[Network, list[int]]:
        """Return the next network and the E seeds that belong to it, of a block of E for each network."""
        count = len(self._networks)
        first = self._next_seed + self.episodes * count * (self.turn // count)
        index = (self._next_seed + self.turn) % count
        self.turn += 1
        block = range(first, first + self.episodes * count)
        return self._networks[index], [seed for seed in block if seed % count == index]

    def _seen(self, done: bool) -> TensorDictBase:
        observation = self._tensor(self.view.observation(self.task))
        group = {"observation": observation}
        if self.view.mask_size:
            group["action_mask"] = self._tensor(self.view.action_mask(self.task))
            # Random actions of the environment's own (`rand_action`) heed the mask, too.
            spec = self.input_spec["full_action_spec", GROUP, "action"]
            spec.update_mask(group["action_mask"].clone())
        flag = torch.full((self.episodes, 1), done, device=self.device)
        content = {
            GROUP: TensorDict(group, (self.episodes, self.cells)),
            "state": observation.flatten(1),
            "done": flag,
            "truncated": flag.clone(),
            "terminated": torch.zeros_like(flag),
        }
        return TensorDict(content, self.batch_size, device=self.device)

    def _tensor(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.tensor(values, device=self.device)
