"""The best way that time allows: by the bundle's scores, and by how long runs take."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from networld_runtime import anytime, ways
from networld_runtime.anytime import Anytime, Option
from networld_runtime.bundle import Score
from networld_runtime.errors import BundleError
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings

LATENT = np.zeros(24, dtype=np.float32)
FIELD = np.zeros(17, dtype=np.float32)
SCORES = (
    Score("policy", "full", 2, 3, 90.0, 89.0, 91.0),
    Score("guidance-select", "distilled", 1, 3, 95.0, 94.0, 96.0),
    Score("guidance-select", "full", 3, 3, 99.0, 98.0, 100.0),
    Score("select", "full", 3, 3, 40.0, 39.0, 41.0),
)
TAKES_S = {"policy": 0.1, "plan_1": 1.0, "denoiser": 2.0, "head": 0.5}


class Clock:
    """A clock that only graphs move, each by the time that it takes."""

    def __init__(self, toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        self.takes_s = dict(TAKES_S)
        for module in (anytime, ways):
            monkeypatch.setattr(module, "monotonic_s", lambda: self.now_s)
        for graph in self.takes_s:
            self._slow_down(toy, graph)

    def _slow_down(self, toy: Any, graph: str) -> None:
        answer = getattr(toy, f"_{graph}")

        def slow(*given: Any, **inputs: Any) -> Any:
            self.now_s += (
                0 if given else self.takes_s[graph]
            )  # plan_1 asks head and denoiser itself
            return answer(*given, **inputs)

        object.__setattr__(toy, f"_{graph}", slow)


@pytest.fixture
def clock(toy: Any, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The toy on a clock that only graphs move."""
    return Clock(toy, monkeypatch)


def planner_of(toy: Any) -> Planner:
    object.__setattr__(toy, "scores", SCORES)
    return Planner(toy, PlannerSettings(anytime=True, candidates=5))


def options_of(planner: Planner) -> list[Option]:
    assert isinstance(planner._way, Anytime)
    return planner._way.options


def taken_s(planner: Planner, clock: Clock, time_s: float) -> float:
    """Return how long an action takes if there is so much time."""
    begin_s = clock.now_s
    planner.plan(LATENT, FIELD, deadline_s=begin_s + time_s)
    return round(clock.now_s - begin_s, 6)


def test_the_best_way_that_fits_is_taken(toy: Any, clock: Clock) -> None:
    planner = planner_of(toy)
    full_s = 3 * TAKES_S["denoiser"] + TAKES_S["head"]
    assert taken_s(planner, clock, math.inf) == full_s
    assert taken_s(planner, clock, full_s + 0.01) == full_s
    assert taken_s(planner, clock, full_s - 0.01) == TAKES_S["plan_1"]
    assert taken_s(planner, clock, 0.5) == TAKES_S["policy"]
    assert taken_s(planner, clock, -1.0) == TAKES_S["policy"]


def test_ways_that_are_worse_and_slower_are_dropped(toy: Any, clock: Clock) -> None:
    del clock
    assert [option.score.value for option in options_of(planner_of(toy))] == [99.0, 95.0, 90.0]


def test_a_way_that_became_slow_is_left_until_it_is_forgotten(toy: Any, clock: Clock) -> None:
    planner = planner_of(toy)
    clock.takes_s["plan_1"] = 4.0
    assert taken_s(planner, clock, 3.0) == 4.0  # not known before
    assert taken_s(planner, clock, 3.0) == TAKES_S["policy"]
    clock.takes_s["plan_1"] = 1.0
    slots = [taken_s(planner, clock, 3.0) for _ in range(200)]
    assert slots[:20] == [TAKES_S["policy"]] * 20
    assert slots[-20:] == [1.0] * 20


def test_a_bundle_without_scores_says_what_to_do(toy: Any) -> None:
    with pytest.raises(BundleError, match="no scores to choose a way by: add them with"):
        Planner(replace(toy, scores=()), PlannerSettings(anytime=True))
