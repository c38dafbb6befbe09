"""A PettingZoo environment under check, and the checks that only such have."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from pettingzoo.test import parallel_api_test  # type: ignore[import-untyped]

from networld_training.conformance.records import Record, flat, play
from networld_training.conformance.task_subject import SHIFT
from networld_training.conformance.verdict import NotApplicableError, ViolationError

LONGEST = 1000
"""Slots after which an episode counts as long enough."""


@dataclass
class EnvironmentRun:
    """An episode of an environment that acts by seeded samples of its action spaces."""

    instance: Any
    seed: int
    action_seed: int
    slot: int = 0
    observations: dict[str, Any] = field(default_factory=dict)
    infos: dict[str, Any] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether no agent is left, or the episode is long enough."""
        return not self.instance.agents or self.slot >= LONGEST

    def reset(self) -> Record:
        """Start the episode."""
        self.slot = 0
        self.observations, self.infos = self.instance.reset(seed=self.seed)
        return flat("", {"observation": self.observations, "info": self.infos})

    def step(self) -> Record:
        """Act for one slot."""
        outcome = self.instance.step(self.actions())
        self.observations, self.infos = outcome[0], outcome[4]
        self.slot += 1
        names = ("observation", "reward", "termination", "truncation", "info")
        return flat("", dict(zip(names, outcome, strict=True)))

    def actions(self) -> dict[str, Any]:
        """Return samples that depend on the action seed, slot, agent and mask alone."""
        chosen = {}
        for index, agent in enumerate(self.instance.agents):
            space = self.instance.action_space(agent)
            entropy = (self.action_seed, self.slot, index)
            space.seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
            mask = self.mask(agent)
            chosen[agent] = space.sample() if mask is None else space.sample(mask)
        return chosen

    def mask(self, agent: str) -> Any:
        """Return an agent's action mask from its observation or its info; None without one."""
        for holder in (self.observations.get(agent), self.infos.get(agent)):
            if isinstance(holder, dict) and "action_mask" in holder:
                return holder["action_mask"]
        return None


class EnvironmentSubject:
    """An environment to check.

    Args:
        make: Makes a fresh one.
        seed: Seed of the episodes.
    """

    def __init__(self, make: Callable[[], Any], seed: int = 0) -> None:
        self.make = make
        self.seed = seed

    @cached_property
    def reference(self) -> list[Record]:
        """What a fresh environment shows in a whole episode."""
        return play(self.run())

    def run(self, shift: int = 0) -> EnvironmentRun:
        """Return a fresh run; another shift means another seed, but the same actions."""
        return EnvironmentRun(self.make(), self.seed + SHIFT * shift, self.seed)


def parallel_api(subject: EnvironmentSubject) -> None:
    """PettingZoo's own `parallel_api_test` passes without a warning."""
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(io.StringIO()):
        warnings.simplefilter("always")
        try:
            parallel_api_test(subject.make(), num_cycles=LONGEST)
        except AssertionError as error:
            raise ViolationError(str(error) or "an assertion of parallel_api_test") from error
    if caught:
        raise ViolationError(str(caught[0].message))


def spaces_hold(subject: EnvironmentSubject) -> None:
    """Spaces are the same objects every time, hold every observation, and masks leave a choice."""
    run = subject.run()
    run.reset()
    spaces = {agent: run.instance.observation_space(agent) for agent in run.instance.agents}
    while True:
        for agent, observation in run.observations.items():
            space = run.instance.observation_space(agent)
            if space is not spaces.setdefault(agent, space):
                raise ViolationError(
                    f"observation_space({agent!r}) is another object in slot {run.slot}"
                )
            if not space.contains(observation):
                raise ViolationError(
                    f"slot {run.slot}: the observation of {agent} is not in its space"
                )
            mask = run.mask(agent)
            if mask is not None and not np.any(mask):
                raise ViolationError(f"slot {run.slot}: the mask of {agent} leaves no choice")
        if run.over:
            return
        run.step()


def state_after_the_end(subject: EnvironmentSubject) -> None:
    """`state()`, if there is one, still works after the last slot, with the shape that it began with."""
    run = subject.run()
    run.reset()
    try:
        first = np.shape(run.instance.state())
    except NotImplementedError as error:
        raise NotApplicableError("the environment has no state()") from error
    play(run)
    last = np.shape(run.instance.state())
    if last != first:
        raise ViolationError(f"state() is {first} at first and {last} after the end")
