"""Making a data set: networks of a scenario in turn, behaviours, shards; resumes after a break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from networld_runtime.errors import DataError, check_values
from networld_training.data.behaviours import BehaviourPolicy
from networld_training.data.manifest import (
    MANIFEST,
    Manifest,
    Shard,
    read_manifest,
    write_manifest,
)
from networld_training.data.qualities import Quality, find_quality
from networld_training.data.shards import SEEDS, Array, Arrays, examine_shard, write_shard
from networld_training.tasks.network import Network
from networld_training.tasks.registry import find_task
from networld_training.tasks.scenario import Scenario

DOMAIN = 0x64617461  # "data": keeps these draws apart from those of training and evaluation

Report = Callable[[int], None]


@dataclass(frozen=True)
class GenerationSettings:
    """What to make.

    Attributes:
        scenario: Where the episodes take place; shard i in network i modulo their count.
        quality: Mixture of behaviours, a key of the task's `QUALITIES`.
        episodes: Episodes in all.
        shard_episodes: Episodes of one shard, simulated together.
        seed: Seed of episodes and behaviours.
        slots: Slots of an episode; those of the scenario's networks if None.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    scenario: Scenario
    quality: str = "mixed"
    episodes: int = 2048
    shard_episodes: int = 64
    seed: int = 0
    slots: int | None = None

    def __post_init__(self) -> None:
        find_quality(self.scenario.task, self.quality)
        check_values(
            "data set",
            self,
            (
                ("episodes", self.episodes >= 1, "at least 1"),
                ("shard_episodes", self.shard_episodes >= 1, "at least 1"),
                ("seed", self.seed >= 0, "0 or more"),
                ("slots", self.slots is None or self.slots >= 1, "at least 1"),
            ),
        )

    @property
    def mixture(self) -> Quality:
        """The quality that `quality` names."""
        return find_quality(self.scenario.task, self.quality)

    def network(self, index: int) -> Network:
        """Return the network of the shard with this index."""
        network = self.scenario.networks[index % len(self.scenario.networks)]
        return network if self.slots is None else replace(network, slots=self.slots)

    def manifest(self) -> Manifest:
        """Return the manifest of the set before its first shard."""
        task = find_task(self.scenario.task).make
        return Manifest(
            dataset_id=f"networld/{self.scenario.task}/{self.quality}-v0",
            spec=task.spec,
            couplings=task.couplings,
            quality=self.mixture,
            scenario=self.scenario.id,
            scenario_sha256=self.scenario.digest(),
            slots=self.slots,
            seed=self.seed,
            episodes=self.episodes,
            shard_episodes=self.shard_episodes,
            code_version=version("networld-training"),
            shards=(),
        )


class Generation:
    """The making of a data set in a folder, from nothing or from what an earlier run left.

    Intact shards are kept, missing and damaged ones made again; the result does not depend on where an
    earlier run was interrupted.

    Args:
        folder: Where the set is or shall be.
        settings: What to make.

    Attributes:
        done: Episodes that need not be made.

    Raises:
        DataError: The folder holds another data set; lists every difference.
    """

    def __init__(self, folder: Path, settings: GenerationSettings) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = settings
        self.manifest = settings.manifest()
        self._kept = self._intact_shards()
        self.done = sum(shard.episodes for shard in self._kept.values())

    def run(self, report: Report) -> Manifest:
        """Make what is missing and return the manifest; `report(episodes done)` is called at times."""
        shards = dict(self._kept)
        self._write(shards)
        for index, (name, count) in enumerate(self.manifest.shard_counts.items()):
            if name in shards:
                continue
            before = sum(shard.episodes for shard in shards.values())
            arrays = simulate(self.settings, index, count, _from(report, before))
            shards[name] = write_shard(self.folder, name, arrays, self.settings.network(index))
            self._write(shards)
            report(before + count)
        return self.manifest

    def _write(self, shards: dict[str, Shard]) -> None:
        ordered = tuple(shards[name] for name in self.manifest.shard_counts if name in shards)
        self.manifest = replace(self.manifest, shards=ordered)
        write_manifest(self.folder, self.manifest)

    def _intact_shards(self) -> dict[str, Shard]:
        """Return the shards of an earlier run that are whole, by name."""
        if not (self.folder / MANIFEST).exists():
            return {}
        earlier = read_manifest(self.folder)
        there, wanted = (one.to_json() | {"shards": []} for one in (earlier, self.manifest))
        differences = [
            f"{name} = {wanted[name]!r}, but the data set in this folder has {there[name]!r}"
            for name in wanted
            if name not in {"spec", "quality"} and wanted[name] != there[name]
        ]
        if earlier.quality != self.manifest.quality and not differences:
            differences.append("the data set in this folder mixes its behaviours otherwise")
        if differences:
            differences[-1] += "; use the options that it was made with, or another folder"
            raise DataError(str(self.folder), differences)
        return {
            shard.file: shard
            for shard in earlier.shards
            if not examine_shard(self.folder, earlier, shard)[1]
        }


def simulate(settings: GenerationSettings, index: int, episodes: int, report: Report) -> Arrays:
    """Return the arrays of one shard; they depend on nothing but the settings and its index."""
    random = np.random.default_rng((DOMAIN, settings.seed, index))
    low, high = SEEDS
    seeds = random.integers(low, high, size=episodes, endpoint=True)
    network = settings.network(index)
    task = find_task(settings.scenario.task).make(network, seeds.tolist())
    task.reset()
    policy = BehaviourPolicy(settings.mixture, task, random)
    log: dict[str, list[Array]] = {
        name: []
        for name in ("observations", "mean_field", "actions", "rewards", "utilities", "credits")
    }
    if task.couplings:
        log["couplings"] = []
    if task.action_mask is not None:
        log["action_mask"] = []

    def see() -> None:
        log["observations"].append(task.observation)
        log["mean_field"].append(task.mean_field)
        if task.action_mask is not None:
            log["action_mask"].append(task.action_mask.astype(np.uint8))

    see()
    for slot in range(network.slots):
        action = policy.act(task)
        if task.couplings:
            log["couplings"].append(task.coupling)
        outcome = task.step(action)
        log["actions"].append(action)
        log["rewards"].append(outcome.reward)
        log["utilities"].append(outcome.utility)
        log["credits"].append(outcome.credit)
        see()
        report(episodes * slot // network.slots)
    metrics = task.metrics()
    return {name: np.stack(values, axis=1) for name, values in log.items()} | {
        "behaviours": policy.behaviours.astype(np.int32),
        "seeds": seeds,
        "metrics": np.stack([metrics[kpi.name] for kpi in task.spec.kpis], axis=-1),
        "neighbours": task.neighbours.astype(np.int64),
    }


def _from(report: Report, before: int) -> Report:
    return lambda done: report(before + done)
