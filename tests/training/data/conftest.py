"""Data sets small enough for tests, of every task."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from networld_training.data.generate import Generation, GenerationSettings
from networld_training.data.manifest import Manifest, read_manifest, write_manifest
from networld_training.data.shards import Arrays, read_shard, write_shard
from networld_training.tasks.registry import TASKS, find_task


@pytest.fixture(params=TASKS)
def task_name(request: pytest.FixtureRequest) -> str:
    """Every task in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def settings_of() -> Callable[..., GenerationSettings]:
    """Settings of a tiny set of a task: five episodes of four slots in three shards."""

    def settings(task: str = "power", **changes: Any) -> GenerationSettings:
        scenario = find_task(task).scenarios["train"]
        tiny = GenerationSettings(scenario, episodes=5, shard_episodes=2, seed=1, slots=4)
        return replace(tiny, **changes)

    return settings


@pytest.fixture(scope="session")
def make(settings_of: Callable[..., GenerationSettings]) -> Callable[..., Manifest]:
    """Make a tiny set in a folder, or finish the one that is there."""

    def made(folder: Path, task: str = "power", **changes: Any) -> Manifest:
        return Generation(folder, settings_of(task, **changes)).run(lambda _: None)

    return made


@pytest.fixture(scope="session")
def original(
    make: Callable[..., Manifest], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The tiny set of a task, made once; not to be changed."""
    folder = tmp_path_factory.mktemp("original")

    def made(task: str) -> Path:
        if not (folder / task).exists():
            make(folder / task, task)
        return folder / task

    return made


@pytest.fixture
def power_set(original: Callable[[str], Path], tmp_path: Path) -> Path:
    """A copy of the tiny set of the power task."""
    return Path(shutil.copytree(original("power"), tmp_path / "power"))


@pytest.fixture
def rewrite() -> Callable[[Path, Callable[[Arrays], None]], None]:
    """Change the arrays of a set's first shard and sign it again, as a faulty program would."""

    def rewritten(folder: Path, change: Callable[[Arrays], None]) -> None:
        manifest = read_manifest(folder)
        first, *others = manifest.shards
        arrays = dict(read_shard(folder, manifest, first))
        change(arrays)
        network = find_task(manifest.task).network(**first.network)
        signed = write_shard(folder, first.file, arrays, network)
        write_manifest(folder, replace(manifest, shards=(signed, *others)))

    return rewritten
