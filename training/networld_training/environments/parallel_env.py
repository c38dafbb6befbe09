"""Any task as a PettingZoo `ParallelEnv`, one agent for each cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from networld_runtime.contract import ActionBins, FloatArray
from networld_training.environments.agent_view import AgentView, networks_to_play
from networld_training.radio.arrays import FloatArray as DoubleArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import Action, ActionError, native_bounds

ByAgent = dict[str, Any]


class NetworkParallelEnv(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """One episode of a task at a time.

    An observation is a vector; where a choice is masked, `{"observation": vector, "action_mask": int8}`.
    A task with one component has an action `Box(1,)` in native units or a `Discrete`; one with several has
    a `Tuple` of them in the order of `spec.actions`, and its space takes the mask when it samples. An
    episode ends by truncation. `reset(seed=s)` starts the episode of seed s in the network that the
    scenario has for it; without a seed the next one follows, s + 1. The infos hold each cell's `utility`
    and the task's details.

    Args:
        scenario: Id of a scenario (`networld/power/umi100-v0`), a scenario, or a network with `task`.
        seed: Seed of the first episode, unless `reset` gives another.
        task: The task or its name; needed for a network and for a task that is not registered.
        mean_field: Whether observations hold the mean field of the neighbours' messages, too.
        normalised: Whether each feature's range is scaled to [-1, 1] and clipped at 1.5, as learning
            needs it; native units otherwise.
        discrete_actions: Whether an action is one `Discrete` number, for all combinations of bins and
            choices; see `AgentView.table`.

    Raises:
        ConfigError: The scenario or the task is not known, or its networks differ in size.
    """

    def __init__(
        self,
        scenario: str | Scenario | Network,
        seed: int = 0,
        *,
        task: str | type[Task] | None = None,
        mean_field: bool = True,
        normalised: bool = True,
        discrete_actions: bool = False,
    ) -> None:
        self._make, self._networks = networks_to_play(scenario, task)
        spec = self._make.spec
        self.view = AgentView(
            spec,
            mean_field=mean_field,
            normalised=normalised,
            discrete_actions=discrete_actions,
        )
        self.metadata = {"name": f"networld_{spec.name}_v0", "render_modes": []}
        self.render_mode = None
        self.possible_agents = [f"cell-{cell}" for cell in range(self._networks[0].cells)]
        self.agents: list[str] = []
        self._next_seed = seed
        self._task: Task | None = None
        self._observation_spaces = {a: self._observation_space() for a in self.possible_agents}
        self._action_spaces = {agent: _action_space(self.view) for agent in self.possible_agents}
        size = len(self.possible_agents) * len(self.view.features)
        self.state_space = spaces.Box(*self.view.limits, (size,), np.float32)

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return the space of an agent's observations; the same object every time."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return the space of an agent's actions; the same object every time."""
        return self._action_spaces[agent]

    @property
    def task(self) -> Task:
        """The episode as a batch of one.

        Raises:
            ActionError: `reset` was not called.
        """
        if self._task is None:
            raise ActionError("environment", "no episode has begun; call reset first")
        return self._task

    def reset(
        self, seed: int | None = None, options: ByAgent | None = None
    ) -> tuple[ByAgent, ByAgent]:
        """Start an episode; `options` are accepted and have no meaning."""
        del options
        chosen = self._next_seed if seed is None else seed
        self._next_seed = chosen + 1
        self._task = self._make(self._networks[chosen % len(self._networks)], [chosen])
        self._task.reset()
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[ByAgent, dict[str, float], dict[str, bool], dict[str, bool], ByAgent]:
        """Let all agents act for one slot.

        Raises:
            ActionError: An agent's action is missing or not allowed, or no episode is under way.
        """
        task, agents = self.task, list(self.possible_agents)
        missing = [agent for agent in agents if agent not in actions]
        if missing and self.agents:
            raise ActionError("actions", f"none of {', '.join(missing)}; every agent acts")
        native = [] if missing else [[self._native(agent, actions[agent]) for agent in agents]]
        outcome = task.step(native)
        infos = {
            agent: {
                "utility": float(outcome.utility[0, cell]),
                **{name: float(values[0, cell]) for name, values in outcome.details.items()},
            }
            for cell, agent in enumerate(agents)
        }
        rewards = {agent: float(outcome.reward[0, cell]) for cell, agent in enumerate(agents)}
        if outcome.done:
            self.agents = []
        return (
            self._observations(),
            rewards,
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, outcome.done),
            infos,
        )

    def state(self) -> FloatArray:
        """Return the observations of all cells `[K x D]`; valid after the last slot, too."""
        return self.view.observation(self.task).reshape(-1)

    def metrics(self) -> dict[str, float]:
        """Return the figures of merit over the slots so far."""
        return {name: float(values[0]) for name, values in self.task.metrics().items()}

    def _observation_space(self) -> spaces.Space[Any]:
        vector = spaces.Box(*self.view.limits, (len(self.view.features),), np.float32)
        if not self.view.mask_size:
            return vector
        mask = spaces.MultiBinary(self.view.mask_size)
        return spaces.Dict({"observation": vector, "action_mask": mask})

    def _observations(self) -> ByAgent:
        seen = dict(zip(self.possible_agents, self.view.observation(self.task)[0], strict=True))
        if not self.view.mask_size:
            return seen
        masks = self.view.action_mask(self.task)[0].astype(np.int8)
        return {
            agent: {"observation": seen[agent], "action_mask": mask}
            for agent, mask in zip(self.possible_agents, masks, strict=True)
        }

    def _native(self, agent: str, action: Any) -> DoubleArray:
        if self.view.discrete_actions:
            if not self._action_spaces[agent].contains(action):
                count = len(self.view.table)
                raise ActionError("actions", f"{action!r} of {agent}: expected 0 to {count - 1}")
            return self.view.native(action)
        parts = action if isinstance(action, tuple) else (action,)
        values = np.concatenate([np.ravel(np.asarray(part, np.float64)) for part in parts])
        expected = len(self.view.spec.actions)
        if len(values) != expected:
            raise ActionError("actions", f"{len(values)} numbers of {agent}, expected {expected}")
        return self.view.native(values)


class MaskedTuple(spaces.Tuple[Any]):
    """A tuple of which one entry is masked: `sample` takes the mask of that entry alone.

    Args:
        components: Spaces of all entries.
        masked: Which entry the mask is for.
    """

    def __init__(self, components: list[spaces.Space[Any]], masked: int) -> None:
        super().__init__(components)
        self.masked = masked

    def sample(self, mask: Any = None, probability: Any = None) -> tuple[Any, ...]:
        """Return a random element that the int8 mask of the masked entry allows."""
        if isinstance(mask, np.ndarray):
            mask = tuple(mask if i == self.masked else None for i in range(len(self.spaces)))
        return super().sample(mask, probability)


def _action_space(view: AgentView) -> spaces.Space[Any]:
    if view.discrete_actions:
        return spaces.Discrete(len(view.table))
    components = [_component_space(action) for action in view.spec.actions]
    if len(components) == 1:
        return components[0]
    if view.masked_component is None:
        return spaces.Tuple(components)
    return MaskedTuple(components, view.masked_component)


def _component_space(action: Action) -> spaces.Space[Any]:
    if isinstance(action, ActionBins):
        low, high = native_bounds(action)
        return spaces.Box(low, high, (1,), np.float32)
    return spaces.Discrete(action.size)
