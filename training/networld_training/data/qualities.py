"""Qualities of logged data: which rules act, how often, and how much they are disturbed.

A mixture of several sub-optimal behaviours teaches more than the expert alone (arXiv 2311.11423), and a
model can only rank actions that somebody tried: `mixed` is the default. Experts know more than a cell
does, so `expert` data cannot be imitated from what a cell observes; every mixture holds rules that can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from networld_runtime.errors import ConfigError


@dataclass(frozen=True)
class Behaviour:
    """One rule of a mixture.

    Attributes:
        rule: Name of a heuristic of the task.
        weight: Probability that a cell follows it for an episode.
        disturbed: Whether its actions are jittered and now and then replaced by random ones.
    """

    rule: str
    weight: float
    disturbed: bool


@dataclass(frozen=True)
class Quality:
    """A mixture of behaviours; a data set's `behaviours` are indices into it."""

    name: str
    behaviours: tuple[Behaviour, ...]

    @property
    def rules(self) -> tuple[str, ...]:
        """Names of the rules, in the order of their indices."""
        return tuple(behaviour.rule for behaviour in self.behaviours)

    @property
    def weights(self) -> tuple[float, ...]:
        """Probabilities of the rules; their sum is 1."""
        return tuple(behaviour.weight for behaviour in self.behaviours)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Quality:
        """Build a quality from `dataclasses.asdict`'s data.

        Raises:
            KeyError, TypeError: A key is missing or unknown.
        """
        return cls(data["name"], tuple(Behaviour(**one) for one in data["behaviours"]))


def _qualities(
    random: str, medium: Mapping[str, float], expert: str, mixed: Mapping[str, float]
) -> dict[str, Quality]:
    """Return the five qualities of a task from the rules that make them up."""
    both = {rule: (weight / 2, True) for rule, weight in medium.items()} | {expert: (0.5, False)}
    return {
        name: Quality(name, tuple(Behaviour(rule, *how) for rule, how in rules.items()))
        for name, rules in {
            "random": {random: (1.0, False)},
            "medium": {rule: (weight, True) for rule, weight in medium.items()},
            "expert": {expert: (1.0, False)},
            "medium-expert": both,
            "mixed": {rule: (weight, True) for rule, weight in mixed.items()},
        }.items()
    }


QUALITIES: Mapping[str, Mapping[str, Quality]] = {
    "power": _qualities(
        random="random-bins",
        medium={"full": 0.5, "price-mean": 0.5},
        expert="wmmse-pf",
        mixed={
            "random-bins": 0.2,
            "full": 0.15,
            "price-mean": 0.35,
            "price-each": 0.15,
            "wmmse-pf": 0.15,
        },
    ),
    "sched": _qualities(
        random="random",
        medium={"pf": 0.5, "maxweight": 0.5},
        expert="coordinated",
        mixed={
            "random": 0.15,
            "round-robin": 0.1,
            "pf": 0.15,
            "maxweight": 0.2,
            "mute-mean": 0.25,
            "coordinated": 0.15,
        },
    ),
    "sleep": _qualities(
        random="random",
        medium={"threshold-own": 0.5, "threshold-neighbour": 0.5},
        expert="greedy",
        mixed={
            "random": 0.2,
            "always-on": 0.15,
            "threshold-own": 0.15,
            "threshold-neighbour": 0.35,
            "greedy": 0.15,
        },
    ),
}
"""Qualities by task and name."""


def find_quality(task: str, name: str) -> Quality:
    """Return a quality of a task.

    Raises:
        ConfigError: The task has no qualities, or none of this name.
    """
    if task not in QUALITIES:
        raise ConfigError(
            "task", f"{task!r} has no data qualities; tasks that have: {', '.join(QUALITIES)}"
        )
    if name not in QUALITIES[task]:
        known = ", ".join(QUALITIES[task])
        raise ConfigError("data set", f"quality = {name!r}: expected one of {known}")
    return QUALITIES[task][name]
