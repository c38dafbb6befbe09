"""Qualities of logged data: which rules act, how often, and how much they are disturbed.

A mixture of several sub-optimal behaviours teaches more than the expert alone (arXiv 2311.11423), and a
model can only rank actions that somebody tried: `mixed` is the default. Experts know more than a cell
does, so `expert` data cannot be imitated from what a cell observes; every mixture holds rules that can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from networld_runtime.errors import ConfigError
from networld_training.tasks.registry import find_task

JITTERS = (0.0, 1 / 15, 1 / 5)
RANDOM_SHARES = (0.0, 0.1, 0.3)
# A random order to sleep costs a cell and its neighbours several slots: they would never do well.
RANDOM_SHARES_OF_SLEEP = (0.0, 0.02, 0.1)


@dataclass(frozen=True)
class Behaviour:
    """One rule of a mixture.

    Attributes:
        rule: Name of a heuristic of the task.
        weight: Probability that a cell, or a whole network, follows it for an episode.
        disturbed: Whether its actions are jittered and now and then replaced by random ones.
    """

    rule: str
    weight: float
    disturbed: bool


@dataclass(frozen=True)
class Quality:
    """A mixture of behaviours, and how much those are disturbed that are.

    Attributes:
        name: Name of the quality.
        behaviours: The mixture; a data set's `behaviours` are indices into it.
        jitters: Standard deviations of the jitter of a continuous action, in lengths of its range; a cell
            draws one of them for an episode.
        random_shares: Shares of slots in which a component of the action is random; likewise.
        together: Share of the episodes in which all cells follow the same behaviour. What a rule does to
            the whole network shows only if the others follow it, too.
    """

    name: str
    behaviours: tuple[Behaviour, ...]
    jitters: tuple[float, ...] = JITTERS
    random_shares: tuple[float, ...] = RANDOM_SHARES
    together: float = 0.0

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
        """Build a quality from `dataclasses.asdict`'s data; older sets know no `together`.

        Raises:
            KeyError, TypeError: A key is missing or unknown.
        """
        return cls(
            data["name"],
            tuple(Behaviour(**one) for one in data["behaviours"]),
            tuple(data["jitters"]),
            tuple(data["random_shares"]),
            data.get("together", 0.0),
        )


def _qualities(
    random: Mapping[str, float],
    medium: Mapping[str, float],
    expert: str,
    mixed: Mapping[str, float],
    random_shares: tuple[float, ...] = RANDOM_SHARES,
    together: float = 0.0,
) -> dict[str, Quality]:
    """Return the five qualities of a task from the rules that make them up.

    In a share `together` of the episodes of `random` and `mixed` all cells follow the same one.
    """
    both = {rule: (weight / 2, True) for rule, weight in medium.items()} | {expert: (0.5, False)}
    return {
        name: Quality(
            name,
            tuple(Behaviour(rule, *how) for rule, how in rules.items()),
            random_shares=random_shares,
            together=together if name in {"random", "mixed"} else 0.0,
        )
        for name, rules in {
            "random": {rule: (weight, False) for rule, weight in random.items()},
            "medium": {rule: (weight, True) for rule, weight in medium.items()},
            "expert": {expert: (1.0, False)},
            "medium-expert": both,
            "mixed": {rule: (weight, True) for rule, weight in mixed.items()},
        }.items()
    }


QUALITIES: Mapping[str, Mapping[str, Quality]] = {
    "power": _qualities(
        random={"random-bins": 1.0},
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
        random={"random": 1.0},
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
        random={"random": 0.5, "random-set": 0.5},
        medium={"threshold-own": 0.5, "threshold-neighbour": 0.5},
        expert="greedy",
        mixed={
            "random": 0.1,
            "random-set": 0.25,
            "always-on": 0.1,
            "threshold-own": 0.1,
            "threshold-neighbour": 0.35,
            "greedy": 0.1,
        },
        random_shares=RANDOM_SHARES_OF_SLEEP,
        together=0.5,
    ),
}
"""Qualities of NetWorld's own tasks, by task and name."""


def qualities_of(task: str) -> Mapping[str, Quality]:
    """Return the qualities of a task; a task that is not listed above has them made from its rules.

    Then `medium` are all rules but `random` and those that know the whole network, and `mixed` are those,
    `random` and the expert, each as likely.

    Raises:
        ConfigError: There is no such task.
    """
    if task in QUALITIES:
        return QUALITIES[task]
    entry = find_task(task)
    random, expert = "random", entry.spec.expert
    medium = [
        name
        for name, make in entry.heuristics.items()
        if name not in {random, expert} and make().information != "genie"
    ]
    return _qualities(
        random={random: 1.0},
        medium=_evenly(medium or [random, expert]),
        expert=expert,
        mixed=_evenly([random, *medium, expert]),
    )


def find_quality(task: str, name: str) -> Quality:
    """Return a quality of a task.

    Raises:
        ConfigError: There is no such task, or no quality of this name.
    """
    known = qualities_of(task)
    if name not in known:
        raise ConfigError("data set", f"quality = {name!r}: expected one of {', '.join(known)}")
    return known[name]


def _evenly(rules: Sequence[str]) -> dict[str, float]:
    return dict.fromkeys(rules, 1 / len(rules))
