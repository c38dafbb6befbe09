"""What a cell saw of late, slot by slot: observation, couplings and action mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.episode_log import LARGEST_LOGS, EpisodeLog


class Experience:
    """The last `capacity` slots of one cell.

    Args:
        contract: Decides the shapes.
        neighbours: Names of the cell's neighbours `n`, in the order of its couplings.
        couplings: Numbers that say how strongly one cell acts on another, `Q`.
        capacity: Slots kept; the oldest make room.
    """

    def __init__(
        self, contract: Contract, neighbours: Sequence[str], couplings: int, capacity: int
    ) -> None:
        self.capacity = capacity
        self.count = 0
        self._neighbours = tuple(neighbours)
        self._rows: dict[str, npt.NDArray[Any]] = {
            "episode": np.zeros(capacity, dtype=np.int64),
            "slot": np.zeros(capacity, dtype=np.int64),
            "observation": np.zeros((capacity, contract.observation_size), dtype=np.float32),
            "coupling": np.zeros((capacity, len(neighbours), couplings), dtype=np.float32),
            "mask": np.ones((capacity, contract.mask_size), dtype=np.bool_),
        }

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(
        self,
        episode: int,
        slot: int,
        observation: FloatArray,
        coupling: FloatArray,
        mask: BoolArray | None,
    ) -> None:
        """Keep a slot; slots come in increasing order.

        Args:
            episode: Number of the episode.
            slot: Running slot number of the site.
            observation: Native units `[D]`.
            coupling: `[n, Q]`.
            mask: `[mask_size]`; None if all choices are possible.

        Raises:
            ValueError: An array has the wrong shape.
        """
        values: dict[str, npt.ArrayLike] = {
            "episode": episode,
            "slot": slot,
            "observation": observation,
            "coupling": coupling,
            "mask": np.ones_like(self._rows["mask"][0]) if mask is None else mask,
        }
        row = self.count % self.capacity
        for name, value in values.items():
            if np.shape(value) != self._rows[name].shape[1:]:
                expected = self._rows[name].shape[1:]
                raise ValueError(f"{name} of shape {np.shape(value)}: expected {expected}")
            self._rows[name][row] = value
        self.count += 1

    def clear(self) -> None:
        """Forget everything: the site's slot counter restarted."""
        self.count = 0

    def logs(self, epoch: int) -> list[EpisodeLog]:
        """Return the newest episodes, oldest first, at most `LARGEST_LOGS` of them.

        Args:
            epoch: What the logs are to carry.
        """
        oldest = self.count % self.capacity if self.count > self.capacity else 0
        order = (oldest + np.arange(len(self))) % self.capacity
        episodes = self._rows["episode"][order]
        starts = np.flatnonzero(np.diff(episodes)) + 1
        parts = [part for part in np.split(order, starts) if len(part)][-LARGEST_LOGS:]
        return [
            EpisodeLog(
                epoch=epoch,
                episode=int(self._rows["episode"][part[0]]),
                neighbours=self._neighbours,
                slots=self._rows["slot"][part],
                observation=self._rows["observation"][part],
                coupling=self._rows["coupling"][part],
                mask=self._rows["mask"][part],
            )
            for part in parts
        ]
