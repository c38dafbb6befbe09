"""Variants on the same episodes, for every training seed; what was judged before is not judged again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.adaptation import AdaptationSettings
from networld_runtime.errors import DataError
from networld_runtime.planner_settings import PlannerSettings
from networld_training.evaluation.bundle_policy import BundlePolicy, load_task_bundle
from networld_training.evaluation.checkpoint_policy import load_policy
from networld_training.evaluation.conditions import Conditions
from networld_training.evaluation.episodes import draw_seeds
from networld_training.evaluation.policies import Contender, find_contenders
from networld_training.evaluation.results import ScenarioResult
from networld_training.evaluation.scores import Metrics
from networld_training.evaluation.workers import Work, run_all
from networld_training.experiments.adapted_policy import Adaptation, AdaptedPolicy
from networld_training.experiments.models import Made, Workshop
from networld_training.experiments.plan import Experiment, Variant
from networld_training.experiments.results_book import ResultsBook, Subject
from networld_training.tasks.base import Rule
from networld_training.tasks.registry import LEARNING
from networld_training.tasks.scenario import Scenario

EPISODE_SEED = 0
KEPT_TOGETHER = 2
"""Pieces of work for each of several processes after which results are written: little is lost then."""


@dataclass(frozen=True)
class VariantContender(Contender):
    """A variant with the model of one training seed.

    Attributes:
        variant: How it acts.
    """

    variant: Variant | None = None

    def make(self) -> Rule[Any]:
        """Return a fresh policy.

        Raises:
            DataError: The checkpoint is missing, damaged or without the task.
            BundleError: The bundle that it adapts or plans with is missing, damaged or of another contract.
        """
        assert self.variant is not None  # noqa: S101
        if self.variant.adaptation.episodes:
            return AdaptedPolicy(Path(self.text), self.task, self.variant.adaptation)
        planner = self.variant.planner_in(self.task)
        if self.kind == "bundle":
            bundle = load_task_bundle(Path(self.text), self.task)
            return BundlePolicy(bundle, planner, messages=self.variant.messages)
        return load_policy(Path(self.text), self.task, planner, self.variant.messages)


@dataclass(frozen=True)
class Piece:
    """One policy on the episodes of one network.

    Attributes:
        work: What is to be done.
        subject: Whose result it is.
        question: What the result depends on beside the policy.
        note: The same for people.
        made: Name and training seed of the model that it takes; None if it takes none.
    """

    work: Work
    subject: Subject
    question: Mapping[str, Any]
    note: str
    made: Made | None = None


class Judging:
    """What an experiment asks, and what is known of it.

    Args:
        experiment: What is compared.
        workshop: Where the models are.
        baselines: Folder of the learned baselines, `<task>-<baseline>-<training seed>.safetensors`.
        book: Where results are kept.
    """

    def __init__(
        self, experiment: Experiment, workshop: Workshop, baselines: Path, book: ResultsBook
    ) -> None:
        self.book = book
        self._plans = [
            _Plan(experiment, workshop, baselines, scenario) for scenario in experiment.scenarios
        ]
        self.missing = [
            piece
            for plan in self._plans
            for piece in plan.pieces()
            if book.find(piece.subject, piece.question) is None
        ]

    @property
    def needed(self) -> list[Made]:
        """Names and training seeds of the models that are to be judged yet."""
        return list(dict.fromkeys(one.made for one in self.missing if one.made is not None))

    def run(self, jobs: int, progress: Callable[[int], None]) -> list[ScenarioResult]:
        """Return what rules and variants achieved, scenario by scenario.

        Results of a variant are those of all training seeds one after the other, and those of a rule as
        often repeated, so that all of them are paired.

        Args:
            jobs: Processes that work at the same time; results do not depend on it.
            progress: Called with the percent that is done.

        Raises:
            NetWorldError: A policy cannot act, or there is no score.
        """
        total = max(sum(piece.work.effort for piece in self.missing), 1)
        done = 0
        together = 1 if jobs == 1 else KEPT_TOGETHER * jobs
        for start in range(0, len(self.missing), together):
            some = self.missing[start : start + together]
            advance = partial(_advance, progress, done, total)
            found = run_all([piece.work for piece in some], jobs, advance)
            for piece, metrics in zip(some, found, strict=True):
                self.book.keep(piece.subject, piece.question, metrics, piece.note)
            done += sum(piece.work.effort for piece in some)
        self.missing.clear()
        return [plan.result(self.book) for plan in self._plans]


def _advance(progress: Callable[[int], None], before: int, total: int, done: int) -> None:
    progress(100 * (before + done) // total)


class _Plan:
    """One scenario of an experiment: who acts there on which episodes."""

    def __init__(
        self, experiment: Experiment, workshop: Workshop, baselines: Path, scenario: Scenario
    ) -> None:
        self.experiment, self.scenario = experiment, scenario
        self.workshop, self.baselines = workshop, baselines
        self.seeds = draw_seeds(experiment.episodes, EPISODE_SEED, len(scenario.networks))
        self.rules = [one for one in find_contenders(scenario.task, ()) if one.fits(scenario)]
        self.variants = [
            one
            for one in experiment.variants
            if one.baseline or scenario.task in experiment.models[one.model].tasks
        ]

    def pieces(self) -> Iterator[Piece]:
        """Yield all pieces of work."""
        for rule in self.rules:
            yield from self._rule(rule)
        for variant in self.variants:
            for seed in self.experiment.training_seeds:
                yield from self._variant(variant, seed)

    def result(self, book: ResultsBook) -> ScenarioResult:
        """Return all results, which are known by now."""
        seeds = self.experiment.training_seeds
        metrics = {
            one.name: _joined([self._found(book, list(self._rule(one)))] * len(seeds))
            for one in self.rules
        }
        metrics |= {
            one.name: _joined([self._found(book, list(self._variant(one, seed))) for seed in seeds])
            for one in self.variants
        }
        contenders = [*self.rules, *(self._contender(one, seeds[0]) for one in self.variants)]
        return ScenarioResult(
            self.scenario, contenders, metrics, self.seeds * len(seeds), EPISODE_SEED
        )

    def _rule(self, rule: Contender) -> Iterator[Piece]:
        subject = Subject(f"{self.scenario.task}-rules", {})
        yield from self._on_networks(rule, subject, {"rule": rule.text}, rule.name)

    def _variant(self, variant: Variant, seed: int) -> Iterator[Piece]:
        settings: dict[str, PlannerSettings | Conditions | Adaptation] = {
            "planner": variant.planner_in(self.scenario.task),
            "messages": variant.messages,
            "adaptation": variant.adaptation,
        }
        acting = {name: _switched_on(asdict(one)) for name, one in settings.items()}
        if variant.adaptation.episodes and not variant.adaptation.whole:
            learning = LEARNING[self.scenario.task]
            acting["adapter"] = asdict(
                AdaptationSettings(learning.adaptation_steps, learning.adaptation_rate)
            )
        contender = self._contender(variant, seed)
        if variant.baseline:
            name = f"{self.scenario.task}-{variant.baseline}-{seed}"
            subject, made = Subject(name, {}), None
        else:
            plan = self.experiment.models[variant.model]
            bundled = plan.bundle is not None
            name = variant.model if bundled else f"{variant.model}-{seed}"
            subject = Subject(name, plan.origin(seed))
            made = None if bundled else (variant.model, seed)
        yield from self._on_networks(contender, subject, acting, variant.name, made)

    def _on_networks(
        self,
        contender: Contender,
        subject: Subject,
        acting: Mapping[str, Any],
        name: str,
        made: Made | None = None,
    ) -> Iterator[Piece]:
        for network, drawn in self.scenario.by_network(self.seeds):
            seeds = tuple(int(seed) for seed in drawn)
            question = {
                "scenario": self.scenario.digest(),
                "network": asdict(network),
                "seeds": seeds,
                "acting": acting,
            }
            note = f"{name} in {self.scenario.id}, {len(seeds)} episodes"
            yield Piece(Work(contender, network, seeds), subject, question, note, made)

    def _contender(self, variant: Variant, seed: int) -> Contender:
        """Return who acts for a variant."""
        task = self.scenario.task
        if variant.baseline:
            path = self.baselines / f"{task}-{variant.baseline}-{seed}.safetensors"
            return Contender(task, str(path), "learned", variant.name, "mean-field")
        bundle = self.experiment.models[variant.model].bundle
        return VariantContender(
            task,
            str(bundle or self.workshop.checkpoint(variant.model, seed)),
            "checkpoint" if bundle is None else "bundle",
            variant.name,
            "local" if variant.messages.deaf else "mean-field",
            variant=variant,
        )

    def _found(self, book: ResultsBook, pieces: list[Piece]) -> Metrics:
        """Return the results of a policy on all networks, in the order of the episodes."""
        parts: list[Metrics] = []
        ran: list[int] = []
        for piece in pieces:
            found = book.find(piece.subject, piece.question)
            if found is None:
                raise DataError(piece.note, "no result; run the experiment again")
            parts.append(found)
            ran += piece.work.seeds
        order = [ran.index(seed) for seed in self.seeds]
        return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def _switched_on(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are not off, so that an option that comes to be changes no older question."""
    return {name: value for name, value in values.items() if value}


def _joined(parts: list[Metrics]) -> Metrics:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
