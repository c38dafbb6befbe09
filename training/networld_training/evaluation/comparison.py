"""Policies on the episodes of scenarios: every policy meets the same ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from networld_runtime.errors import ConfigError, check_values
from networld_training.evaluation.episodes import draw_seeds
from networld_training.evaluation.policies import Contender, find_contenders, split_name
from networld_training.evaluation.results import ScenarioResult
from networld_training.evaluation.scores import Metrics
from networld_training.evaluation.workers import Work, run_all
from networld_training.tasks.registry import TASKS
from networld_training.tasks.scenario import Scenario


@dataclass(frozen=True)
class Comparison:
    """What is compared on which episodes.

    Attributes:
        scenarios: Where.
        policies: Policies beside the tasks' rules, as `find_contenders` reads them.
        only: Take no other rules than the references.
        mode: How bundles and checkpoints choose their actions; None leaves it to their own settings.
        episodes: Number of episodes in each scenario.
        reference_factor: Reference scenarios have so many times more episodes.
        seed: Seed that they are drawn from.
        jobs: Processes that work at the same time; results do not depend on it.
        against: Policy that the others are compared with; None leaves it open.

    Raises:
        ConfigError: A number is out of range; lists all problems.
    """

    scenarios: Sequence[Scenario]
    policies: Sequence[str] = ()
    only: bool = False
    mode: str | None = None
    episodes: int = 64
    reference_factor: int = 1
    seed: int = 0
    jobs: int = 1
    against: str | None = None

    def __post_init__(self) -> None:
        check_values(
            "evaluate",
            self,
            (
                ("episodes", 1 <= self.episodes <= 100_000, "1 to 100000"),
                ("reference_factor", self.reference_factor >= 1, "at least 1"),
                ("seed", self.seed >= 0, "0 or more"),
                ("jobs", 1 <= self.jobs <= 256, "1 to 256"),
            ),
        )

    @cached_property
    def entries(self) -> list[Entry]:
        """Which policies run on which episodes, scenario by scenario.

        A rule that does not fit a scenario is left out there, unless it was asked for.

        Raises:
            NetWorldError: A policy does not load, or one that is needed does not fit a scenario.
        """
        tasks = dict.fromkeys(scenario.task for scenario in self.scenarios)
        found = {
            task: find_contenders(task, self.policies, only=self.only, mode=self.mode)
            for task in tasks
        }
        asked = {split_name(text)[1] for text in self.policies}
        entries, problems = [], []
        for scenario in self.scenarios:
            needed = asked | {TASKS[scenario.task].spec.expert}
            contenders = found[scenario.task]
            fitting = tuple(one for one in contenders if one.fits(scenario))
            problems += [
                f"{one.text} does not fit {scenario.id}; leave one of them out"
                for one in contenders
                if one not in fitting and one.text in needed
            ]
            names = [one.name for one in fitting]
            if self.against is not None and self.against not in names:
                known = ", ".join(names)
                problems.append(
                    f"--against {self.against}: no policy in {scenario.id}; there: {known}"
                )
            factor = self.reference_factor if scenario.axis == "reference" else 1
            seeds = draw_seeds(factor * self.episodes, self.seed, len(scenario.networks))
            entries.append(Entry(scenario, fitting, tuple(seeds)))
        if problems:
            raise ConfigError("evaluate", problems)
        return entries

    def run(self, progress: Callable[[int], None]) -> list[ScenarioResult]:
        """Run all policies and return what they achieved, scenario by scenario.

        Args:
            progress: Called with the percent that is done.

        Raises:
            NetWorldError: A policy does not load or failed, or there is no score.
        """
        works = [work for entry in self.entries for work in entry.works()]
        total = sum(work.effort for work in works)
        metrics = iter(run_all(works, self.jobs, lambda done: progress(100 * done // total)))
        results = [entry.collect(metrics, self.seed) for entry in self.entries]
        for result in results:
            result.scored  # noqa: B018 - so that an error shows before anything is written
        return results


@dataclass(frozen=True)
class Entry:
    """A scenario, the policies that run there, and the seeds of the episodes."""

    scenario: Scenario
    contenders: tuple[Contender, ...]
    seeds: tuple[int, ...]

    def works(self) -> list[Work]:
        """Return the pieces of work, policy by policy, network by network."""
        return [
            Work(one, network, tuple(seeds))
            for one in self.contenders
            for network, seeds in self.scenario.by_network(self.seeds)
        ]

    def collect(self, metrics: Iterator[Metrics], seed: int) -> ScenarioResult:
        """Take what the pieces of work achieved, and put it into the order of the episodes."""
        ran = [seeds for _, seeds in self.scenario.by_network(self.seeds)]
        place = {seed: index for index, seed in enumerate(itertools.chain(*ran))}
        order = [place[seed] for seed in self.seeds]
        together = {}
        for one in self.contenders:
            parts = [next(metrics) for _ in ran]
            together[one.name] = {
                kpi.name: np.concatenate([part[kpi.name] for part in parts])[order]
                for kpi in TASKS[one.task].spec.kpis
            }
        return ScenarioResult(self.scenario, self.contenders, together, self.seeds, seed)
