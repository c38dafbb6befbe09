"""What policies achieve on the same drops, and their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networld_training.environments.rollout import run_policy
from networld_training.tasks.base import Rule
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.power.heuristics import POWER_HEURISTICS, Genie, Random
from networld_training.tasks.scoring import normalised_score

DoubleArray = npt.NDArray[np.float64]

JUDGED_BY = "mean_log_rate"


@dataclass(frozen=True)
class DropResults:
    """What one policy achieved.

    Attributes:
        metrics: The task's metrics, each `[drops]`.
        user_rates: Mean rates of the users in b/s/Hz `[drops, users]`.
    """

    metrics: dict[str, DoubleArray]
    user_rates: DoubleArray

    @classmethod
    def of(cls, tasks: Sequence[PowerTask]) -> DropResults:
        """Collect the results of episodes that are over."""
        metrics = [task.metrics() for task in tasks]
        return cls(
            {name: np.concatenate([one[name] for one in metrics]) for name in metrics[0]},
            np.concatenate([task.user_rates for task in tasks]),
        )

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over the drops."""
        return {name: float(values.mean()) for name, values in self.metrics.items()}


def make_heuristics() -> dict[str, Rule[PowerTask]]:
    """Return a fresh policy of every heuristic, by name."""
    return {name: make() for name, make in POWER_HEURISTICS.items()}


def run_policies(
    policies: Mapping[str, Rule[PowerTask]],
    scenario: PowerNetwork,
    seeds: Sequence[int],
    progress: Callable[[int], None],
) -> dict[str, DropResults]:
    """Run every policy on the same drops: the same users and the same fading.

    Args:
        policies: What acts, by name.
        scenario: The network.
        seeds: Seeds of the drops.
        progress: Called with the slots done, `scenario.slots` for each policy.
    """
    results = {}
    for index, (name, policy) in enumerate(policies.items()):
        task = PowerTask(scenario, seeds)
        before = index * scenario.slots
        run_policy(task, policy, _shifted(progress, before))
        results[name] = DropResults.of([task])
    return results


def _shifted(progress: Callable[[int], None], before: int) -> Callable[[int, int], None]:
    return lambda slot, _: progress(before + slot)


def scores(results: dict[str, DropResults]) -> dict[str, float]:
    """Return the score of each policy: 0 is random, 100 the genie, on these very drops.

    Raises:
        DataError: Both are equal.
    """
    means = {name: result.means()[JUDGED_BY] for name, result in results.items()}
    random, genie = means[Random.name], means[Genie.name]
    return {name: float(normalised_score(value, random, genie)) for name, value in means.items()}
