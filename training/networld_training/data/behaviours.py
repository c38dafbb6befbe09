"""Behaviour policies of the logged data: heuristics, mixed cell by cell and disturbed.

A mixture of several sub-optimal behaviours teaches more than the expert alone (arXiv 2311.11423), and a
classifier can only rank actions that somebody tried. So each cell of each episode gets a heuristic, a jitter
of its own size, and a share of slots in which it acts at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from networld_runtime.contract import ActionBins, FloatArray
from networld_training.tasks.base import Rule
from networld_training.tasks.power import PowerTask
from networld_training.tasks.power.heuristics import POWER_HEURISTICS

Array = np.ndarray[Any, Any]

JITTER_DB = (0.0, 2.0, 6.0)
RANDOM_SHARE = (0.0, 0.1, 0.3)


@dataclass(frozen=True)
class Quality:
    """A mixture of behaviours; `weights` maps a heuristic's name to its probability."""

    name: str
    weights: Mapping[str, float]
    disturbed: bool


QUALITIES = {
    quality.name: quality
    for quality in (
        Quality("random", {"random-bins": 1.0}, disturbed=False),
        Quality("medium", {"full": 0.5, "price-mean": 0.5}, disturbed=True),
        Quality("expert", {"wmmse-pf": 1.0}, disturbed=False),
        Quality(
            "mixed",
            {
                "random-bins": 0.2,
                "full": 0.15,
                "price-mean": 0.35,
                "price-each": 0.15,
                "wmmse-pf": 0.15,
            },
            disturbed=True,
        ),
    )
}


class BehaviourPolicy:
    """Acts for all cells of a batch of episodes, each by its own behaviour.

    Args:
        quality: The mixture.
        shape: Episodes and cells `(E, K)`.
        bins: Bounds of the action.
        random: Draws who does what; independent of the radio's streams.
    """

    def __init__(
        self,
        quality: Quality,
        shape: tuple[int, int],
        bins: ActionBins,
        random: np.random.Generator,
    ) -> None:
        names = list(quality.weights)
        self.behaviours: Array = random.choice(
            len(names), size=shape, p=list(quality.weights.values())
        )
        self.jitter_db = random.choice(JITTER_DB, size=shape) * quality.disturbed
        self.random_share = random.choice(RANDOM_SHARE, size=shape) * quality.disturbed
        self.policies: list[Rule[PowerTask]] = [POWER_HEURISTICS[name]() for name in names]
        self.bins = bins
        self.random = random

    def act(self, task: PowerTask) -> FloatArray:
        """Return the actions `[E, K]` of this slot."""
        choices = np.stack([policy.act(task) for policy in self.policies])
        action = np.take_along_axis(choices, self.behaviours[None], axis=0)[0]
        jittered = action + self.jitter_db * self.random.standard_normal(action.shape)
        off = self.bins.low if self.bins.off is None else self.bins.off
        action = np.where(
            action < self.bins.low, action, np.where(jittered < self.bins.low, off, jittered)
        )
        explored = self.random.uniform(self.bins.low, self.bins.high, action.shape)
        explored = np.where(self.random.random(action.shape) < 1 / 3, off, explored)
        explore = self.random.random(action.shape) < self.random_share
        action = np.where(explore, explored, np.minimum(action, self.bins.high))
        return action.astype(np.float32)
