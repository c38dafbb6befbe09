"""The best way to choose an action that time allows, by the bundle's scores and by what runs take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from networld_runtime.bundle import Bundle, Score
from networld_runtime.contract import FloatArray
from networld_runtime.errors import BundleError
from networld_runtime.noise_source import NoiseSource
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.realtime import Estimate, monotonic_s
from networld_runtime.ways import Given, Inputs, Plan, Way, make_way

FIRST_RUNS = 5
"""Runs of each way before the first slot; the longest counts, the very first not."""


def best_way(bundle: Bundle, settings: PlannerSettings) -> Way:
    """Return the way that the settings ask for, or all that the bundle has scores of.

    Raises:
        BundleError: A graph is missing, does not load or does not fit the contract, or there are no scores.
    """
    return Anytime(bundle, settings) if settings.anytime else make_way(bundle, settings)


@dataclass
class Option:
    """A way that may be taken.

    Attributes:
        score: How good it is.
        way: The way.
        takes: How long it takes.
    """

    score: Score
    way: Way
    takes: Estimate = field(default_factory=Estimate)


class Anytime:
    """Takes the way of the best score that will be done in time; the fastest where none will.

    A way that is slower than a better one is never worth taking and is dropped at the start. What runs
    take is measured on this computer before the first slot, and followed from then on.

    Args:
        bundle: A checked bundle with scores.
        settings: Guidance scale, temperature and solver; the scores name the rest.

    Raises:
        BundleError: As for `best_way`.
    """

    elastic = True

    def __init__(self, bundle: Bundle, settings: PlannerSettings) -> None:
        if not bundle.scores:
            raise BundleError(
                str(bundle.path),
                "has no scores to choose a way by: add them with `networld bundle score`, or plan without "
                "`anytime`",
            )
        self.options: list[Option] = []
        for score in sorted(bundle.scores, key=lambda one: -one.value):
            option = Option(score, make_way(bundle, _as_scored(settings, score)))
            _measure(option, bundle)
            if all(option.takes.duration_s < better.takes.duration_s for better in self.options):
                self.options.append(option)

    def choose(
        self, now: Inputs, given: Given, noise: NoiseSource, last: Plan | None
    ) -> tuple[FloatArray, Plan | None]:
        """Return the probabilities of the action `[A]` and the plan that they were read from."""
        begin_s = monotonic_s()
        left_s = given.deadline_s - begin_s
        in_time = (option for option in self.options if option.takes.duration_s <= left_s)
        option = next(in_time, None) or min(self.options, key=lambda one: one.takes.duration_s)
        try:
            return option.way.choose(now, given, noise, last)
        finally:  # a run that was ended took long as well
            option.takes.took(monotonic_s() - begin_s)
            for other in self.options:
                if other is not option:
                    other.takes.rested()


def _as_scored(settings: PlannerSettings, score: Score) -> PlannerSettings:
    return replace(
        settings,
        mode=score.mode,
        denoiser=score.denoiser,
        steps=score.steps,
        candidates=score.candidates,
        warm_start_level=0.0,
        anytime=False,
    )


def _measure(option: Option, bundle: Bundle) -> None:
    contract = bundle.contract
    now = {
        "in_latent": np.zeros((1, contract.latent_size), dtype=np.float32),
        "in_mean_field": np.zeros((1, contract.mean_field_size), dtype=np.float32),
    }
    given = Given(np.zeros(bundle.adapter_size, dtype=np.float32))
    noise = NoiseSource(0)
    for run in range(FIRST_RUNS):
        begin_s = monotonic_s()
        option.way.choose(now, given, noise, None)
        if run:
            option.takes = Estimate(max(option.takes.usual_s, monotonic_s() - begin_s))
