"""Task `power`: every cell chooses its power in every slot, for proportionally fair rates.

A slot: a fixed proportional-fair scheduler picks one user in each cell; the cells observe; they act;
the users' rates follow from all powers; the users move. A cell without users is silent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import Contract, FloatArray
from networld_training.radio.arrays import FloatArray as DoubleArray
from networld_training.radio.arrays import IntArray
from networld_training.radio.attachment import hand_over, strongest_cell
from networld_training.radio.channel import Channel
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.base import Task
from networld_training.tasks.gains import disturbance, leakage
from networld_training.tasks.power.contract import (
    LOWEST_POWER_DB,
    OFF_DB,
    POWER_CONTRACT,
    POWER_SPEC,
)
from networld_training.tasks.power.network import PowerNetwork
from networld_training.tasks.power.observation import (
    Measurements,
    empty_history,
    power_message,
    present_features,
    remember,
)

__all__ = ["OFF_DB", "PowerNetwork", "PowerTask"]

# Below it a user counts as unserved: keeps logarithms finite.
LOWEST_RATE = 1e-2


class PowerTask(Task):
    """Episodes of the power task; see `Task` for what all tasks share.

    Users belong to the cell that they receive best on average; they are handed over when another
    one is better by 3 dB. An action is a power in dB of full power; below -30 is off.

    A cell's utility is what it added to the sum of logarithmic average rates, per averaging weight
    and up to a constant; 0 without users. The details of a slot hold `spectral_efficiency`, the
    rates of the scheduled users in b/s/Hz.

    Attributes:
        contract: What the model and its messages agree on, the same for all networks.
        measured: The present slot in linear units, for rules and the genie.
        serving_cell: Cell of each user `[E, U]`.
        scheduled_user: User of each cell, meaningless where it has none `[E, K]`.
        user_gain: SNR of all pairs at full power in the present slot, linear `[E, U, K]`.
        user_interference: Interference and noise over noise in the last slot `[E, U]`.
        average_rate: Exponential average of the rates that the scheduler uses, b/s/Hz `[E, U]`.
    """

    spec = POWER_SPEC
    couplings = ("gain to the scheduled user, over noise at full power",)
    contract: Contract = POWER_CONTRACT
    network: PowerNetwork
    measured: Measurements
    serving_cell: IntArray
    scheduled_user: IntArray
    user_gain: DoubleArray
    user_interference: DoubleArray
    average_rate: DoubleArray

    def __init__(self, network: PowerNetwork, seeds: Sequence[int]) -> None:
        super().__init__(network, seeds)
        self._config = network.channel_config()
        self._episode = np.arange(len(self.seeds))[:, None]

    @property
    def coupling(self) -> FloatArray:
        """Gain of each neighbour to the scheduled user of a cell, `[E, K, 6, 1]`; 0 to none."""
        measured = self.measured
        gain = disturbance(measured.gain, measured.active, self.neighbours)
        return gain[..., None].astype(np.float32)

    def _begin(self) -> None:
        """Drop the users and warm the episodes up at full power."""
        self._channel = Channel(self._config, self.streams)
        gain = self._channel.large_scale_gain * self.network.full_power_over_noise
        best = gain.max(axis=-1)
        self.serving_cell = strongest_cell(gain)
        self.user_interference = np.maximum(gain.sum(axis=-1) - best, 0.0) + 1
        # About what the warm-up settles at, so that it leaves no trend in the first rewards.
        expected = spectral_efficiency(best / self.user_interference) / self.network.users_per_cell
        self.average_rate = np.maximum(expected, LOWEST_RATE)
        self._served = np.zeros_like(best)
        self._history = empty_history(*self.shape)
        self._schedule()
        for _ in range(self.network.warm_up_slots):
            self._transmit(np.ones(self.shape))
        self._served[:] = 0.0

    def _advance(self, action: DoubleArray) -> tuple[DoubleArray, dict[str, DoubleArray]]:
        power_db = action[..., 0]
        power = 10 ** (power_db / 10)
        efficiency, utility = self._transmit(np.where(power_db < LOWEST_POWER_DB, 0.0, power))
        return utility, {"spectral_efficiency": efficiency}

    def effective_action(self, action: DoubleArray) -> DoubleArray:
        """Return the powers `[E, K, 1]` that are sent: a cell without users is off."""
        on = self.measured.active[..., None] & (action >= LOWEST_POWER_DB)
        return np.where(on, action, OFF_DB)

    def _tell(self) -> DoubleArray:
        return power_message(self.measured, self._history)

    @property
    def user_rates(self) -> DoubleArray:
        """Mean rates of the users over the scored slots so far, in b/s/Hz `[E, U]`."""
        return np.asarray(self._served / max(self.slot, 1))

    def mean_log_rate(self) -> DoubleArray:
        """Return the users' mean logarithmic rate over the scored slots so far, `[E]`."""
        return np.asarray(np.log(np.maximum(self.user_rates, LOWEST_RATE)).mean(axis=-1))

    def metrics(self) -> dict[str, DoubleArray]:
        """Return the figures of merit over the scored slots so far, each `[E]`.

        `mean_log_rate` in ln(b/s/Hz), `user_rate_p5` and `cell_spectral_efficiency` in b/s/Hz, and
        `jain`, Jain's index of fairness over the users.
        """
        rates = self.user_rates
        squares = np.maximum((rates * rates).sum(axis=-1), np.finfo(float).tiny)
        return {
            "mean_log_rate": self.mean_log_rate(),
            "user_rate_p5": np.percentile(rates, 5, axis=-1),
            "cell_spectral_efficiency": rates.sum(axis=-1) / self.network.cells,
            "jain": rates.sum(axis=-1) ** 2 / (rates.shape[-1] * squares),
        }

    def _transmit(self, power: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Let the scheduled users receive, move on, and return efficiency and utility `[E, K]`."""
        active, user = self.measured.active, self.scheduled_user
        power = power * active
        received = self.user_gain * power[:, None, :]
        own = np.take_along_axis(received, self.serving_cell[..., None], axis=-1)[..., 0]
        self.user_interference = np.maximum(received.sum(axis=-1) - own, 0.0) + 1
        interference = self.user_interference[self._episode, user]
        signal = own[self._episode, user]
        efficiency = spectral_efficiency(signal / interference) * active

        weight = self.network.averaging
        growth = 1 - weight + weight * efficiency * self.measured.weight
        utility = np.where(active, np.log(growth) / weight, 0.0)
        rates = np.zeros_like(self.average_rate)
        rates[np.nonzero(active)[0], user[active]] = efficiency[active]
        self._served += rates
        self.average_rate += weight * (rates - self.average_rate)
        np.maximum(self.average_rate, LOWEST_RATE, out=self.average_rate)
        self._history = remember(
            self._history, power, efficiency, np.where(active, interference, 1.0)
        )
        self._channel.advance()
        self.serving_cell = hand_over(self.serving_cell, self._channel.large_scale_gain)
        self._schedule()
        return efficiency, utility

    def _schedule(self) -> None:
        """Pick in each cell the user with the best expected rate over its average rate."""
        scale = self.network.full_power_over_noise
        self.user_gain = self._channel.gain * scale
        own = np.take_along_axis(self.user_gain, self.serving_cell[..., None], axis=-1)[..., 0]
        expected = spectral_efficiency(own / self.user_interference)
        # A user out of reach keeps a little priority, so that the longest unserved goes first.
        priority = np.maximum(expected, LOWEST_RATE) / self.average_rate
        attached = self.serving_cell[:, None, :] == np.arange(self.shape[1])[:, None]
        self.scheduled_user = np.argmax(np.where(attached, priority[:, None, :], -1.0), axis=-1)
        active = attached.any(axis=-1)
        gain = self.user_gain[self._episode, self.scheduled_user]
        self.measured = Measurements(
            gain=gain,
            large_scale_gain=self._channel.large_scale_gain[self._episode, self.scheduled_user]
            * scale,
            interference=self.user_interference[self._episode, self.scheduled_user],
            weight=1 / self.average_rate[self._episode, self.scheduled_user],
            attached=attached.sum(axis=-1),
            active=active,
            leakage=leakage(gain, active, self.neighbours),
        )

    def _observe(self) -> FloatArray:
        return np.concatenate(
            [present_features(self.measured), self._history], axis=-1, dtype=np.float32
        )
