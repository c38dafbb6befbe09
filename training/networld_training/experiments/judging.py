"""Variants on the same episodes, for every training seed; what was judged before is not judged again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.bundle import file_digest
from networld_runtime.files import write_atomically
from networld_training.evaluation.checkpoint_policy import load_policy
from networld_training.evaluation.episodes import draw_seeds
from networld_training.evaluation.policies import Contender, find_contenders
from networld_training.evaluation.results import ScenarioResult
from networld_training.evaluation.scores import Metrics
from networld_training.evaluation.workers import Work, run_all
from networld_training.experiments.adapted_policy import AdaptedPolicy
from networld_training.experiments.models import Workshop
from networld_training.experiments.plan import Experiment, Variant
from networld_training.tasks.base import Rule
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario

EPISODE_SEED = 0
KEPT_TOGETHER = 4
"""Pieces of work after which results are written, so that an interrupted run loses little."""


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
            BundleError: The bundle that it adapts with is missing, damaged or of another contract.
        """
        assert self.variant is not None  # noqa: S101
        if self.variant.adaptation.episodes:
            return AdaptedPolicy(Path(self.text), self.task, self.variant.adaptation)
        return load_policy(Path(self.text), self.task, self.variant.planner, self.variant.messages)


def judge(
    experiment: Experiment, workshop: Workshop, jobs: int, progress: Callable[[int], None]
) -> list[ScenarioResult]:
    """Return what rules and variants achieved, scenario by scenario.

    Results of a variant are those of all training seeds one after the other, and those of a rule as often
    repeated, so that all of them are paired.

    Args:
        experiment: What is compared.
        workshop: Where the models are.
        jobs: Processes that work at the same time; results do not depend on it.
        progress: Called with the percent that is done.

    Raises:
        NetWorldError: A policy cannot act, or there is no score.
    """
    plans = [_Plan(experiment, workshop, scenario) for scenario in experiment.scenarios]
    missing = [
        (plan, one, network)
        for plan in plans
        for one, network in plan.parts()
        if not plan.file(one, network).exists()
    ]
    total = max(sum(plan.work(one, network).effort for plan, one, network in missing), 1)
    done = 0
    for start in range(0, len(missing), KEPT_TOGETHER):
        some = missing[start : start + KEPT_TOGETHER]
        works = [plan.work(one, network) for plan, one, network in some]
        advance = partial(_advance, progress, done, total)
        for (plan, one, network), metrics in zip(some, run_all(works, jobs, advance), strict=True):
            plan.keep(one, network, metrics)
        done += sum(work.effort for work in works)
    return [plan.result() for plan in plans]


def _advance(progress: Callable[[int], None], before: int, total: int, done: int) -> None:
    progress(100 * (before + done) // total)


class _Plan:
    """One scenario of an experiment: who acts there on which episodes, and what is known already."""

    def __init__(self, experiment: Experiment, workshop: Workshop, scenario: Scenario) -> None:
        self.scenario = scenario
        self.seeds = draw_seeds(experiment.episodes, EPISODE_SEED, len(scenario.networks))
        self.folder = workshop.folder / "results"
        self.repeats = len(experiment.training_seeds)
        self.rules = [one for one in find_contenders(scenario.task, ()) if one.fits(scenario)]
        self.variants = [
            [
                VariantContender(
                    scenario.task,
                    str(workshop.checkpoint(variant.model, seed)),
                    "checkpoint",
                    variant.name,
                    "local" if variant.messages.deaf else "mean-field",
                    variant=variant,
                )
                for seed in experiment.training_seeds
            ]
            for variant in experiment.variants
            if scenario.task in experiment.models[variant.model].tasks
        ]

    def parts(self) -> list[tuple[Contender, Network]]:
        """Return all pieces of work."""
        contenders = [*self.rules, *(one for many in self.variants for one in many)]
        networks = [network for network, _ in self.scenario.by_network(self.seeds)]
        return [(one, network) for one in contenders for network in networks]

    def work(self, one: Contender, network: Network) -> Work:
        """Return a piece of work."""
        return Work(one, network, self._episodes(network))

    def file(self, one: Contender, network: Network) -> Path:
        """Return where its result is kept: named by everything that it depends on."""
        origin = (
            _checkpoint_digest(Path(one.text)) if isinstance(one, VariantContender) else one.text
        )
        variant = asdict(one.variant) if isinstance(one, VariantContender) and one.variant else {}
        variant.pop("name", None)
        key = [self.scenario.digest(), asdict(network), self._episodes(network), origin, variant]
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:32]}.json"

    def keep(self, one: Contender, network: Network, metrics: Metrics) -> None:
        """Write a result."""
        self.folder.mkdir(parents=True, exist_ok=True)
        data = {name: values.tolist() for name, values in metrics.items()}
        write_atomically(self.file(one, network), json.dumps(data).encode())

    def result(self) -> ScenarioResult:
        """Return all results, from their files."""
        metrics = {one.name: _joined([self._read(one)] * self.repeats) for one in self.rules}
        metrics |= {
            many[0].name: _joined([self._read(one) for one in many]) for many in self.variants
        }
        contenders = [*self.rules, *(many[0] for many in self.variants)]
        return ScenarioResult(
            self.scenario, contenders, metrics, self.seeds * self.repeats, EPISODE_SEED
        )

    def _read(self, one: Contender) -> Metrics:
        parts, ran = [], []
        for network, seeds in self.scenario.by_network(self.seeds):
            parts.append(json.loads(self.file(one, network).read_text()))
            ran += list(seeds)
        order = [ran.index(seed) for seed in self.seeds]
        return {
            name: np.concatenate([np.array(part[name]) for part in parts])[order]
            for name in parts[0]
        }

    def _episodes(self, network: Network) -> tuple[int, ...]:
        found = dict(self.scenario.by_network(self.seeds))
        return tuple(int(seed) for seed in found[network])


@cache
def _checkpoint_digest(path: Path) -> str:
    """Return the digest of a checkpoint, which does not change while it is judged."""
    return file_digest(path)


def _joined(parts: list[Metrics]) -> Metrics:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
