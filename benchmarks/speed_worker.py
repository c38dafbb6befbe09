"""A process that steps one simulator and says how fast; bench_simulator.py starts it and asks.

Its argument is JSON: `{"simulator": "power", "cells": 7, "episodes": 16}` for a task, `{"simulator":
"mobile-env", "actions": "random"}` for the peer. Each line on standard input is a time in seconds; the
answer is one line of JSON. It ends with its input.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import gymnasium
import numpy as np
import numpy.typing as npt

from networld_training.tasks.base import Task
from networld_training.tasks.registry import TASKS
from networld_training.tasks.spec import Choice, native_bounds

USERS_PER_CELL = 4
PEER = "mobile-env"
PEER_ID = "mobile-medium-central-v0"
MEBIBYTE = 2**20
Result = TypeVar("Result")


class Simulator(Protocol):
    """What is measured: `copies` environments at once, with episodes of `slots` steps."""

    copies: int
    slots: int

    def reset(self) -> None:
        """Start an episode."""

    def step(self) -> bool:
        """Make a step with an action that costs no time to choose, and return whether it was the last."""


class OurSimulator:
    """A task on its reference network: every cell at the highest value or the first valid choice."""

    def __init__(self, simulator: str, cells: int, episodes: int) -> None:
        self.task = make_task(simulator, cells, episodes)
        self.copies, self.slots = episodes, self.task.network.slots
        self._action = fixed_action(self.task)

    def reset(self) -> None:
        """Start the same episodes again."""
        self.task.reset()

    def step(self) -> bool:
        """Make a step with the same action as ever, as far as the action mask allows."""
        return self.task.step(allowed(self.task, self._action)).done


class PeerSimulator:
    """mobile-env, imported already, without Gymnasium's wrappers; actions are drawn beforehand."""

    copies = 1

    def __init__(self, actions: str) -> None:
        made: Any = gymnasium.make(PEER_ID, config={"seed": 1}, disable_env_checker=True)
        self._environment = made.unwrapped
        self.slots = int(self._environment.EP_MAX_TIME)
        space = self._environment.action_space
        space.seed(1)
        kept = 0 if actions == "none" else 1
        self._actions = [space.sample() * kept for _ in range(self.slots)]
        self._slot = 0

    def reset(self) -> None:
        """Start an episode."""
        self._environment.reset()
        self._slot = 0

    def step(self) -> bool:
        """Make a step with the next action."""
        _, _, terminated, truncated, _ = self._environment.step(self._actions[self._slot])
        self._slot += 1
        return bool(terminated or truncated)


def make_task(name: str, cells: int, episodes: int) -> Task:
    """Return episodes of a task on its reference network, with so many cells and 4 users in each."""
    entry = TASKS[name]
    reference = next(s for s in entry.scenarios.values() if s.axis == "reference").networks[0]
    network = replace(reference, cells=cells, users_per_cell=USERS_PER_CELL)
    return entry.make(network, range(episodes))


def fixed_action(task: Task) -> npt.NDArray[np.float64]:
    """Return actions `[E, K, C]`: the highest value of each component, the first choice of several."""
    values = [
        0.0 if isinstance(component, Choice) else native_bounds(component)[1]
        for component in task.spec.actions
    ]
    return np.broadcast_to(np.array(values), task.action_shape).copy()


def allowed(task: Task, action: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the action with the masked component, if there is one, at its first valid choice."""
    if task.action_mask is not None:
        actions = task.spec.actions
        masked = next(i for i, one in enumerate(actions) if isinstance(one, Choice) and one.masked)
        action[..., masked] = task.action_mask.argmax(axis=-1)
    return action


def steps_per_second(simulator: Simulator, seconds: float) -> float:
    """Start an episode, step for this time, and return environment steps per second.

    The share of a reset is that of a whole episode, even if the time is too short for one.
    """
    resets_s = [_timed(simulator.reset)[0]]
    steps, spent_s = 0, 0.0
    while spent_s < seconds:
        step_s, done = _timed(simulator.step)
        spent_s += step_s
        steps += 1
        if done:
            resets_s.append(_timed(simulator.reset)[0])
    episode_s = statistics.mean(resets_s) + simulator.slots * spent_s / steps
    return simulator.copies * simulator.slots / episode_s


def _timed(call: Callable[[], Result]) -> tuple[float, Result]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def resident_bytes(*, peak: bool) -> int:
    """Return the process's resident memory, or its peak, as Linux counts it."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    """Serve measurements until the input ends."""
    settings = json.loads(sys.argv[1])
    if settings["simulator"] == PEER:
        importlib.import_module("mobile_env")  # registers its environments; no memory of theirs
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before = resident_bytes(peak=False)
    simulator: Simulator
    if settings["simulator"] == PEER:
        simulator = PeerSimulator(settings["actions"])
    else:
        simulator = OurSimulator(**settings)
    steps_per_second(simulator, 0.1)  # warm up
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        rate = steps_per_second(simulator, float(line))
        growth = (resident_bytes(peak=True) - before) / MEBIBYTE
        print(json.dumps({"steps_per_s": rate, "memory_mib": growth}), flush=True)


if __name__ == "__main__":
    main()
