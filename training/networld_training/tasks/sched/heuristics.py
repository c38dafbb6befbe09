"""Rules for the scheduling task, from no information to all of it: the bar for learned policies.

The muting rules serve the user that MaxWeight serves, unless its weighted rate is less than what the
neighbours' first users would lose by the interference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import numpy as np

from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.base import Rule, StatelessRule
from networld_training.tasks.messages import heard
from networld_training.tasks.sched.contract import LISTED, LOWEST_RATE, MEGABIT, MUTE
from networld_training.tasks.sched.coordination import coordinated
from networld_training.tasks.sched.observation import sched_message
from networld_training.tasks.sched.task import SchedTask
from networld_training.tasks.spec import Information

# Both chosen on 48 episodes with seeds from 3000, network umi200 at 19.2 and 28.8 Mbit/s per cell; the
# tests score seeds from 1000. Shares from 0.4 to 0.8 and losses from 1 to 1.5 change delays by 7 % at most.
# A cell expects this share of all incoming gains as interference.
OTHERS_ACTIVE = 0.4
# A cell is silent if its neighbours would lose more than so many times what it would gain.
LOSS_BORNE = 1.4


class _Local(StatelessRule):
    information: Information = "local"


class Random(_Local):
    """One of the cell's users, each as likely; silent if it has no backlog: score 0."""

    name = "random"
    information: Information = "none"

    def act(self, task: SchedTask) -> FloatArray:
        """Return a random user, from the episodes' own streams."""
        measured = task.measured
        listed = np.clip(measured.attached, 1, LISTED)
        place = np.floor(_uniform(task) * listed).astype(np.int64)
        backlog = np.take_along_axis(measured.backlog_bits, place[..., None], axis=-1)[..., 0]
        return _or_mute(place, backlog > 0)


class RandomValid(_Local):
    """One of the valid actions, silence included, each as likely: covers the action space."""

    name = "random-valid"
    information: Information = "none"

    def act(self, task: SchedTask) -> FloatArray:
        """Return a random valid action, from the episodes' own streams."""
        # Users with backlog come first on the list.
        waiting = (task.measured.backlog_bits > 0).sum(axis=-1)
        place = np.floor(_uniform(task) * (waiting + 1)).astype(np.int64)
        return _or_mute(place, place < waiting)


class RoundRobin:
    """The user with backlog that was served longest ago."""

    name = "round-robin"
    information: Information = "local"

    def reset(self) -> None:
        """Forget who was served."""
        self._served: IntArray | None = None

    def act(self, task: SchedTask) -> FloatArray:
        """Return the user whose turn it is."""
        if self._served is None:
            self._served = np.full(task.serving_cell.shape, -1, dtype=np.int64)
        user, episodes = task.measured.user, np.arange(task.shape[0])
        place = _best(task, -self._served[episodes[:, None, None], user])
        episode, cell = np.nonzero(task.measured.waiting)
        self._served[episode, user[episode, cell, place[episode, cell]]] = task.slot
        return _or_mute(place, task.measured.waiting)


class MaxRate(_Local):
    """The user with backlog and the highest estimated rate."""

    name = "max-rate"

    def act(self, task: SchedTask) -> FloatArray:
        """Return that user."""
        return _or_mute(_best(task, task.measured.rate), task.measured.waiting)


class ProportionalFair(_Local):
    """The user with backlog and the highest estimated rate over its average rate."""

    name = "pf"

    def act(self, task: SchedTask) -> FloatArray:
        """Return that user."""
        rate = np.maximum(task.measured.rate, LOWEST_RATE)
        place = _best(task, rate / np.maximum(task.measured.average_rate, LOWEST_RATE))
        return _or_mute(place, task.measured.waiting)


class MaxWeight(_Local):
    """The user with the largest backlog times estimated rate (Tassiulas and Ephremides, 1992)."""

    name = "maxweight"

    def act(self, task: SchedTask) -> FloatArray:
        """Return the first user of the list, which is sorted so."""
        return _or_mute(np.zeros(task.shape), task.measured.waiting)


