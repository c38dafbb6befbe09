"""What an evaluation found, scenario by scenario, and its form as rows of plain data."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from networld_training.evaluation.policies import Contender
from networld_training.evaluation.scores import RANDOM, Metrics, PairedComparison, ScoredEpisodes
from networld_training.evaluation.statistics import Estimate
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import INFORMATION, Information, TaskSpec

_COLUMNS = ("task", "scenario", "policy", "information", "score_iqm", "score_low", "score_high")


@dataclass(frozen=True)
class Row:
    """What one policy achieved in one scenario.

    Attributes:
        task: Name of the task.
        scenario: Id of the scenario.
        policy: Name of the policy.
        information: What it knows.
        score: Interquartile mean of the scores and its interval.
        kpis: Mean of each figure of merit over the episodes, native units; None where it is not known.
        episodes: Number of episodes.
        seed: Seed that they were drawn from.
    """

    task: str
    scenario: str
    policy: str
    information: Information
    score: Estimate
    kpis: Mapping[str, float | None]
    episodes: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain JSON data."""
        return {
            "task": self.task,
            "scenario": self.scenario,
            "policy": self.policy,
            "information": self.information,
            "score": {"iqm": self.score.value, "low": self.score.low, "high": self.score.high},
            "kpis": dict(self.kpis),
            "episodes": self.episodes,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class ScenarioResult:
    """What all policies achieved in one scenario, on the same episodes.

    Attributes:
        scenario: The scenario.
        contenders: The policies; `random` and the task's expert are among them.
        metrics: Figures of merit of each policy, by name.
        seeds: Seeds of the episodes.
        seed: Seed that they were drawn from.

    Raises:
        DataError: There is no score, as for `ScoredEpisodes`.
    """

    scenario: Scenario
    contenders: Sequence[Contender]
    metrics: Mapping[str, Metrics]
    seeds: Sequence[int]
    seed: int

    @property
    def spec(self) -> TaskSpec:
        """The task's interface."""
        return TASKS[self.scenario.task].spec

    @cached_property
    def scored(self) -> ScoredEpisodes:
        """The scored figure of merit of all episodes."""
        networks = len(self.scenario.networks)
        strata = [seed % networks for seed in self.seeds]
        return ScoredEpisodes(self.scenario.id, self.spec, self.metrics, strata, self.seed)

    @cached_property
    def rows(self) -> list[Row]:
        """One row for each policy, in the order of the policies."""
        scores = self.scored.scores()
        return [
            Row(
                task=self.scenario.task,
                scenario=self.scenario.id,
                policy=one.name,
                information=one.information,
                score=scores[one.name],
                kpis={
                    kpi.name: _finite(float(self.metrics[one.name][kpi.name].mean()))
                    for kpi in self.spec.kpis
                },
                episodes=len(self.seeds),
                seed=self.seed,
            )
            for one in self.contenders
        ]

    def bar(self) -> str:
        """Return the best rule, by score, among those that know the mean field at most.

        That is what a cell of NetWorld knows. The ceiling is no rule. Without any, it is `random`.
        """
        allowed = INFORMATION[: INFORMATION.index("mean-field") + 1]
        scores = {row.policy: row.score.value for row in self.rows}
        rules = [
            one.name for one in self.contenders if one.kind == "rule" and one.information in allowed
        ]
        return max(rules, key=scores.__getitem__, default=RANDOM)

    def paired(self, against: str | None = None) -> list[PairedComparison]:
        """Return how all other policies compare with one of them; None is the bar."""
        return self.scored.paired(against or self.bar())


def is_ordered(rows: Iterable[Row], names: Sequence[str]) -> bool:
    """Return whether scores rise in the order of `names` without any two intervals overlapping.

    Args:
        rows: Rows of one scenario.
        names: Policies, the worst first.
    """
    scores = {row.policy: row.score for row in rows}
    ordered = [scores[name] for name in names]
    return all(one.high < other.low for one, other in pairwise(ordered))


def results_json(
    results: Sequence[ScenarioResult],
    against: str | None = None,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> str:
    """Return the rows, paired comparisons and scenarios of an evaluation, and more about it, as JSON."""
    data = {
        **about,
        "seed": results[0].seed,
        "scenarios": {result.scenario.id: result.scenario.digest() for result in results},
        "rows": [row.to_json() for result in results for row in result.rows],
        "paired": [
            _paired_json(result.scenario, one)
            for result in results
            for one in result.paired(against)
        ],
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def results_csv(results: Sequence[ScenarioResult]) -> str:
    """Return the rows of an evaluation as CSV; a figure of merit of another task is left empty."""
    kpis = {kpi.name: None for result in results for kpi in result.spec.kpis}
    text = io.StringIO()
    table = csv.DictWriter(text, (*_COLUMNS, *kpis, "episodes", "seed"), lineterminator="\n")
    table.writeheader()
    for row in (row for result in results for row in result.rows):
        data = row.to_json()
        scores = {f"score_{name}": value for name, value in data.pop("score").items()}
        table.writerow({**data.pop("kpis"), **data, **scores})
    return text.getvalue()


def _paired_json(scenario: Scenario, one: PairedComparison) -> dict[str, Any]:
    estimates = {"difference": one.difference, "improvement": one.improvement}
    return {
        "task": scenario.task,
        "scenario": scenario.id,
        "policy": one.policy,
        "against": one.against,
        **{
            name: {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            for name, estimate in estimates.items()
        },
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
