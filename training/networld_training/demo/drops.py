"""What a policy achieved on a number of drops, and what the heuristics achieve on the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networld_training.environments.rollout import run_policy
from networld_training.tasks.power import PowerScenario, PowerTask
from networld_training.tasks.power_heuristics import HEURISTICS, Genie, Random
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


def run_heuristics(
    scenario: PowerScenario, seeds: Sequence[int], progress: Callable[[int], None]
) -> dict[str, DropResults]:
    """Run every heuristic on drops, without MQTT: the same users, the same fading, by name.

    Args:
        scenario: The network.
        seeds: Seeds of the drops.
        progress: Called with the slots done so far, of `heuristic_slots`.
    """
    results = {}
    for index, (name, heuristic) in enumerate(HEURISTICS.items()):
        task = PowerTask(scenario, seeds)

        def report(slot: int, total: int, index: int = index) -> None:
            progress(index * total + slot)

        run_policy(task, heuristic, report)
        results[name] = DropResults.of([task])
    return results


def heuristic_slots(scenario: PowerScenario) -> int:
    """Return how many slots `run_heuristics` goes through, all drops of a heuristic at once."""
    return len(HEURISTICS) * scenario.slots


def scores(results: dict[str, DropResults]) -> dict[str, float]:
    """Return the score of each policy: 0 is random, 100 the genie, on these very drops.

    Raises:
        DataError: Both are equal.
    """
    means = {name: result.means()[JUDGED_BY] for name, result in results.items()}
    random, genie = means[Random.name], means[Genie.name]
    return {name: float(normalised_score(value, random, genie)) for name, value in means.items()}
