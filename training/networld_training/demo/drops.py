"""What policies achieve on the drops of a demonstration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from networld_training.environments.rollout import run_policy
from networld_training.evaluation.scores import ScoredEpisodes
from networld_training.evaluation.statistics import Estimate
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.power.contract import POWER_SPEC
from networld_training.tasks.power.heuristics import POWER_HEURISTICS


@dataclass(frozen=True)
class DropResults:
    """What one policy achieved.

    Attributes:
        metrics: The task's metrics, each `[drops]`.
        user_rates: Mean rates of the users in b/s/Hz `[drops, users]`.
    """

    metrics: dict[str, FloatArray]
    user_rates: FloatArray

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
    network: PowerNetwork, seeds: Sequence[int], progress: Callable[[int], None]
) -> dict[str, DropResults]:
    """Run every rule on the same drops: the same users and the same fading.

    Args:
        network: The network.
        seeds: Seeds of the drops.
        progress: Called with the slots done, `network.slots` for each rule.
    """
    results = {}
    for index, (name, make) in enumerate(POWER_HEURISTICS.items()):
        task = PowerTask(network, seeds)
        run_policy(task, make(), _shifted(progress, index * network.slots))
        results[name] = DropResults.of([task])
    return results


def _shifted(progress: Callable[[int], None], before: int) -> Callable[[int, int], None]:
    return lambda slot, _: progress(before + slot)


def score_drops(results: Mapping[str, DropResults], seed: int) -> dict[str, Estimate]:
    """Return the score of each policy as `networld evaluate` defines it.

    Raises:
        DataError: The expert is no better than random on these drops.
    """
    metrics = {name: result.metrics for name, result in results.items()}
    drops = len(next(iter(results.values())).user_rates)
    return ScoredEpisodes("demo", POWER_SPEC, metrics, [0] * drops, seed).scores()
