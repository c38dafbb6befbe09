"""Rules for the sleep task, from no information to all of it: the bar for learned policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from networld_training.radio.arrays import BoolArray, FloatArray
from networld_training.tasks.base import Rule
from networld_training.tasks.sleep.contract import LARGEST_OFFSET_DB, SLEEP_SPEC
from networld_training.tasks.sleep.genie import (
    LARGEST_EXHAUSTIVE,
    PATIENCE_SLOTS,
    Genie,
    exhaustive_search,
    flip_search,
)
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, ORDERS, WAKING
from networld_training.tasks.sleep.task import SleepTask
from networld_training.tasks.spec import Information

_MESSAGE = {feature.name: index for index, feature in enumerate(SLEEP_SPEC.message)}
_OFFSETS_DB = np.linspace(-LARGEST_OFFSET_DB, LARGEST_OFFSET_DB, 13)


class _Stateless:
    information: Information = "none"

    def reset(self) -> None:
        """Do nothing: there is no state."""


class AlwaysOn(_Stateless):
    """All cells active, no offsets."""

    name = "always-on"

    def act(self, task: SleepTask) -> FloatArray:
        """Return active and 0 dB."""
        return np.zeros(task.action_shape)


class Random(_Stateless):
    """Now and then a random order and offset: score 0.

    A cell keeps its order for four slots on average. Nine of ten new orders are active: with fewer cells
    awake most traffic of busy hours is lost, and every sane rule scores nearly 100.
    """

    name = "random"
    change_probability = 1 / 4
    mode_probability = (0.9, 0.05, 0.05)

    def act(self, task: SleepTask) -> FloatArray:
        """Return random orders and offsets, from the episodes' own streams."""
        drawn = np.stack([stream.policy.random((3, task.shape[1])) for stream in task.streams])
        order = np.searchsorted(np.cumsum(self.mode_probability)[:-1], drawn[:, 1])
        offset_db = _OFFSETS_DB[(drawn[:, 2] * len(_OFFSETS_DB)).astype(np.int64)]
        # A waking cell was ordered to be active.
        kept = np.where(task.state == WAKING, ACTIVE, task.state)
        change = drawn[:, 0] < (1.0 if task.slot == 0 else self.change_probability)
        return np.stack(
            [np.where(change, order, kept), np.where(change, offset_db, task.offset_db)], axis=-1
        )


class RandomBins(_Stateless):
    """Any order and any offset, each as likely, in every slot: covers the action space."""

    name = "random-bins"

    def act(self, task: SleepTask) -> FloatArray:
        """Return random orders and offsets, from the episodes' own streams."""
        cells = task.shape[1]
        order = [stream.policy.integers(len(ORDERS), size=cells) for stream in task.streams]
        offset = [stream.policy.integers(len(_OFFSETS_DB), size=cells) for stream in task.streams]
        return np.stack([np.stack(order), _OFFSETS_DB[np.stack(offset)]], axis=-1)


class ThresholdOwn(_Stateless):
    """Sleeps when its own load is low, and wakes up after a while to see whether it still is."""

    name = "threshold-own"
    information: Information = "local"
    sleep_load = 0.05
    rest_slots = 12
    awake_slots = 2

    def act(self, task: SleepTask) -> FloatArray:
        """Return orders from the cells' own loads."""
        measured, since = task.measured, task.memory.slots_in_state
        idle = measured.awake & (measured.load < self.sleep_load) & (since >= self.awake_slots)
        resting = ((task.state == LIGHT) | (task.state == DEEP)) & (since < self.rest_slots)
        return _orders(task, idle | resting)


class ThresholdNeighbour(_Stateless):
    """Sleeps when the neighbours can take its users, wakes up when they are busy.

    A cell knows what share of a slot its users would need elsewhere, and hears the mean load of the
    neighbours awake, their number, and the mean share that they cannot serve. A third of the cells may
    change in a slot, in turn: they all hear about the same.
    """

    name = "threshold-neighbour"
    information: Information = "mean-field"
    sleep_load = 0.35
    wake_load = 0.5
    wake_unserved = 0.01

    def act(self, task: SleepTask) -> FloatArray:
        """Return orders from the own load and the messages of one slot ago."""
        measured, field = task.measured, task.mean_field
        load, unserved = field[..., _MESSAGE["load"]], field[..., _MESSAGE["unserved_share"]]
        awake = field[..., _MESSAGE["awake"]] * task.neighbours.shape[1]
        turn = task.layout.reuse_colour == task.slot % 3
        heard = ~np.isnan(task.received[..., _MESSAGE["awake"]]).all(axis=-1, keepdims=True)
        taken = load + measured.handover_load / np.maximum(awake, 1)
        bearable = (taken < self.sleep_load) & (unserved < self.wake_unserved) & (awake >= 1)
        idle = measured.awake & bearable & turn & heard
        busy = (load > self.wake_load) | (unserved > self.wake_unserved) | (awake < 1)
        asleep = (task.state == LIGHT) | (task.state == DEEP)
        return _orders(task, idle | (asleep & ~(busy & turn)))


class BalanceOffset(_Stateless):
    """All cells active; those busier than their neighbours attract fewer users."""

    name = "balance-offset"
    information: Information = "mean-field"
    step_db = 6.0

    def act(self, task: SleepTask) -> FloatArray:
        """Return active, and offsets that follow the difference of loads of one slot ago."""
        told = ~np.isnan(task.received[..., _MESSAGE["load"]])
        busier = task.measured.load - task.mean_field[..., _MESSAGE["load"]]
        busier *= told.any(axis=-1, keepdims=True)
        offset_db = np.clip(
            task.offset_db - self.step_db * busier, -LARGEST_OFFSET_DB, LARGEST_OFFSET_DB
        )
        return np.stack([np.zeros(task.shape), offset_db], axis=-1)


def _orders(task: SleepTask, asleep: BoolArray) -> FloatArray:
    """Return orders for the cells that are to sleep: light first, deep after some time; no offsets."""
    rested = (task.state == LIGHT) & (task.memory.slots_in_state >= PATIENCE_SLOTS)
    down = np.where(rested | (task.state == DEEP), DEEP, LIGHT)
    return np.stack([np.where(asleep, down, ACTIVE), np.zeros(task.shape)], axis=-1)


SLEEP_HEURISTICS: Mapping[str, Callable[[], Rule[SleepTask]]] = {
    "random": Random,
    "random-bins": RandomBins,
    "always-on": AlwaysOn,
    "threshold-own": ThresholdOwn,
    "threshold-neighbour": ThresholdNeighbour,
    "balance-offset": BalanceOffset,
    "greedy": partial(Genie, "greedy", flip_search),
    "exhaustive": partial(Genie, "exhaustive", exhaustive_search, LARGEST_EXHAUSTIVE),
}
"""What makes each rule, by name; `exhaustive` is for seven cells only."""
