"""Training windows: `H + 2` consecutive slots of all cells, drawn at random from a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import Contract
from networld_runtime.errors import DataError
from networld_runtime.two_hot import encode_action, encode_return
from networld_training.data.dataset import read_manifest, read_shard

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class WindowBatch:
    """`B` windows of `K` cells.

    Attributes:
        observation: Normalised, slot before, now, and the `H` slots after `[B, H + 2, K, D]`.
        action: Two-hot actions from now on `[B, K, H, A]`.
        returns: Two-hot discounted returns `[B, K, R]`.
        neighbours: `[K, n]`.
    """

    observation: Tensor
    action: Tensor
    returns: Tensor
    neighbours: Tensor


class WindowSampler:
    """Holds a data set in memory and draws batches that depend only on seed and step.

    Args:
        folder: A finished data set.

    Raises:
        DataError: The data set is unfinished or damaged.
    """

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if not manifest.complete:
            raise DataError(
                str(folder),
                f"{len(manifest.shards)} of {manifest.total_shards} shards; "
                "run `networld data` again with the same options to finish it",
            )
        self.contract: Contract = manifest.contract
        shards = [read_shard(folder, shard, manifest.contract) for shard in manifest.shards]
        self.neighbours = torch.from_numpy(shards[0]["neighbours"])
        self.observations = self.contract.normalise(
            np.concatenate([shard["observations"] for shard in shards])
        )
        self.actions = np.concatenate([shard["actions"] for shard in shards])
        rewards = np.concatenate([shard["rewards"] for shard in shards])
        self.returns = discounted_returns(rewards, self.contract)

    def batch(self, size: int, seed: int, step: int) -> WindowBatch:
        """Draw `size` windows; the same seed and step give the same windows."""
        random = np.random.default_rng((seed, step))
        horizon = self.contract.horizon
        episode = random.integers(len(self.returns), size=size)
        start = random.integers(1, self.returns.shape[1], size=size)
        slots = start[:, None] + np.arange(-1, horizon + 1)
        observation = self.observations[episode[:, None], slots]
        actions = self.actions[episode[:, None], slots[:, 1:-1]]
        return WindowBatch(
            observation=torch.from_numpy(observation),
            action=torch.from_numpy(encode_action(actions.swapaxes(1, 2), self.contract.action)),
            returns=torch.from_numpy(
                encode_return(self.returns[episode, start], self.contract.returns)
            ),
            neighbours=self.neighbours,
        )


def discounted_returns(rewards: Array, contract: Contract) -> Array:
    """Return discounted sums over the horizon `[n, T - H + 1, K]` of rewards `[n, T, K]`."""
    starts = rewards.shape[1] - contract.horizon + 1
    return np.asarray(
        sum(
            contract.discount**ahead * rewards[:, ahead : ahead + starts]
            for ahead in range(contract.horizon)
        ),
        dtype=np.float32,
    )
