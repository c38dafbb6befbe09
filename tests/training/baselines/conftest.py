"""Made-up problems whose right answers are known, and tiny data sets of the real tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from networld_runtime.contract import ActionBins, Feature
from networld_training.baselines.trajectories import LoggedData, Trajectories
from networld_training.data.generate import Generation, GenerationSettings
from networld_training.data.manifest import Manifest, Shard
from networld_training.data.qualities import Behaviour, Quality
from networld_training.tasks.registry import find_task
from networld_training.tasks.spec import Choice, Kpi, TaskSpec

MADE_UP = TaskSpec(
    name="made-up",
    slot_s=0.01,
    features=(Feature("first", "", -1.0, 1.0), Feature("second", "", -1.0, 1.0)),
    message=(Feature("told", "", -1.0, 1.0),),
    actions=(
        Choice("side", ("left", "right", "never"), masked=True),
        ActionBins("level", 0.0, 1.0, 2, off=-1.0),
    ),
    kpis=(Kpi("reward", ""),),
    expert="best",
)


@pytest.fixture(scope="session")
def logged() -> Callable[[Tensor, Tensor, Tensor], LoggedData]:
    """Make a data set of the made-up task out of what was seen, done and paid."""
    return _logged


def _logged(inputs: Tensor, side: Tensor, rewards: Tensor) -> LoggedData:
    """Return trajectories as a data set; nine tenths of them are learned from.

    Args:
        inputs: What is seen `[N, T + 1, 3]`: first, second, told.
        side: Left or right `[N, T]`; the level is always 1.
        rewards: What it was worth `[N, T]`.
    """
    bins = torch.stack([side, torch.full_like(side, 2)], dim=-1)
    mask = torch.tensor([True, True, False]).expand(*inputs.shape[:2], 3)
    rewards = (rewards - rewards.mean()) / rewards.std()
    first = len(side) * 9 // 10
    parts = [
        Trajectories(inputs[part].float(), bins[part], rewards[part].float(), mask[part])
        for part in (slice(first), slice(first, None))
    ]
    quality = Quality("mixed", (Behaviour("best", 1.0, False),))
    shard = Shard("shard-0000.safetensors", "0", 1, {"cells": 7})
    manifest = Manifest(
        "networld/made-up/mixed-v0", MADE_UP, (), quality, "test", "0", None, 0, 1, 1, "0", (shard,)
    )
    return LoggedData(manifest, parts[0], parts[1], "0")


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A data set of a task: six episodes of twelve slots in three networks, made once."""
    folder = tmp_path_factory.mktemp("small")

    def made(task: str) -> Path:
        if not (folder / task).exists():
            scenario = find_task(task).scenarios["train"]
            few = replace(scenario, networks=scenario.networks[:3])
            settings = GenerationSettings(few, episodes=6, shard_episodes=2, seed=1, slots=12)
            Generation(folder / task, settings).run(lambda _: None)
        return folder / task

    return made
