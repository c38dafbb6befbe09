"""Training windows: stretches of slots of all cells, drawn at random from a data set.

A window holds `S` starts of plans. Every slot is encoded once and serves several starts, which makes a
training sample of the classifier, the one that needs most of them, several times cheaper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import NORMALISED_LIMIT, Contract
from networld_runtime.errors import ConfigError, DataError
from networld_runtime.two_hot import encode_actions, encode_mask
from networld_training.data.manifest import Manifest, read_finished_manifest
from networld_training.data.shards import Arrays, read_shard
from networld_training.tasks.registry import CONTRACTS

Array = np.ndarray[Any, Any]

OVER_NOISE = "dB over noise"
"""Unit of the features that rise when there is less noise."""
QUIETER_SHARE = 0.5
LARGEST_QUIETER_DB = 12.0
"""A share of the windows is shown as if there were less noise, by up to so much: where interference rules,
what cells do is worth the same, and a model that has learned so carries over to denser networks."""


@dataclass(frozen=True)
class WindowBatch:
    """`B` windows of `K` cells; start `s` plans from slot `s + 1` of the window.

    Attributes:
        observation: Normalised `[B, S + H + 1, K, D]`; the first slot only sends messages.
        action: Coded actions from the first start on `[B, S + H - 1, K, A]`.
        neighbours: `[K, n]`.
        credit: What the same slots were worth `[B, S + H - 1, K]`.
        coupling: How strongly neighbours acted on each cell in them `[B, S + H - 1, K, n, Q]`.
        mask: Entries of a coded action that were valid in them `[B, S + H - 1, K, A]`.
        starts: Number of starts `S`.
    """

    observation: Tensor
    action: Tensor
    neighbours: Tensor
    credit: Tensor
    coupling: Tensor
    mask: Tensor
    starts: int

    def to(self, device: str) -> WindowBatch:
        """Return the batch on a device."""
        moved = {
            one.name: getattr(self, one.name).to(device)
            for one in fields(self)
            if one.name != "starts"
        }
        return replace(self, **moved)


class WindowSampler:
    """Holds a data set in memory and draws batches that depend only on seed and step.

    Args:
        folder: A finished data set.
        episodes: Learn from so many of its episodes, evenly spread over its networks; None takes all.

    Raises:
        DataError: The data set is unfinished or damaged, too small, or not what the world model learns from.
    """

    def __init__(self, folder: Path, episodes: int | None = None) -> None:
        manifest = read_finished_manifest(folder)
        self.contract: Contract = _contract(folder, manifest)
        shards = [read_shard(folder, manifest, shard) for shard in manifest.shards]
        _check_same_cells(folder, shards)
        self.neighbours = torch.from_numpy(shards[0]["neighbours"])
        chosen = _spread(folder, sum(shard.episodes for shard in manifest.shards), episodes)

        def joined(name: str) -> Array:
            return np.concatenate([shard[name] for shard in shards])[chosen]

        self.observations = self.contract.normalise(joined("observations"))
        self.actions = joined("actions")
        self.credits = joined("credits")
        self.couplings = joined("couplings")
        self.masks = joined("action_mask") if "action_mask" in shards[0] else None
        self.per_db = np.array(
            [2 / (one.high - one.low) * (OVER_NOISE in one.unit) for one in self.contract.features],
            dtype=np.float32,
        )

    def batch(self, size: int, starts: int, seed: int, step: int) -> WindowBatch:
        """Draw `size` windows of `starts` starts; the same seed and step give the same windows.

        Raises:
            DataError: The episodes are too short for a window.
        """
        random = np.random.default_rng((seed, step))
        horizon = self.contract.horizon
        last = self.actions.shape[1] - starts - horizon + 1
        if last < 1:
            raise DataError(
                "data set",
                f"episodes of {self.actions.shape[1]} slots, at least {starts + horizon} are needed",
            )
        episode = random.integers(len(self.actions), size=size)[:, None]
        first = random.integers(1, last + 1, size=size)[:, None]
        acting = first + np.arange(starts + horizon - 1)
        quieter_db = random.uniform(0.0, LARGEST_QUIETER_DB, (size, 1, 1, 1))
        quieter_db *= random.random(quieter_db.shape) < QUIETER_SHARE
        seen = self.observations[episode, first + np.arange(-1, starts + horizon)]
        limit = NORMALISED_LIMIT
        seen = np.clip(seen + quieter_db * self.per_db, -limit, limit, dtype=np.float32)
        gain = 10 ** (quieter_db[..., None] / 10) if self.per_db.any() else 1.0
        return WindowBatch(
            observation=torch.from_numpy(seen),
            action=torch.from_numpy(
                encode_actions(self.actions[episode, acting], self.contract.actions)
            ),
            neighbours=self.neighbours,
            credit=torch.from_numpy(self.credits[episode, acting]),
            coupling=torch.from_numpy((self.couplings[episode, acting] * gain).astype(np.float32)),
            mask=torch.from_numpy(self._valid(episode, acting)),
            starts=starts,
        )

    def _valid(self, episode: Array, slot: Array) -> Array:
        """Return which entries of a coded action were valid `[B, S, K, A]`."""
        if self.masks is None:
            nothing = np.ones((*slot.shape, self.actions.shape[2], 0))
            return encode_mask(nothing, self.contract.actions)
        return encode_mask(self.masks[episode, slot], self.contract.actions)


def read_samplers(folders: Sequence[Path]) -> dict[str, WindowSampler]:
    """Return a sampler for each data set, by task.

    Raises:
        DataError: As for a single one.
        ConfigError: Two data sets are of the same task.
    """
    samplers: dict[str, WindowSampler] = {}
    for folder in folders:
        sampler = WindowSampler(folder)
        task = sampler.contract.task
        if task in samplers:
            raise ConfigError("data sets", f"two of task {task!r}; name one")
        samplers[task] = sampler
    return samplers


def _contract(folder: Path, manifest: Manifest) -> Contract:
    """Return what the world model and the set's task agree on."""
    contract = CONTRACTS.get(manifest.task)
    if contract is None:
        raise DataError(
            str(folder),
            f"a data set of task {manifest.task!r}, but the world model learns {', '.join(CONTRACTS)} only",
        )
    if (contract.features, contract.actions) != (manifest.spec.features, manifest.spec.actions):
        raise DataError(
            str(folder),
            f"features or actions are not those of this version's contract of task {manifest.task!r}; "
            "make the data set again in another folder",
        )
    return contract


def _spread(folder: Path, there: int, episodes: int | None) -> Array:
    """Return the indices of episodes to learn from, evenly spread over all that are there."""
    if episodes is None:
        return np.arange(there)
    if not 1 <= episodes <= there:
        raise DataError(str(folder), f"has {there} episodes, so not {episodes} of them")
    return np.arange(episodes) * there // episodes


def _check_same_cells(folder: Path, shards: list[Arrays]) -> None:
    """Refuse a set whose episodes differ in slots, cells or who is whose neighbour."""
    first = shards[0]
    for index, shard in enumerate(shards):
        same = shard["rewards"].shape[1:] == first["rewards"].shape[1:] and np.array_equal(
            np.sort(shard["neighbours"]), np.sort(first["neighbours"])
        )
        if not same:
            raise DataError(
                str(folder),
                f"shard {index} has other slots, cells or neighbours than shard 0; the world model "
                "learns from scenarios whose networks share them, `train` for one",
            )
