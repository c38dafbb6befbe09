"""What policies achieve on the drops of a demonstration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from networld_training.demo.scenes.scene import Scene, Seen
from networld_training.environments.rollout import Transition, run_policy
from networld_training.evaluation.scores import Metrics, ScoredEpisodes
from networld_training.evaluation.statistics import Estimate
from networld_training.tasks.base import Rule, Task
from networld_training.tasks.entry import TaskEntry
from networld_training.tasks.network import Network
from networld_training.tasks.spec import Information, TaskSpec


class Watch:
    """Keeps what is seen of a batch of episodes.

    Args:
        task: The episodes.
        scene: What is to be seen of them.
    """

    def __init__(self, task: Task, scene: Scene) -> None:
        self.task = task
        self._scene = scene
        self._kept: list[Seen] = []

    def slot(self, details: Seen) -> Seen:
        """Look at a slot that is just over, by its details `[E, K]`; return what is seen `[E, N]`."""
        seen = self._scene.look(self.task, details)
        self._kept.append(seen)
        return seen

    def seen(self) -> Seen:
        """Return what was seen so far `[E, slots, N]`."""
        return {
            name: np.stack([slot[name] for slot in self._kept], axis=1) for name in self._kept[0]
        }


@dataclass(frozen=True)
class DropResults:
    """What one policy achieved.

    Attributes:
        information: What the policy knows.
        metrics: The task's metrics, each `[drops]`.
        seen: What was seen of the drops `[drops, slots, N]`.
    """

    information: Information
    metrics: Metrics
    seen: Seen

    @classmethod
    def of(cls, information: Information, watches: Sequence[Watch]) -> DropResults:
        """Collect the results of episodes that are over."""
        metrics = [watch.task.metrics() for watch in watches]
        seen = [watch.seen() for watch in watches]
        return cls(
            information,
            {name: np.concatenate([one[name] for one in metrics]) for name in metrics[0]},
            {name: np.concatenate([one[name] for one in seen]) for name in seen[0]},
        )

    def means(self) -> dict[str, float]:
        """Return the mean of each metric over the drops."""
        return {name: float(values.mean()) for name, values in self.metrics.items()}


def fitting_rules(entry: TaskEntry, network: Network) -> dict[str, Rule[Task]]:
    """Return the task's rules that can act in a network, by name."""
    rules = {name: make() for name, make in entry.heuristics.items()}
    return {
        name: rule for name, rule in rules.items() if getattr(rule, "fits", lambda _: True)(network)
    }


def run_rules(
    entry: TaskEntry,
    scene: Scene,
    network: Network,
    seeds: Sequence[int],
    progress: Callable[[int], None],
) -> dict[str, DropResults]:
    """Run every rule on the same drops: the same users, fading and traffic.

    Args:
        entry: The task.
        scene: What is to be seen.
        network: The network.
        seeds: Seeds of the drops.
        progress: Called with the slots done, `network.slots` for each of `fitting_rules`.
    """
    results = {}
    for index, (name, rule) in enumerate(fitting_rules(entry, network).items()):
        watch = Watch(entry.make(network, seeds), scene)
        before = index * network.slots

        def show(slot: int, _: int, before: int = before) -> None:
            progress(before + slot)

        def keep(transition: Transition, watch: Watch = watch) -> None:
            watch.slot(transition.outcome.details)

        run_policy(watch.task, rule, show, keep)
        results[name] = DropResults.of(rule.information, [watch])
    return results


def score_drops(
    spec: TaskSpec, results: Mapping[str, DropResults], seed: int
) -> dict[str, Estimate]:
    """Return the score of each policy as `networld evaluate` defines it.

    Raises:
        DataError: The expert is no better than random on these drops.
    """
    metrics = {name: result.metrics for name, result in results.items()}
    drops = len(next(iter(metrics[spec.expert].values())))
    return ScoredEpisodes("demo", spec, metrics, [0] * drops, seed).scores()
