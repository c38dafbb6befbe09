"""Making a data set: scenarios of the training family, behaviours, shards; resumes after a break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from networld_runtime.errors import DataError, check_values
from networld_training.data.behaviours import QUALITIES, BehaviourPolicy
from networld_training.data.dataset import (
    Arrays,
    Manifest,
    Shard,
    read_manifest,
    read_shard,
    write_manifest,
    write_shard,
)
from networld_training.tasks.power import OFF_DB, PowerNetwork, PowerTask

Report = Callable[[int], None]


@dataclass(frozen=True)
class TrainingFamily:
    """The scenarios that training draws from; each shard is one of them.

    Attributes:
        inter_site_distance_m: Lowest and highest distance of neighbouring sites.
        users_per_cell: Numbers of users to choose from.
        speed_m_s: Lowest and highest speed of the users.
        slots: Slots of an episode after the warm-up.
    """

    inter_site_distance_m: tuple[float, float] = (100.0, 250.0)
    users_per_cell: tuple[int, ...] = (3, 4, 5)
    speed_m_s: tuple[float, float] = (0.5, 2.0)
    slots: int = 100

    def draw(self, random: np.random.Generator) -> PowerNetwork:
        """Draw one scenario."""
        return replace(
            PowerNetwork(),
            name="training-family",
            inter_site_distance_m=float(random.uniform(*self.inter_site_distance_m)),
            users_per_cell=int(random.choice(self.users_per_cell)),
            speed_m_s=float(random.uniform(*self.speed_m_s)),
            slots=self.slots,
        )


@dataclass(frozen=True)
class GenerationSettings:
    """What to make.

    Attributes:
        quality: Mixture of behaviours, a key of `QUALITIES`.
        episodes: Episodes in all.
        shard_episodes: Episodes of one shard, simulated together.
        seed: Seed of scenarios, radio and behaviours.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    quality: str = "mixed"
    episodes: int = 2048
    shard_episodes: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        known = ", ".join(QUALITIES)
        check_values(
            "data set",
            self,
            (
                ("quality", self.quality in QUALITIES, f"one of {known}"),
                ("episodes", self.episodes >= 1, "at least 1"),
                ("shard_episodes", self.shard_episodes >= 1, "at least 1"),
                ("seed", self.seed >= 0, "0 or more"),
            ),
        )


def generate(
    folder: Path, settings: GenerationSettings, family: TrainingFamily, report: Report
) -> Manifest:
    """Make a data set, or finish one that was interrupted.

    Intact shards of an earlier run are kept, missing and damaged ones are made again; the result does not
    depend on where the run was interrupted. `report(episodes done)` is called after each shard.

    Raises:
        DataError: The folder holds another data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = [
        min(settings.shard_episodes, settings.episodes - start)
        for start in range(0, settings.episodes, settings.shard_episodes)
    ]
    manifest = Manifest(
        dataset_id=f"networld/power/{settings.quality}-v0",
        task="power",
        contract=PowerTask(PowerNetwork(), [0]).contract,
        behaviours=tuple(QUALITIES[settings.quality].weights),
        seed=settings.seed,
        shards=(),
        total_shards=len(counts),
    )
    shards = _intact_shards(folder, manifest, counts)
    for index, count in enumerate(counts):
        if index not in shards:
            shards[index] = _make_shard(folder, index, count, settings, family)
        ordered = tuple(shards[known] for known in sorted(shards))
        manifest = replace(manifest, shards=ordered)
        write_manifest(folder, manifest)
        report(sum(counts[: index + 1]))
    return manifest


def _shard_name(index: int) -> str:
    return f"shard-{index:04d}.safetensors"


def _intact_shards(folder: Path, manifest: Manifest, counts: list[int]) -> dict[int, Shard]:
    """Return the shards of an earlier run that are whole, by index."""
    if not (folder / "manifest.json").exists():
        return {}
    earlier = read_manifest(folder)
    same = replace(earlier, shards=()) == manifest
    if not same:
        raise DataError(
            str(folder),
            f"holds another data set ({earlier.dataset_id}, seed {earlier.seed}, "
            f"{earlier.total_shards} shards); use the same options or another folder",
        )
    listed = {shard.file: shard for shard in earlier.shards}
    present = {}
    for index, count in enumerate(counts):
        shard = listed.get(_shard_name(index))
        if shard is None or shard.episodes != count:
            continue
        try:
            read_shard(folder, shard, manifest.contract)
        except DataError:
            continue
        present[index] = shard
    return present


def _make_shard(
    folder: Path, index: int, episodes: int, settings: GenerationSettings, family: TrainingFamily
) -> Shard:
    """Simulate one shard; all of its randomness comes from the set's seed and its index."""
    random = np.random.default_rng((settings.seed, index))
    scenario = family.draw(random)
    seeds = random.integers(2**31, size=episodes)
    task = PowerTask(scenario, seeds.tolist())
    observation = task.reset()
    shape = observation.shape[:2]
    policy = BehaviourPolicy(
        QUALITIES[settings.quality], (shape[0], shape[1]), task.contract.action, random
    )
    observations, actions, rewards, utilities = [observation], [], [], []
    for _ in range(scenario.slots):
        action = policy.act(task)
        # a cell without users stays off whatever its policy says
        action = np.where(task.measured.active, action, np.float32(OFF_DB))
        outcome = task.step(action)
        observations.append(outcome.observation)
        actions.append(action.astype(np.float32))
        rewards.append(outcome.reward)
        utilities.append(outcome.utility)
    arrays: Arrays = {
        "observations": np.stack(observations, axis=1),
        "actions": np.stack(actions, axis=1),
        "rewards": np.stack(rewards, axis=1).astype(np.float32),
        "utilities": np.stack(utilities, axis=1).astype(np.float32),
        "behaviours": policy.behaviours.astype(np.int32),
        "seeds": seeds.astype(np.int64),
        "neighbours": task.neighbours.astype(np.int64),
    }
    return write_shard(folder, _shard_name(index), arrays, asdict(scenario))
