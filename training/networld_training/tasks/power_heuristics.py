"""Rules for the power task, from no information to all of it: the bar for learned policies.

Prices follow distributed pricing (Huang, Berry and Honig, 2006): one unit more of interference costs
the user of cell j w_j S_j / (I_j (I_j + S_j)) of the weighted rate sum, and a cell weighs its own
rate against what it costs the others. What a cell is told in a slot was sent in the slot before.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

import numpy as np

from networld_training.radio.arrays import FloatArray
from networld_training.radio.power_control import wmmse
from networld_training.tasks.power import PowerTask
from networld_training.tasks.power_contract import LOWEST_POWER_DB, OFF_DB, POWER_CONTRACT

# Chosen among six values on 64 drops with seeds from 3000, scenarios umi100 and umi200; the tests
# score seeds 1000 to 1095. Values from 0.2 to 0.5 lie within 7 points, 1 costs up to 13.
OTHERS_POWER = 0.3

Information = Literal["none", "local", "mean-field", "one-hop", "genie"]


class Heuristic(Protocol):
    """A rule that chooses the power of every cell."""

    @property
    def name(self) -> str:
        """Name in tables and in `HEURISTICS`."""

    @property
    def information(self) -> Information:
        """What a cell knows beside its own measurements."""

    def reset(self) -> None:
        """Forget the last batch of episodes."""

    def act(self, task: PowerTask) -> FloatArray:
        """Return powers in dB of full power for the present slot, `[E, K]`."""


class _Stateless:
    information: Information = "none"

    def reset(self) -> None:
        """Do nothing: there is no state."""


class Full(_Stateless):
    """Full power, always."""

    name = "full"

    def act(self, task: PowerTask) -> FloatArray:
        """Return 0 dB."""
        return np.zeros(task.shape)


class Random(_Stateless):
    """Linear power uniform in [0, 1], as in the published benchmark: score 0."""

    name = "random"

    def act(self, task: PowerTask) -> FloatArray:
        """Return a random power, from the episodes' own streams."""
        cells = task.shape[1]
        return _decibels(np.stack([stream.policy.random(cells) for stream in task.streams]))


class RandomBins(_Stateless):
    """One of the action bins, off included, each as likely: covers the action space."""

    name = "random-bins"

    def act(self, task: PowerTask) -> FloatArray:
        """Return a random bin, from the episodes' own streams."""
        action, cells = POWER_CONTRACT.action, task.shape[1]
        values = np.append(np.linspace(action.low, action.high, action.count), OFF_DB)
        drawn = [stream.policy.integers(len(values), size=cells) for stream in task.streams]
        return np.asarray(values[np.stack(drawn)])


class Reuse3(_Stateless):
    """A third of the cells at full power, in turn."""

    name = "reuse-3"

    def act(self, task: PowerTask) -> FloatArray:
        """Return 0 dB for the colour whose turn it is."""
        turn = task.reuse_colour == task.slot % 3
        return np.where(np.broadcast_to(turn, task.shape), 0.0, OFF_DB)


class Price:
    """Best response to the neighbours' prices of the slot before.

    The price of a cell assumes that it transmits at full power and the others at `OTHERS_POWER`;
    the gains of both it measures on reference signals. Prices at the interference measured last
    run away: whoever is spared interference asks to be spared more of it.

    Args:
        information: `mean-field` for the geometric mean of the neighbours' prices, which is what an
            averaged logarithmic message carries; `one-hop` for the price of each neighbour.
    """

    def __init__(self, information: Literal["mean-field", "one-hop"]) -> None:
        self.name = {"mean-field": "price-mean", "one-hop": "price-each"}[information]
        self.information: Information = information
        self._price: FloatArray | None = None

    def reset(self) -> None:
        """Forget the prices."""
        self._price = None

    def act(self, task: PowerTask) -> FloatArray:
        """Return the response to the last prices, and remember the present ones."""
        measured = task.measured
        signal = np.diagonal(measured.gain, axis1=1, axis2=2)
        weight = np.where(measured.active, measured.weight, 0.0)
        heard = np.zeros(task.shape) if self._price is None else self._price
        around = heard[:, task.neighbours]
        if self.information == "mean-field":
            cost = measured.leakage.sum(axis=-1) * _geometric_mean(around)
        else:
            cost = (measured.leakage * around).sum(axis=-1)
        power = np.ones(task.shape)
        np.divide(weight, cost, out=power, where=cost > 0)
        power = np.where(cost > 0, power - measured.interference / signal, 1.0)
        interference = OTHERS_POWER * (measured.gain.sum(axis=-1) - signal) + 1
        self._price = weight * signal / (interference * (interference + signal))
        return _decibels(np.clip(power, 0.0, 1.0))


class Genie(_Stateless):
    """Weighted MMSE with the proportional-fair weights and every gain of the present slot.

    Not realisable, and not an upper bound either: it is greedy in time and finds local optima.
    """

    name = "wmmse-pf"
    information: Information = "genie"

    def act(self, task: PowerTask) -> FloatArray:
        """Return the solution for the users that are scheduled now."""
        measured = task.measured
        return _decibels(wmmse(measured.gain, np.where(measured.active, measured.weight, 0)).power)


def _geometric_mean(prices: FloatArray) -> FloatArray:
    """Return the geometric mean of the positive prices along the last axis, 0 if there are none."""
    positive = prices > 0
    logarithms = np.log(np.where(positive, prices, 1.0)).sum(axis=-1)
    mean = np.exp(logarithms / np.maximum(positive.sum(axis=-1), 1))
    return np.where(positive.any(axis=-1), mean, 0.0)


def _decibels(power: FloatArray) -> FloatArray:
    power_db = 10 * np.log10(np.maximum(power, 10 ** (OFF_DB / 10)))
    return np.where(power_db < LOWEST_POWER_DB, OFF_DB, power_db)


HEURISTICS: dict[str, Callable[[], Heuristic]] = {
    "random": Random,
    "random-bins": RandomBins,
    "full": Full,
    "reuse-3": Reuse3,
    "price-mean": partial(Price, "mean-field"),
    "price-each": partial(Price, "one-hop"),
    "wmmse-pf": Genie,
}
"""What makes each rule, by name: rules remember prices, so every rollout gets its own."""
