"""A task of one's own: every cell transmits on one of three carriers, where others may interfere."""

from dataclasses import dataclass

import numpy as np

from networld_runtime.contract import Feature
from networld_training.radio.channel import Channel
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.base import Rule, Task
from networld_training.tasks.network import Network
from networld_training.tasks.spec import Choice, Kpi, TaskSpec

CARRIERS = np.arange(3)
USES = tuple(Feature(f"uses_{c}", "flag, last slot", 0, 1) for c in CARRIERS)


@dataclass(frozen=True)
class CarrierNetwork(Network):
    """What all networks have, with the task's defaults; its own attributes would stand here, too."""

    name: str = "carriers"


class CarrierTask(Task):
    """Episodes in which cells pick carriers; a cell is worth the mean rate of its users."""

    network: CarrierNetwork
    spec = TaskSpec(
        name="carrier",
        slot_s=0.02,
        features=(*(Feature(f"interference_{c}", "dB over noise", 0, 60) for c in CARRIERS), *USES),
        message=USES,
        actions=(Choice("carrier", ("low", "middle", "high")),),
        kpis=(Kpi("mean_rate", "b/s/Hz"), Kpi("worst_cell_rate", "b/s/Hz")),
        expert="quietest",
    )

    def _begin(self):
        self._channel = Channel(self.network.channel_config(), self.streams)
        self._served = np.zeros(self.shape)
        self._uses = self._heard = np.zeros((*self.shape, len(CARRIERS)))

    def _advance(self, action):
        self._uses = action == CARRIERS  # [E, K, 1] and [3] make [E, K, 3]
        gain = self._channel.large_scale_gain  # [E, U, K]
        own = gain == gain.max(axis=-1, keepdims=True)  # which cell serves a user
        received = self._channel.gain * self.network.full_power_over_noise
        others = (received * ~own) @ self._uses  # on each carrier [E, U, 3]
        interference = (others * (own @ self._uses)).sum(axis=-1)
        rate = spectral_efficiency((received * own).sum(axis=-1) / (1 + interference))
        share = own / np.maximum(own.sum(axis=1, keepdims=True), 1)  # of a cell's users
        self._heard = np.einsum("euk,euc->ekc", share, others)
        cell_rate = np.einsum("euk,eu->ek", share, rate)
        self._served += cell_rate
        self._channel.advance()
        return cell_rate, {}

    def _observe(self):
        return np.concatenate([10 * np.log10(1 + self._heard), self._uses], -1, dtype=np.float32)

    def _tell(self):
        return self._uses.astype(float)

    def metrics(self):
        """Return the mean over cells and the rate of the worst one, each `[E]`."""
        rate = self._served / max(self.slot, 1)
        return {"mean_rate": rate.mean(axis=-1), "worst_cell_rate": rate.min(axis=-1)}


class Quietest(Rule):
    """Now and then a cell changes to the carrier with the least interference."""

    name, information = "quietest", "local"

    def act(self, task):
        """Return the carrier of each cell `[E, K]`."""
        stays = np.stack([stream.policy.random(task.shape[1]) < 0.8 for stream in task.streams])
        interference_db, uses = np.split(task.observation, 2, axis=-1)
        return np.where(stays, uses.argmax(axis=-1), interference_db.argmin(axis=-1))
