"""Demand of users over a compressed day: a diurnal wave, areas that come and go, Poisson arrivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.streams import Streams

# FTP model 3: files of 0.5 MB arrive at every user as a Poisson process.
FILE_MBIT = 4.0

CountArray = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class DemandModel:
    """How demand varies over time.

    The mean demand of a user is `peak_mbit_s` times a sine of the day, between `night_share` and 1,
    times the activity of the area that it started in. The activity is log-normal with mean 1; its
    logarithm is an AR(1) process, so that hotspots drift through the network.

    Attributes:
        peak_mbit_s: Mean demand of a user in the busiest hour.
        night_share: Demand in the quietest hour over that of the busiest.
        day_slots: Slots of the compressed day.
        activity_sigma: Standard deviation of the logarithm of an area's activity.
        activity_slots: Slots after which its correlation is 1/e.
        slot_s: Length of a slot.
    """

    peak_mbit_s: float
    night_share: float
    day_slots: int
    activity_sigma: float
    activity_slots: float
    slot_s: float

    @property
    def mean_mbit_s(self) -> float:
        """Mean demand of a user over the day."""
        return self.peak_mbit_s * (1 + self.night_share) / 2

    def profile(self, phase: FloatArray) -> FloatArray:
        """Return the demand over that of the busiest hour at a phase of the day in radians."""
        return np.asarray(self.night_share + (1 - self.night_share) * (1 + np.sin(phase)) / 2)


@dataclass(frozen=True)
class Demand:
    """Demand of whole episodes, drawn before they begin: no policy can change it.

    Attributes:
        files: Files that arrive at each user in each slot `[E, T, U]`.
        phase: Phase of the day in each slot, radians `[E, T]`.
        slot_s: Length of a slot.
    """

    files: CountArray
    phase: FloatArray
    slot_s: float

    def mbit_s(self, slot: int) -> FloatArray:
        """Return the users' demand in a slot, `[E, U]`."""
        return self.files[:, slot].astype(np.float64) * (FILE_MBIT / self.slot_s)


def draw_demand(
    model: DemandModel, area: IntArray, areas: int, slots: int, streams: Sequence[Streams]
) -> Demand:
    """Draw the demand of episodes from their traffic streams.

    Args:
        model: How demand varies.
        area: Area of each user `[E, U]`.
        areas: Number of areas.
        slots: Slots to draw.
        streams: Random streams, one for each episode.
    """
    kept = float(np.exp(-1 / model.activity_slots))
    renewed = float(np.sqrt(1 - kept**2))
    start = 2 * np.pi * np.array([stream.traffic.random() for stream in streams])
    phase = start[:, None] + 2 * np.pi * np.arange(slots) / model.day_slots
    log_activity = np.stack([stream.traffic.standard_normal((slots, areas)) for stream in streams])
    for slot in range(1, slots):
        log_activity[:, slot] *= renewed
        log_activity[:, slot] += kept * log_activity[:, slot - 1]
    sigma = model.activity_sigma
    activity = np.exp(sigma * log_activity - sigma**2 / 2)
    by_area = model.peak_mbit_s * (model.slot_s / FILE_MBIT) * activity
    by_area *= model.profile(phase)[..., None]
    files = np.empty((len(streams), slots, area.shape[1]), dtype=np.uint16)
    for episode, stream in enumerate(streams):
        drawn = stream.traffic.poisson(by_area[episode][:, area[episode]])
        files[episode] = np.minimum(drawn, np.iinfo(np.uint16).max)
    return Demand(files, phase, model.slot_s)
