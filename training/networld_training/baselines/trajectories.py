"""Data sets as learned baselines take them: what each cell saw, did and was paid, cell by cell."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from networld_runtime.errors import DataError
from networld_training.baselines.actions import ActionCode
from networld_training.data.manifest import Manifest, read_finished_manifest
from networld_training.data.shards import Arrays, read_shard
from networld_training.environments.agent_view import AgentView
from networld_training.tasks.registry import find_task

HELD_OUT = 10
"""One in so many episodes of a shard is held out."""


@dataclass(frozen=True)
class Trajectories:
    """`N` trajectories of `T` slots, each that of one cell in one episode.

    Attributes:
        inputs: What `AgentView` shows of observation and mean field `[N, T + 1, D]`; normalised.
        bins: Actions as `ActionCode` codes them `[N, T, C]`.
        rewards: Standardised over the data set `[N, T]`.
        mask: Valid choices `[N, T + 1, A]`; None if no action is masked.
    """

    inputs: Tensor
    bins: Tensor
    rewards: Tensor
    mask: Tensor | None

    @property
    def slots(self) -> int:
        """Slots T of a trajectory."""
        return self.bins.shape[1]

    def draw(self, count: int, within: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw trajectories and slots, each `[count]`; slots are below `within`."""
        return (
            torch.randint(len(self.bins), (count,), generator=random),
            torch.randint(within, (count,), generator=random),
        )

    def mask_at(self, row: Tensor, slot: Tensor) -> Tensor | None:
        """Return the masks at these places; None if no action is masked."""
        return None if self.mask is None else self.mask[row, slot]


@dataclass(frozen=True)
class LoggedData:
    """A data set in memory.

    Attributes:
        manifest: What it was made from.
        train: Nine tenths of the episodes of every shard.
        held_out: The others.
        sha256: Digest of all its shards.
    """

    manifest: Manifest
    train: Trajectories
    held_out: Trajectories
    sha256: str

    @property
    def steps(self) -> int:
        """Environment steps it took to make: slots of single cells, held-out ones as well."""
        return self.train.bins[..., 0].numel() + self.held_out.bins[..., 0].numel()


def load_data(folder: Path, task: str) -> LoggedData:
    """Read a finished data set of a task.

    Raises:
        ConfigError: There is no such task.
        DataError: The set is unfinished, damaged, of another task or of another interface than the task
            has now, too small, or its episodes differ in length.
    """
    spec = find_task(task).spec
    manifest = read_finished_manifest(folder)
    if manifest.task != task:
        raise DataError(str(folder), f"a data set of task {manifest.task!r}, expected {task!r}")
    if manifest.spec.digest() != spec.digest():
        raise DataError(
            str(folder),
            f"made for another interface of task {task!r} than this version has; make the data set "
            "again in another folder",
        )
    shards = [read_shard(folder, manifest, shard) for shard in manifest.shards]
    slots = sorted({shard["rewards"].shape[1] for shard in shards})
    if len(slots) > 1:
        raise DataError(str(folder), f"episodes of {slots} slots, expected one length")
    if len(shards[0]["rewards"]) < 2:
        raise DataError(str(folder), "one episode in a shard, expected two: one is held out")
    rewards = np.concatenate([shard["rewards"].reshape(-1) for shard in shards])
    scale = (float(rewards.mean()), float(rewards.std()) or 1.0)
    train, held_out = zip(*(_split(shard) for shard in shards), strict=True)
    digest = hashlib.sha256("".join(shard.sha256 for shard in manifest.shards).encode())
    return LoggedData(
        manifest,
        _trajectories(manifest, train, scale),
        _trajectories(manifest, held_out, scale),
        digest.hexdigest(),
    )


def _split(shard: Arrays) -> tuple[Arrays, Arrays]:
    """Return the episodes of a shard that are learned from, and those that are held out."""
    count = len(shard["rewards"])
    first = count - max(1, count // HELD_OUT) if count > 1 else count
    names = [name for name in shard if name != "neighbours"]
    return (
        {name: shard[name][:first] for name in names},
        {name: shard[name][first:] for name in names},
    )


def _trajectories(
    manifest: Manifest, shards: tuple[Arrays, ...], scale: tuple[float, float]
) -> Trajectories:
    spec = manifest.spec
    view, code = AgentView(spec), ActionCode(spec)
    mean, deviation = scale

    def gathered(name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Return an array of all shards, one row for each cell of each episode."""
        parts = [np.moveaxis(shard[name], 2, 1) for shard in shards]
        return np.concatenate([part.reshape(-1, *part.shape[2:]) for part in parts])

    inputs = view.seen(gathered("observations"), gathered("mean_field"))
    masked = bool(spec.mask_size)
    return Trajectories(
        inputs=torch.from_numpy(inputs),
        bins=code.bins(gathered("actions")),
        rewards=torch.from_numpy((gathered("rewards") - mean) / deviation),
        mask=torch.from_numpy(gathered("action_mask") != 0) if masked else None,
    )
