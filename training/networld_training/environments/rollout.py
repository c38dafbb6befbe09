"""A policy on a batch of episodes, from the first slot to the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import FloatArray
from networld_training.tasks.base import Outcome, Policy, Task


@dataclass(frozen=True)
class Transition:
    """One slot of all episodes: what was seen `[E, K, D]`, done `[E, K, C]`, and what came of it."""

    observation: FloatArray
    action: FloatArray
    outcome: Outcome


def run_policy(
    task: Task,
    policy: Policy[Any],
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
            record(Transition(observation, action.reshape(task.action_shape), outcome))
        if progress is not None:
            progress(task.slot, task.network.slots)
        observation, done = outcome.observation, outcome.done
    return task.metrics()
