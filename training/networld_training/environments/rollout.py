"""A policy on a batch of episodes, from the first slot to the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import FloatArray
from networld_training.tasks.power import PowerOutcome, PowerTask


class Policy(Protocol):
    """Whatever chooses actions; a heuristic is one."""

    def reset(self) -> None:
        """Forget the last batch of episodes."""

    def act(self, task: PowerTask) -> npt.NDArray[np.floating]:
        """Return the actions of all cells in native units, `[E, K]`."""


@dataclass(frozen=True)
class Transition:
    """One slot of all episodes: what was seen `[E, K, D]`, done `[E, K]`, and what came of it."""

    observation: FloatArray
    action: FloatArray
    outcome: PowerOutcome


def run_policy(
    task: PowerTask,
    policy: Policy,
    progress: Callable[[int, int], None] | None = None,
    record: Callable[[Transition], None] | None = None,
) -> dict[str, npt.NDArray[np.float64]]:
    """Run whole episodes.

    Args:
        task: The batch of episodes; it is reset first.
        policy: Chooses the actions; it is reset first.
        progress: Called after every slot with the slots done and their total.
        record: Called after every slot with its transition.

    Returns:
        The task's metrics, each `[E]`.
    """
    observation = task.reset()
    policy.reset()
    done = False
    while not done:
        action = np.asarray(policy.act(task), dtype=np.float32)
        outcome = task.step(action)
        if record is not None:
            record(Transition(observation, action, outcome))
        if progress is not None:
            progress(task.slot, task.scenario.slots)
        observation, done = outcome.observation, outcome.done
    return task.metrics()
