"""A small task with everything that a task can have: a masked choice, a power with "off", and books.

Each cell has a queue. It rests, serves or serves twice as fast, with a power that sets how many bits it
sends; it cannot serve an empty queue. What the neighbours transmit slows it down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from networld_runtime.contract import ActionBins, Feature, FloatArray
from networld_training.radio.arrays import FloatArray as DoubleArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.spec import Choice, Kpi, TaskSpec


@dataclass(frozen=True)
class ToyNetwork(Network):
    """A network of the toy."""

    name: str = "toy"
    slots: int = 6


class ToyTask(Task):
    """Queues of seven cells."""

    network: ToyNetwork
    couplings = ("whether the neighbour has something to send",)
    spec = TaskSpec(
        name="toy",
        slot_s=0.02,
        features=(Feature("queue", "bits", 0.0, 80.0), Feature("gain", "dB", -10.0, 10.0)),
        message=(Feature("queue", "bits", 0.0, 80.0), Feature("load", "bits", 0.0, 20.0)),
        actions=(
            Choice("mode", ("rest", "serve", "hurry"), masked=True),
            ActionBins("power_db", -20.0, 0.0, 5, off=-30.0),
        ),
        kpis=(Kpi("mean_queue", "bits", higher_is_better=False), Kpi("sent", "bits")),
        expert="serve",
    )

    def _begin(self) -> None:
        cells = self.shape[1]
        self._gain_db = np.stack([s.topology.uniform(-10, 10, cells) for s in self.streams])
        self._queue = np.zeros(self.shape)
        self._arrived = np.zeros(self.shape)
        self._sent = np.zeros(self.shape)
        self._last = np.zeros(self.shape)
        self._queue_slots = np.zeros(self.shape)
        self._arrive()

    def _arrive(self) -> None:
        cells = self.shape[1]
        bits = np.stack([8.0 * s.traffic.binomial(2, 0.5, cells) for s in self.streams])
        self._queue += bits
        self._arrived += bits

    def _advance(self, action: DoubleArray) -> tuple[DoubleArray, dict[str, DoubleArray]]:
        mode, power_db = action[..., 0], action[..., 1]
        power = np.where((mode > 0) & (power_db >= -20), 10 ** (power_db / 10), 0.0)
        noise = 1 + power[:, self.neighbours].sum(axis=-1)
        rate = 10 * mode * np.log2(1 + power * 10 ** (self._gain_db / 10) / noise)
        self._last = np.minimum(rate, self._queue)
        self._queue -= self._last
        self._sent += self._last
        self._queue_slots += self._queue
        self._arrive()
        return self._last - 0.1 * self._queue, {"sent": self._last}

    def _observe(self) -> FloatArray:
        busy = self._queue > 0
        self.action_mask = np.stack([np.ones_like(busy), busy, busy], axis=-1)
        return np.stack([self._queue, self._gain_db], axis=-1, dtype=np.float32)

    def _tell(self) -> DoubleArray:
        return np.stack([self._queue, self._last], axis=-1)

    @property
    def coupling(self) -> FloatArray:
        """Return whether the neighbours have something to send."""
        return (self._queue > 0)[:, self.neighbours, None].astype(np.float32)

    def balance(self) -> dict[str, DoubleArray]:
        """Return the bits that are unaccounted for."""
        return {"bits": (self._arrived - self._sent - self._queue).sum(axis=-1)}

    def metrics(self) -> dict[str, DoubleArray]:
        """Return the mean queue and the bits sent."""
        slots = max(self.slot, 1)
        return {
            "mean_queue": self._queue_slots.mean(axis=-1) / slots,
            "sent": self._sent.sum(axis=-1),
        }
