"""The power task as a PettingZoo `ParallelEnv`, one agent for each cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from networld_runtime.contract import FloatArray
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.power.contract import OFF_DB, POWER_CONTRACT

Agents = dict[str, Any]


class PowerParallelEnv(ParallelEnv[str, FloatArray, FloatArray]):  # type: ignore[misc]
    """One episode of the power task at a time.

    Actions are powers in dB of full power, `[1]`; below -30 is off. Observations are in native
    units, as the contract names them. An episode ends by truncation. `reset(seed=s)` starts the
    episode of seed s; without a seed the next one follows, s + 1. The infos hold each cell's
    `utility` and `spectral_efficiency`.

    Args:
        scenario: The network.
        seed: Seed of the first episode, unless `reset` gives another.
    """

    metadata: ClassVar[dict[str, Any]] = {"name": "networld_power_v0", "render_modes": []}

    def __init__(self, scenario: PowerNetwork | None = None, seed: int = 0) -> None:
        self.scenario = scenario or PowerNetwork()
        self.render_mode = None
        self.possible_agents = [f"cell-{cell}" for cell in range(self.scenario.cells)]
        self.agents: list[str] = []
        self._next_seed = seed
        self._task = PowerTask(self.scenario, [seed])
        shape = (POWER_CONTRACT.observation_size,)
        self._observation_spaces = {
            agent: spaces.Box(-np.inf, np.inf, shape, np.float32) for agent in self.possible_agents
        }
        self._action_spaces = {
            agent: spaces.Box(OFF_DB, 0.0, (1,), np.float32) for agent in self.possible_agents
        }

    def observation_space(self, agent: str) -> spaces.Box:
        """Return the space of an agent's observations; the same object every time."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Box:
        """Return the space of an agent's actions; the same object every time."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: Agents | None = None
    ) -> tuple[dict[str, FloatArray], dict[str, Agents]]:
        """Start an episode; `options` are accepted and have no meaning."""
        del options
        chosen = self._next_seed if seed is None else seed
        self._next_seed = chosen + 1
        self._task = PowerTask(self.scenario, [chosen])
        self.agents = list(self.possible_agents)
        return self._by_agent(self._task.reset()), {agent: {} for agent in self.agents}

    def step(
        self, actions: Mapping[str, npt.ArrayLike]
    ) -> tuple[
        dict[str, FloatArray],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, Agents],
    ]:
        """Transmit for one slot with the powers of all agents."""
        agents = self.agents
        powers = [np.ravel(actions[agent])[0] for agent in agents]
        outcome = self._task.step(np.array([powers], dtype=np.float32))
        rewards = {agent: float(outcome.reward[0, i]) for i, agent in enumerate(agents)}
        infos = {
            agent: {
                "utility": float(outcome.utility[0, i]),
                "spectral_efficiency": float(outcome.details["spectral_efficiency"][0, i]),
            }
            for i, agent in enumerate(agents)
        }
        terminations = dict.fromkeys(agents, False)
        truncations = dict.fromkeys(agents, outcome.done)
        if outcome.done:
            self.agents = []
        return self._by_agent(outcome.observation), rewards, terminations, truncations, infos

    def state(self) -> FloatArray:
        """Return the observations of all cells `[K x D]`; valid after the last slot, too."""
        return self._task.observation.reshape(-1)

    def metrics(self) -> dict[str, float]:
        """Return the figures of merit over the slots so far."""
        return {name: float(values[0]) for name, values in self._task.metrics().items()}

    def _by_agent(self, observation: FloatArray) -> dict[str, FloatArray]:
        return dict(zip(self.possible_agents, observation[0], strict=True))
