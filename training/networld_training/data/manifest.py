"""The manifest of a data set: what it holds, how it was made, and the digest of every shard."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from networld_runtime.errors import DataError
from networld_runtime.files import write_atomically
from networld_training.data.qualities import Quality
from networld_training.tasks.spec import TaskSpec

FORMAT = 3
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """One file of a data set.

    Attributes:
        file: Its name.
        sha256: Digest of the file.
        episodes: Episodes in it.
        network: Parameters of the network that they take place in.
    """

    file: str
    sha256: str
    episodes: int
    network: Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a data set holds, and everything that it was made from.

    Attributes:
        dataset_id: `networld/<task>/<quality>-v0`.
        spec: Interface of the task: observations, messages, actions, figures of merit.
        couplings: What the entries of the couplings between cells are, as the task names them.
        quality: The mixture of behaviours.
        scenario: Id of the scenario.
        scenario_sha256: Digest of the scenario's parameters.
        slots: Slots of an episode, if not those of the scenario's networks.
        seed: Seed that the whole set is made from.
        episodes: Episodes of the finished set.
        shard_episodes: Episodes of a shard; the last may have fewer.
        code_version: Version of `networld-training` that made it.
        shards: The files that are there, in order.
    """

    dataset_id: str
    spec: TaskSpec
    couplings: tuple[str, ...]
    quality: Quality
    scenario: str
    scenario_sha256: str
    slots: int | None
    seed: int
    episodes: int
    shard_episodes: int
    code_version: str
    shards: tuple[Shard, ...]

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.spec.name

    @property
    def shard_counts(self) -> dict[str, int]:
        """Number of episodes of each file of the finished set."""
        starts = range(0, self.episodes, self.shard_episodes)
        return {
            f"shard-{index:04d}.safetensors": min(self.shard_episodes, self.episodes - start)
            for index, start in enumerate(starts)
        }

    @property
    def complete(self) -> bool:
        """Whether every shard is there."""
        return len(self.shards) == len(self.shard_counts)

    def how_to_make(self, folder: Path) -> str:
        """Return the command that makes this set, or finishes or mends it."""
        words = ["networld", "data", "make", "--output", str(folder), "--task", self.task]
        words += ["--quality", self.quality.name, "--scenario", self.scenario]
        words += ["--episodes", str(self.episodes), "--shard-episodes", str(self.shard_episodes)]
        words += ["--seed", str(self.seed)]
        if self.slots is not None:
            words += ["--slots", str(self.slots)]
        return f"`{shlex.join(words)}`"

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON data."""
        return {"format": FORMAT, "spec_sha256": self.spec.digest(), **asdict(self)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a data set's manifest."""
    write_atomically(folder / MANIFEST, (json.dumps(manifest.to_json(), indent=1) + "\n").encode())


def read_manifest(folder: Path) -> Manifest:
    """Read a data set's manifest, of a finished set or not.

    Raises:
        DataError: It is missing, damaged or of another format.
    """
    path = folder / MANIFEST
    again = "delete it and make the data set again, with the options that it was made with"
    try:
        data = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            str(folder),
            f"no {MANIFEST}; make the data set with `networld data make --output {folder}`",
        ) from None
    except ValueError as error:
        raise DataError(str(path), f"not JSON ({error}); {again}") from error
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise DataError(str(path), f"format = {found!r}: expected {FORMAT}; {again}")
    try:
        digest = data.pop("spec_sha256")
        manifest = _from_json(data)
    except (KeyError, TypeError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise DataError(str(path), f"damaged ({what}); {again}") from error
    problems = _problems(manifest)
    if manifest.spec.digest() != digest:
        problems.append(
            f"spec_sha256 = {digest!r}: expected that of spec, {manifest.spec.digest()}"
        )
    if problems:
        problems[-1] += f"; {again}"
        raise DataError(str(path), problems)
    return manifest


def read_finished_manifest(folder: Path) -> Manifest:
    """Read the manifest of a set that has all of its shards.

    Raises:
        DataError: It is missing or damaged, or the set is unfinished; says how to finish it.
    """
    manifest = read_manifest(folder)
    if not manifest.complete:
        raise DataError(str(folder), unfinished(manifest, folder))
    return manifest


def unfinished(manifest: Manifest, folder: Path) -> str:
    """Return what to say of a set that lacks shards."""
    return (
        f"{len(manifest.shards)} of {len(manifest.shard_counts)} shards; "
        f"finish it with {manifest.how_to_make(folder)}"
    )


def _from_json(data: dict[str, Any]) -> Manifest:
    fields = {name: value for name, value in data.items() if name != "format"}
    fields["spec"] = TaskSpec.from_json(fields["spec"])
    fields["couplings"] = tuple(fields["couplings"])
    fields["quality"] = Quality.from_json(fields["quality"])
    fields["shards"] = tuple(Shard(**shard) for shard in fields["shards"])
    return Manifest(**fields)


def _problems(manifest: Manifest) -> list[str]:
    """Return what does not fit together in a manifest."""
    problems = [
        f"{name} = {getattr(manifest, name)!r}: expected a whole number, at least {lowest}"
        for name, lowest in (("seed", 0), ("episodes", 1), ("shard_episodes", 1))
        if not _is_count(getattr(manifest, name), lowest)
    ]
    if problems:
        return problems
    expected_id = f"networld/{manifest.task}/{manifest.quality.name}-v0"
    if manifest.dataset_id != expected_id:
        problems.append(f"dataset_id = {manifest.dataset_id!r}: expected {expected_id!r}")
    counts = manifest.shard_counts
    files = [shard.file for shard in manifest.shards]
    if files != [file for file in counts if file in files]:
        problems.append(f"shards {files}: expected some of {list(counts)}, in order")
    for shard in manifest.shards:
        if shard.episodes != counts.get(shard.file, shard.episodes):
            problems.append(
                f"{shard.file}: episodes = {shard.episodes!r}: expected {counts[shard.file]}"
            )
        problems += [
            f"{shard.file}: {name} = {shard.network.get(name)!r}: expected a whole number, at least 1"
            for name in ("slots", "cells")
            if not _is_count(shard.network.get(name), 1)
        ]
    return problems


def _is_count(value: object, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest
