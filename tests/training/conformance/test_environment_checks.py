"""Checks of PettingZoo environments: the adapter passes, and each broken environment fails its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from pettingzoo import ParallelEnv  # type: ignore[import-untyped]

from networld_training.conformance import check_parallel_env
from networld_training.conformance.environment import EnvironmentSubject
from networld_training.conformance.suite import ENVIRONMENT_CHECKS
from networld_training.conformance.verdict import ViolationError

SLOTS = 6
SHARED: dict[str, float] = {"drift": 0.0, "made": 0.0}


class Walk(ParallelEnv[str, Any, Any]):  # type: ignore[misc]
    """Two agents on a line, pushed by themselves and by chance."""

    def __init__(self) -> None:
        self.metadata = {"name": "walk_v0"}
        self.render_mode = None
        self.possible_agents = ["left", "right"]
        self.agents: list[str] = []
        self._spaces = {a: spaces.Box(-1e3, 1e3, (1,), np.float32) for a in self.possible_agents}
        self._actions = {a: spaces.Discrete(3) for a in self.possible_agents}
        SHARED["made"] += 1

    def observation_space(self, agent: str) -> Any:
        return self._spaces[agent]

    def action_space(self, agent: str) -> Any:
        return self._actions[agent]

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        del options
        self.generator = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self.slot = 0
        self.place = self.generator.normal(size=2)
        return self.seen(), {agent: {} for agent in self.agents}

    def push(self) -> Any:
        return self.generator.normal(size=2)

    def seen(self) -> Any:
        return {
            agent: np.array([place], dtype=np.float32)
            for agent, place in zip(self.possible_agents, self.place, strict=True)
        }

    def step(self, actions: Any) -> Any:
        self.place = self.place + [actions[agent] - 1 for agent in self.agents] + self.push()
        self.slot += 1
        live, over = self.agents, self.slot >= SLOTS
        self.agents = [] if over else live
        reward = dict(zip(live, map(float, self.place), strict=True))
        ended = dict.fromkeys(live, False)
        return self.seen(), reward, ended, dict.fromkeys(live, over), {agent: {} for agent in live}

    def state(self) -> Any:
        return self.place


class NewSpaces(Walk):
    def observation_space(self, agent: str) -> Any:
        del agent
        return spaces.Box(-1e3, 1e3, (1,), np.float32)


class LaterNoise(Walk):
    """Random from the second slot on: `parallel_seed_test` of PettingZoo 1.27 does not see it."""

    def push(self) -> Any:
        return np.random.default_rng().normal(size=2) * (self.slot > 0)


class IgnoresSeeds(Walk):
    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        del seed
        return super().reset(0, options)


class KeepsItsPlace(Walk):
    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        place = getattr(self, "place", None)
        super().reset(seed, options)
        self.place = self.place if place is None else place
        return self.seen(), {agent: {} for agent in self.agents}


class GlobalNoise(Walk):
    def push(self) -> Any:
        return np.random.normal(size=2)


class SharesDrift(Walk):
    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        SHARED["drift"] = 0.0
        return super().reset(seed, options)

    def push(self) -> Any:
        SHARED["drift"] += 1
        return np.full(2, SHARED["drift"])


class KeepsALambda(Walk):
    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.rule = lambda: 0
        return super().reset(seed, options)


class LeavesItsSpace(Walk):
    def seen(self) -> Any:
        seen = super().seen()
        return seen if self.slot < SLOTS else {a: one + 1e6 for a, one in seen.items()}


class MasksEverything(Walk):
    def seen(self) -> Any:
        mask = np.ones(3, np.int8) * np.int8(self.slot < 2)
        return {a: {"observation": o, "action_mask": mask} for a, o in super().seen().items()}

    def observation_space(self, agent: str) -> Any:
        if not hasattr(self, "both"):
            own = super().observation_space(agent)
            both = spaces.Dict({"observation": own, "action_mask": spaces.MultiBinary(3)})
            self.both = both
        return self.both


class StateOfTheLiving(Walk):
    def state(self) -> Any:
        return self.place[: len(self.agents)]


BROKEN: list[tuple[str, Callable[[], Any], str]] = [
    ("parallel-api", NewSpaces, "observation_space should return the exact same space object"),
    ("same-seed-same-episode", LaterNoise, "differs first after 2 slots"),
    ("other-seed-other-episode", IgnoresSeeds, "the same in every slot"),
    ("reset-repeats", KeepsItsPlace, "after a reset in mid-episode"),
    ("no-global-randomness", GlobalNoise, "with other global seeds"),
    ("instances-do-not-meet", SharesDrift, "beside another instance"),
    ("copies-go-on", KeepsALambda, "pickled copy: cannot be made"),
    ("spaces-hold", NewSpaces, "is another object"),
    ("spaces-hold", LeavesItsSpace, "slot 6: the observation of left is not in its space"),
    ("spaces-hold", MasksEverything, "slot 2: the mask of left leaves no choice"),
    ("state-after-the-end", StateOfTheLiving, "(2,) at first and (0,) after the end"),
]


@pytest.mark.parametrize(("name", "make", "said"), BROKEN)
def test_a_broken_environment_fails(name: str, make: Callable[[], Any], said: str) -> None:
    (check,) = [check for check in ENVIRONMENT_CHECKS if check.name == name]
    with pytest.raises(ViolationError) as found:
        check.run(EnvironmentSubject(make))
    assert said in str(found.value)


def test_every_check_has_a_broken_environment_a_demand_and_a_hint() -> None:
    assert {name for name, _, _ in BROKEN} == {check.name for check in ENVIRONMENT_CHECKS}
    assert all(check.demand.endswith(".") and check.hint for check in ENVIRONMENT_CHECKS)


def test_a_sound_environment_passes_everything() -> None:
    report = check_parallel_env(Walk, seed=2)
    report.require()
    assert {finding.result for finding in report.findings} == {"ok"}


def test_an_environment_without_state_is_not_blamed() -> None:
    class Stateless(Walk):
        def state(self) -> Any:
            raise NotImplementedError

    found = {f.check: f.result for f in check_parallel_env(Stateless).findings}
    assert found["state-after-the-end"] == "not applicable"
