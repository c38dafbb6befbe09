"""Traffic: files of one size that arrive at random for each user (FTP model 3 of TR 36.872)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from networld_training.radio.arrays import IntArray
from networld_training.radio.streams import Streams


def draw_arrivals(
    streams: Sequence[Streams], users: int, slots: int, files_per_slot: float, waiting_files: float
) -> IntArray:
    """Return how many files arrive `[slots, E, U]`, for whole episodes at once.

    Arrivals are a Poisson process with the same rate for every user. In slot 0 come those that wait
    already: a Poisson number for each user, whose mean is uniform between 0 and `waiting_files` in an
    episode, so that episodes begin at all levels of load.

    Args:
        streams: Random streams, one for each episode; arrivals come from `traffic`.
        users: Number of users U.
        slots: Slots of an episode.
        files_per_slot: Mean number of files per user and slot.
        waiting_files: Largest mean number of files that wait for a user at first.
    """
    arrivals = np.empty((slots, len(streams), users), dtype=np.int64)
    for episode, stream in enumerate(streams):
        waiting = stream.traffic.poisson(waiting_files * stream.traffic.random(), size=users)
        arrivals[:, episode] = stream.traffic.poisson(files_per_slot, size=(slots, users))
        arrivals[0, episode] += waiting
    return arrivals
