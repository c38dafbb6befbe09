"""Logs for tests: episodes of cells whose values tell where they are from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import Contract
from networld_runtime.episode_log import EpisodeLog

COUPLINGS = 2


def log_of(
    contract: Contract,
    neighbours: Sequence[str],
    slots: Sequence[int],
    episode: int = 0,
    epoch: int = 5,
    value: float = 0.0,
) -> EpisodeLog:
    """Return a log whose observations are `value` dB and whose couplings count up."""
    count, choices = len(slots), contract.mask_size
    coupling = np.arange(count * len(neighbours) * COUPLINGS, dtype=np.float32)
    mask = np.ones((count, choices), dtype=np.bool_)
    mask[1::2, :1] = False
    return EpisodeLog(
        epoch,
        episode,
        tuple(neighbours),
        np.array(slots, dtype=np.int64),
        np.full((count, contract.observation_size), value, dtype=np.float32),
        coupling.reshape(count, len(neighbours), COUPLINGS),
        mask,
    )
