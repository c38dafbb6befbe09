"""Scores of policies on the same episodes: 0 is what `random` does, 100 what the expert does.

On every episode a policy gains something over `random`, in the scored figure of merit and in the
direction that is better. A score is 100 times the interquartile mean of a policy's gains over that of the
expert's. Since all policies meet the same users, fading and traffic, what makes an episode hard cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from networld_runtime.errors import DataError
from networld_training.evaluation.statistics import (
    Estimate,
    bootstrap,
    improvement_probability,
    interquartile_mean,
    interval,
)
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.tasks.spec import TaskSpec

RANDOM = "random"

Metrics = Mapping[str, FloatArray]
"""Figures of merit by name, each `[E]`."""


@dataclass(frozen=True)
class PairedComparison:
    """A policy beside another one on the same episodes.

    Attributes:
        policy: The one.
        against: The other.
        difference: Interquartile mean of the differences, in points of the score.
        improvement: Probability that the one does better on an episode; equal results count half.
    """

    policy: str
    against: str
    difference: Estimate
    improvement: Estimate


class ScoredEpisodes:
    """The gains of several policies on the same episodes, and what follows from them.

    Args:
        subject: What the episodes are, for errors.
        spec: The task.
        metrics: What each policy achieved, by name; `random` and the task's expert are among them.
        strata: Stratum of each episode, its network say `[E]`.
        seed: Seed of the bootstrap.

    Raises:
        DataError: A result is not finite, or the expert gains nothing over `random`.
    """

    def __init__(
        self,
        subject: str,
        spec: TaskSpec,
        metrics: Mapping[str, Metrics],
        strata: Sequence[int],
        seed: int,
    ) -> None:
        scored = spec.kpis[0]
        values = np.stack([one[scored.name] for one in metrics.values()])
        self.names = list(metrics)
        broken = [
            f"{scored.name} of {name} is not finite in {np.sum(~finite)} episodes"
            for name, finite in zip(self.names, np.isfinite(values), strict=True)
            if not finite.all()
        ]
        if broken:
            raise DataError(subject, broken)
        sign = 1 if scored.higher_is_better else -1
        self._gains = sign * (values - values[self.names.index(RANDOM)])
        self._expert = self.names.index(spec.expert)
        self._strata, self._seed = tuple(strata), seed
        self._gap = float(interquartile_mean(self._gains[self._expert]))
        if self._gap <= 0:
            raise DataError(
                subject,
                f"on these {len(strata)} episodes the expert {spec.expert} is no better than "
                f"{RANDOM} ({scored.name} {sign * self._gap:+.3g}), so that there is no score; "
                "take more episodes, or longer ones",
            )

    def scores(self) -> dict[str, Estimate]:
        """Return the score of each policy; `random` has 0 and the expert 100 by definition."""
        value = 100 * (interquartile_mean(self._gains) / self._gap)

        def resampled(episodes: IntArray) -> FloatArray:
            means = interquartile_mean(self._gains[:, episodes])
            return _points(means, means[self._expert])

        samples = self._bootstrap(resampled)
        return {
            name: Estimate(float(value[index]) + 0.0, *interval(samples[index]))
            for index, name in enumerate(self.names)
        }

    def paired(self, against: str) -> list[PairedComparison]:
        """Return how every other policy compares with `against`, in the order of the policies."""
        difference = self._gains - self._gains[self.names.index(against)]
        points = 100 * interquartile_mean(difference) / self._gap
        share = improvement_probability(difference)

        def resampled(episodes: IntArray) -> FloatArray:
            gap = interquartile_mean(self._gains[self._expert, episodes])
            return _points(interquartile_mean(difference[:, episodes]), gap)

        points_samples = self._bootstrap(resampled)
        share_samples = self._bootstrap(lambda drawn: improvement_probability(difference[:, drawn]))
        return [
            PairedComparison(
                policy=name,
                against=against,
                difference=Estimate(float(points[index]), *interval(points_samples[index])),
                improvement=Estimate(float(share[index]), *interval(share_samples[index])),
            )
            for index, name in enumerate(self.names)
            if name != against
        ]

    def _bootstrap(self, statistic: Callable[[IntArray], FloatArray]) -> FloatArray:
        """Return samples `[P, B]`; draws in which the expert gains nothing tell no score, and go."""
        samples = bootstrap(statistic, self._strata, self._seed)
        return samples[:, np.isfinite(samples).all(axis=0)]


def _points(means: FloatArray, gap: FloatArray) -> FloatArray:
    """Return means of gains `[P, B]` in points of the score, NaN where the expert gains nothing."""
    usable = np.where(gap > 0, gap, np.nan)
    return 100 * (means / usable) + 0.0