class Mute(_Local):
    """Serves the user of most weight times rate, but is silent where that costs the neighbours more.

    The weight is a power of the backlog: 1 is MaxWeight; with less, short queues count for more, which is
    better for the mean delay. A cell knows its leakage to each neighbour's first user. What that user
    would lose follows from its backlog, direct gain and incoming gains.

    Args:
        information: `mean-field` takes the average that the neighbours told one slot ago for each of
            them; `one-hop` what each told; `local` the cell's own values for everybody's.
        exponent: Exponent of the backlog.
    """

    def __init__(
        self, information: Literal["local", "mean-field", "one-hop"], exponent: float = 1.0
    ) -> None:
        self.name = {"local": "mute-own", "mean-field": "mute-mean", "one-hop": "mute-each"}[
            information
        ]
        if exponent != 1:
            self.name = "mute-root"
        self.information = information
        self._exponent = exponent

    def act(self, task: SchedTask) -> FloatArray:
        """Return the user of most weighted rate, or silence if the first user is not worth it."""
        worth, loss = self.weigh(task)
        sending = task.measured.waiting & (worth[..., 0] * LOSS_BORNE >= loss)
        place = np.zeros(task.shape)
        if self._exponent != 1:
            place = np.argmax(self._weighted(task, task.measured.rate), axis=-1)
        return _or_mute(place, sending)

    def weigh(self, task: SchedTask) -> tuple[FloatArray, FloatArray]:
        """Return what each user's rate is worth `[E, K, 8]`, and what the neighbours would lose `[E, K]`.

        Both are in b/s/Hz times the weight, a power of Mbit. The first user's rate is that in the
        interference that is expected, the others' the one that was estimated.
        """
        measured = task.measured
        rate = np.array(measured.rate)
        rate[..., 0] = spectral_efficiency(
            measured.signal / (OTHERS_ACTIVE * measured.incoming + 1)
        )
        return self._weighted(task, rate), self._loss(task)

    def _weighted(self, task: SchedTask, rate: FloatArray) -> FloatArray:
        """Return rates in b/s/Hz, no more than waits, times the weights `[E, K, 8]`."""
        bits = task.measured.backlog_bits
        most = bits / (task.network.bandwidth_hz * task.network.slot_s)
        return np.asarray((bits / MEGABIT) ** self._exponent * np.minimum(rate, most))

    def _loss(self, task: SchedTask) -> FloatArray:
        """Return the weighted rate that the neighbours would lose `[E, K]`."""
        told = self._told(task)[..., :3]
        backlog_mbit = np.expm1(told[..., 0])
        signal, incoming = 10 ** (told[..., 1] / 10), 10 ** (told[..., 2] / 10)
        leakage = task.measured.leakage
        expected = OTHERS_ACTIVE * incoming + 1
        lost = spectral_efficiency(signal / expected)
        lost = lost - spectral_efficiency(signal / (expected + leakage))
        loss = np.maximum(backlog_mbit, 0.0) ** self._exponent * lost
        return np.asarray(np.where(np.isnan(loss), 0.0, loss).sum(axis=-1))

    def _told(self, task: SchedTask) -> FloatArray:
        """Return the message that a cell takes for each neighbour's, `[E, K, 6 or 1, M]`."""
        if self.information == "one-hop":
            return heard(task.received, task.neighbours)
        if self.information == "local":
            return sched_message(task.measured, task.last)[..., None, :]
        return task.mean_field[..., None, :].astype(np.float64)


class Genie(_Local):
    """MaxWeight with the active cells chosen together, from every gain of the present slot.

    Not realisable, and not an upper bound either: it is greedy in time and among the cells.
    """

    name = "coordinated"
    information: Information = "genie"

    def act(self, task: SchedTask) -> FloatArray:
        """Return the users that are served together."""
        network, user = task.network, task.measured.user
        episode = np.arange(task.shape[0])[:, None, None]
        choice = coordinated(
            task.user_gain[episode, user],
            task.measured.backlog_bits / (network.bandwidth_hz * network.slot_s),
        )
        return _or_mute(choice, choice >= 0)


def _uniform(task: SchedTask) -> FloatArray:
    return np.stack([stream.policy.random(task.shape[1]) for stream in task.streams])


def _best(task: SchedTask, key: FloatArray | IntArray) -> IntArray:
    """Return the place of the user with backlog and the highest key `[E, K]`."""
    return np.asarray(np.argmax(np.where(task.measured.backlog_bits > 0, key, -np.inf), axis=-1))


def _or_mute(place: FloatArray | IntArray, sending: BoolArray) -> FloatArray:
    """Return the actions of cells that serve a place on their list, or are silent."""
    return np.where(sending, place, float(MUTE))


SCHED_HEURISTICS: Mapping[str, Callable[[], Rule[SchedTask]]] = {
    "random": Random,
    "random-valid": RandomValid,
    "round-robin": RoundRobin,
    "max-rate": MaxRate,
    "pf": ProportionalFair,
    "maxweight": MaxWeight,
    "mute-own": partial(Mute, "local"),
    "mute-mean": partial(Mute, "mean-field"),
    "mute-each": partial(Mute, "one-hop"),
    "mute-root": partial(Mute, "mean-field", exponent=0.5),
    "coordinated": Genie,
}
"""What makes each rule, by name."""
