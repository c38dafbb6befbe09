"""Rules for the power task, from no information to all of it: the bar for learned policies.

Price rules weigh their own rate against what it costs the others, at the prices that the neighbours told
(distributed pricing; Huang, Berry and Honig, 2006).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import numpy as np

from networld_training.radio.arrays import FloatArray
from networld_training.radio.power_control import wmmse
from networld_training.tasks.base import Rule, StatelessRule
from networld_training.tasks.messages import heard
from networld_training.tasks.power.contract import LOWEST_POWER_DB, OFF_DB, POWER_ACTION
from networld_training.tasks.power.observation import log_price
from networld_training.tasks.power.task import PowerTask
from networld_training.tasks.spec import Information


class Full(StatelessRule):
    """Full power, always."""

    name = "full"

    def act(self, task: PowerTask) -> FloatArray:
        """Return 0 dB."""
        return np.zeros(task.shape)


class Random(StatelessRule):
    """Linear power uniform in [0, 1], as in the published benchmark: score 0."""

    name = "random"

    def act(self, task: PowerTask) -> FloatArray:
        """Return a random power, from the episodes' own streams."""
        cells = task.shape[1]
        return _decibels(np.stack([stream.policy.random(cells) for stream in task.streams]))


class RandomBins(StatelessRule):
    """One of the action bins, off included, each as likely: covers the action space."""

    name = "random-bins"

    def act(self, task: PowerTask) -> FloatArray:
        """Return a random bin, from the episodes' own streams."""
        action, cells = POWER_ACTION, task.shape[1]
        values = np.append(np.linspace(action.low, action.high, action.count), OFF_DB)
        drawn = [stream.policy.integers(len(values), size=cells) for stream in task.streams]
        return np.asarray(values[np.stack(drawn)])


class Reuse3(StatelessRule):
    """A third of the cells at full power, in turn."""

    name = "reuse-3"

    def act(self, task: PowerTask) -> FloatArray:
        """Return 0 dB for the colour whose turn it is."""
        turn = task.layout.reuse_colour == task.slot % 3
        return np.where(np.broadcast_to(turn, task.shape), 0.0, OFF_DB)


class Price(StatelessRule):
    """Best response to prices of interference.

    Args:
        information: `mean-field` for the geometric mean of the neighbours' prices, which is what an
            averaged logarithmic message carries; `one-hop` for the price of each neighbour; `local`
            takes the own price for everybody's.
    """

    def __init__(self, information: Literal["local", "mean-field", "one-hop"]) -> None:
        self.name = {"local": "price-own", "mean-field": "price-mean", "one-hop": "price-each"}[
            information
        ]
        self.information = information

    def act(self, task: PowerTask) -> FloatArray:
        """Return the response to the prices that were told one slot ago."""
        measured = task.measured
        signal = np.diagonal(measured.gain, axis1=1, axis2=2)
        weight = np.where(measured.active, measured.weight, 0.0)
        cost = self._cost(task)
        power = np.ones(task.shape)
        np.divide(weight, cost, out=power, where=cost > 0)
        power = np.where(cost > 0, power - measured.interference / signal, 1.0)
        return _decibels(np.clip(power, 0.0, 1.0))

    def _cost(self, task: PowerTask) -> FloatArray:
        """Return what full power costs the neighbours `[E, K]`."""
        leakage = task.measured.leakage
        if self.information == "local":
            return np.asarray(leakage.sum(axis=-1) * np.exp(log_price(task.measured)))
        price = np.exp(heard(task.received, task.neighbours)[..., 0])
        told = ~np.isnan(price)
        if self.information == "one-hop":
            return np.asarray((leakage * np.where(told, price, 0.0)).sum(axis=-1))
        mean = np.where(told.any(axis=-1), np.exp(task.mean_field[..., 0]), 0.0)
        return np.asarray(leakage.sum(axis=-1) * mean)


class Genie(StatelessRule):
    """Weighted MMSE with the proportional-fair weights and every gain of the present slot.

    Not realisable, and not an upper bound either: it is greedy in time and finds local optima.
    """

    name = "wmmse-pf"
    information: Information = "genie"

    def act(self, task: PowerTask) -> FloatArray:
        """Return the solution for the users that are scheduled now."""
        measured = task.measured
        return _decibels(wmmse(measured.gain, np.where(measured.active, measured.weight, 0)).power)


def _decibels(power: FloatArray) -> FloatArray:
    power_db = 10 * np.log10(np.maximum(power, 10 ** (OFF_DB / 10)))
    return np.where(power_db < LOWEST_POWER_DB, OFF_DB, power_db)


POWER_HEURISTICS: Mapping[str, Callable[[], Rule[PowerTask]]] = {
    "random": Random,
    "random-bins": RandomBins,
    "full": Full,
    "reuse-3": Reuse3,
    "price-own": partial(Price, "local"),
    "price-mean": partial(Price, "mean-field"),
    "price-each": partial(Price, "one-hop"),
    "wmmse-pf": Genie,
}
"""What makes each rule, by name."""
