"""Training a ceiling: the gradient of what a slot is worth, through everything that the simulator knows.

The policy runs in the simulator and meets the states that it brings about; in each slot its outputs are
pushed towards what would have been worth more. All scenarios of the task take turns, the held-out ones too:
a ceiling has no need to generalise.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import trim_mean  # type: ignore[import-untyped]
from torch import Tensor

from networld_runtime.errors import check_values
from networld_training.ceilings.model import CeilingModel
from networld_training.ceilings.objectives import find_objective
from networld_training.ceilings.policy import CeilingPolicy
from networld_training.environments.rollout import run_policy
from networld_training.evaluation.scores import RANDOM, Metrics, ScoredEpisodes
from networld_training.tasks.base import Policy, Task
from networld_training.tasks.ceiling import CEILING, network_numbers, with_ceiling
from networld_training.tasks.network import Network
from networld_training.tasks.registry import find_task
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import TaskSpec

# Keeps these episodes apart from those that policies are judged on and trained on.
SEED_DOMAIN = 0x6365696C
LARGEST_GRADIENT = 1.0
AVERAGING = 0.995
WARM_UP_SHARE = 0.03


@dataclass(frozen=True)
class CeilingSettings:
    """How a ceiling is trained.

    Attributes:
        steps: Optimiser steps.
        episodes: Episodes that run at once in each network.
        slots: Slots of one optimiser step.
        learning_rate: Highest learning rate; it falls with a cosine.
        validate_every: Steps between two validations; the best weights are kept.
        validation_episodes: Episodes of each network in a validation.
        seed: Seed of weights and episodes.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    steps: int = 12_000
    episodes: int = 24
    slots: int = 4
    learning_rate: float = 2e-3
    validate_every: int = 1000
    validation_episodes: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        names = ("steps", "episodes", "slots", "validate_every", "validation_episodes")
        checks = [(name, getattr(self, name) >= 1, "at least 1") for name in names]
        checks.append(("learning_rate", self.learning_rate > 0, "a positive number"))
        checks.append(("seed", self.seed >= 0, "0 or more"))
        check_values("ceiling", self, checks)


@dataclass
class _Course:
    """The episodes that run in one network."""

    network: Network
    task: Task | None = None
    before: Tensor | None = None


@dataclass(frozen=True)
class _Exam:
    """The episodes of a scenario that validations run on, and what `random` and the expert achieve there."""

    scenario: str
    spec: TaskSpec
    tasks: Sequence[Task]
    references: Mapping[str, Metrics]

    def score(self, metrics: Metrics) -> float:
        """Return the score of a policy with these results."""
        strata = [number for number, task in enumerate(self.tasks) for _ in range(task.shape[0])]
        metrics_by_policy = {**self.references, CEILING: metrics}
        scored = ScoredEpisodes(self.scenario, self.spec, metrics_by_policy, strata, seed=0)
        return scored.scores()[CEILING].value


class CeilingTrainer:
    """Trains the ceiling of one task.

    Args:
        task: Name of the task.
        settings: How it is trained.
    """

    def __init__(self, task: str, settings: CeilingSettings) -> None:
        self.settings = settings
        self.entry = find_task(task)
        self.objective = find_objective(task)
        torch.manual_seed(settings.seed)
        self.scenarios = with_ceiling(self.entry.scenarios.values())
        self.numbers = network_numbers(self.scenarios)
        self.model = CeilingModel(
            self.objective.input_size, len(self.numbers), self.objective.output_size
        )
        with torch.no_grad():
            self.model.output.bias.copy_(torch.tensor(self.objective.initial_bias))
        self.average = copy.deepcopy(self.model)
        self._random = np.random.default_rng((SEED_DOMAIN, settings.seed))
        # By scenario, so that those of one network are met as often as those of nine.
        self._courses = [
            itertools.cycle([_Course(network) for network in scenario.networks])
            for scenario in self.scenarios
        ]
        self._exams = {scenario.name: self._exam(scenario) for scenario in self.scenarios}

    def run(self, report: Callable[[int, str], None]) -> Mapping[str, Tensor]:
        """Train and return the best weights; `report` gets the steps done and a note."""
        settings = self.settings
        optimiser = torch.optim.AdamW(self.model.parameters(), settings.learning_rate)
        best, weights = -np.inf, self.average.state_dict()
        order: list[int] = []
        for step in range(1, settings.steps + 1):
            if not order:
                order = self._random.permutation(len(self._courses)).tolist()
            done = step / settings.steps
            rate = min(done / WARM_UP_SHARE, 1) * (1 + np.cos(np.pi * done)) / 2
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * rate
            optimiser.zero_grad()
            self._loss(next(self._courses[order.pop()])).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
            optimiser.step()
            self._follow(step)
            if step % settings.validate_every == 0 or step == settings.steps:
                scores = self.validate()
                # Without the extremes: where the expert gains little over random, scores are large.
                score = float(trim_mean(list(scores.values()), 0.25))
                if score > best:
                    best, weights = score, copy.deepcopy(self.average.state_dict())
                listed = " ".join(f"{name} {value:.0f}" for name, value in scores.items())
                report(step, f"best {best:.1f}; {listed}")
            else:
                report(step, f"best {best:.1f}")
        return weights

    def validate(self) -> dict[str, float]:
        """Return the score of the averaged weights by scenario."""
        policy = CeilingPolicy(self.objective, self.average, self.numbers)
        return {
            name: exam.score(self._metrics(exam.tasks, policy))
            for name, exam in self._exams.items()
        }

    def _loss(self, course: _Course) -> Tensor:
        """Let a few slots pass in one network and return what they cost."""
        task = course.task
        if task is None or task.slot >= course.network.slots:
            seeds = self._random.integers(2**31, size=self.settings.episodes).tolist()
            task = course.task = self.entry.make(course.network, seeds)
            course.before = None
            task.reset()
        neighbours = torch.from_numpy(task.neighbours)
        losses = []
        for _ in range(min(self.settings.slots, course.network.slots - task.slot)):
            observation = torch.from_numpy(self.objective.observe(task))
            output = self.model(
                observation, course.before, neighbours, self.numbers[course.network]
            )
            losses.append(self.objective.loss(task, output))
            task.step(self.objective.decide(task, output.detach().numpy()))
            course.before = observation
        return torch.stack(losses).mean()

    def _follow(self, step: int) -> None:
        """Move the averaged weights towards the present ones, at first faster."""
        kept = min(AVERAGING, step / (step + 10))
        pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
        with torch.no_grad():
            for average, present in pairs:
                average.lerp_(present, 1 - kept)

    def _exam(self, scenario: Scenario) -> _Exam:
        """Return episodes in all networks of a scenario with what `random` and the expert achieve."""
        episodes = self.settings.validation_episodes
        tasks = [
            self.entry.make(network, self._random.integers(2**31, size=episodes).tolist())
            for network in scenario.networks
        ]
        references = {
            name: self._metrics(tasks, self.entry.heuristics[name]())
            for name in (RANDOM, self.entry.spec.expert)
        }
        return _Exam(scenario.id, self.entry.spec, tasks, references)

    def _metrics(self, tasks: Sequence[Task], policy: Policy[Any]) -> Metrics:
        """Return the figures of merit of a policy in all episodes, by name."""
        metrics = [run_policy(task, policy) for task in tasks]
        return {name: np.concatenate([one[name] for one in metrics]) for name in metrics[0]}
