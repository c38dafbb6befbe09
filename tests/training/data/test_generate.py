"""Making data sets: reproducible, resumable, of every task and quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networld_runtime.errors import ConfigError, DataError
from networld_training.data.generate import Generation, GenerationSettings, simulate
from networld_training.data.inspection import inspect
from networld_training.data.manifest import Manifest, read_finished_manifest, read_manifest
from networld_training.data.qualities import QUALITIES, qualities_of
from networld_training.data.shards import SEEDS, read_shard
from networld_training.tasks.base import shared_reward
from networld_training.tasks.power.contract import OFF_DB
from networld_training.tasks.registry import TASKS, find_task

Make = Callable[..., Manifest]
SettingsOf = Callable[..., GenerationSettings]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_gives_the_same_files(tmp_path: Path, make: Make, task_name: str) -> None:
    make(tmp_path / "one", task_name)
    make(tmp_path / "two", task_name)
    make(tmp_path / "three", task_name, seed=2)
    one, other_seed = contents(tmp_path / "one"), contents(tmp_path / "three")
    assert one == contents(tmp_path / "two")
    assert all(one[name] != other_seed[name] for name in one)


@pytest.mark.parametrize("done", [2, 4])
def test_interrupted_set_is_refused_then_finished(
    tmp_path: Path, make: Make, settings_of: SettingsOf, task_name: str, done: int
) -> None:
    make(tmp_path / "whole", task_name)

    def stop(episodes: int) -> None:
        if episodes >= done:
            raise KeyboardInterrupt

    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        Generation(folder, settings_of(task_name)).run(stop)
    with pytest.raises(
        DataError, match=f"{done // 2} of 3 shards; finish it with `networld data make"
    ):
        read_finished_manifest(folder)
    again = Generation(folder, settings_of(task_name))
    assert again.done == done
    again.run(lambda _: None)
    assert contents(tmp_path / "whole") == contents(folder)


def test_file_left_by_a_crash_before_it_was_listed_is_made_again(
    power_set: Path, make: Make, settings_of: SettingsOf
) -> None:
    before = contents(power_set)
    for path in power_set.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    (power_set / "manifest.json").unlink()
    assert Generation(power_set, settings_of()).done == 0
    make(power_set)
    assert contents(power_set) == before


def test_interrupted_repair_keeps_the_intact_shards(
    power_set: Path, make: Make, settings_of: SettingsOf
) -> None:
    before = contents(power_set)
    (power_set / "shard-0001.safetensors").write_bytes(b"damaged")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Generation(power_set, settings_of()).run(stop)
    files = [entry.file for entry in read_manifest(power_set).shards]
    assert files == ["shard-0000.safetensors", "shard-0002.safetensors"]
    make(power_set)
    assert contents(power_set) == before


def test_progress_counts_from_what_is_there(power_set: Path, settings_of: SettingsOf) -> None:
    (power_set / "shard-0001.safetensors").unlink()
    generation = Generation(power_set, settings_of())
    assert generation.done == 3
    reported: list[int] = []
    generation.run(reported.append)
    assert reported == sorted(reported)
    assert reported[0] == 3
    assert reported[-1] == 5


def test_another_set_in_the_same_folder_is_refused_with_every_difference(
    power_set: Path, make: Make
) -> None:
    with pytest.raises(DataError) as raised:
        make(power_set, quality="expert", seed=9)
    assert raised.value.problems == [
        "dataset_id = 'networld/power/expert-v0', but the data set in this folder has "
        "'networld/power/mixed-v0'",
        "seed = 9, but the data set in this folder has 1; "
        "use the options that it was made with, or another folder",
    ]


def test_another_mixture_of_the_same_name_is_refused(
    power_set: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(QUALITIES["power"]["expert"], name="mixed")
    monkeypatch.setitem(QUALITIES["power"], "mixed", other)
    with pytest.raises(DataError, match="mixes its behaviours otherwise"):
        make(power_set)


def test_set_with_other_couplings_is_refused(
    power_set: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_task("power").make, "couplings", ("gain",))
    with pytest.raises(
        DataError, match=r"^.*: couplings = \('gain',\), but the data set in this fo"
    ):
        make(power_set)


def test_task_without_couplings_logs_none(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_task("power").make, "couplings", ())
    manifest = make(tmp_path)
    arrays = read_shard(tmp_path, manifest, manifest.shards[0])
    assert "couplings" not in arrays
    assert arrays["credits"].shape == (2, 4, 7)
    assert inspect(tmp_path).couplings == ()


def test_settings_name_every_bad_value(settings_of: SettingsOf) -> None:
    with pytest.raises(ConfigError) as raised:
        settings_of(episodes=0, shard_episodes=0, seed=-1, slots=0)
    assert raised.value.problems == [
        "episodes = 0: expected at least 1",
        "shard_episodes = 0: expected at least 1",
        "seed = -1: expected 0 or more",
        "slots = 0: expected at least 1",
    ]
    with pytest.raises(ConfigError) as raised:
        settings_of(quality="best")
    assert raised.value.problems == [
        "quality = 'best': expected one of random, medium, expert, medium-expert, mixed"
    ]


@pytest.mark.parametrize(
    ("task", "quality"), [(task, quality) for task in TASKS for quality in qualities_of(task)]
)
def test_every_quality_of_every_task_is_intact(
    tmp_path: Path, make: Make, task: str, quality: str
) -> None:
    manifest = make(tmp_path, task, quality=quality)
    assert manifest == read_finished_manifest(tmp_path)
    assert manifest.dataset_id == f"networld/{task}/{quality}-v0"
    assert [shard.episodes for shard in manifest.shards] == [2, 2, 1]
    for shard in manifest.shards:
        arrays = read_shard(tmp_path, manifest, shard)  # checks shapes, types, ranges and masks
        expected = shared_reward(
            arrays["utilities"].swapaxes(0, 1).reshape(-1, arrays["rewards"].shape[-1]),
            arrays["neighbours"],
        ).reshape(arrays["rewards"].swapaxes(0, 1).shape)
        np.testing.assert_allclose(arrays["rewards"].swapaxes(0, 1), expected, rtol=1e-4, atol=1e-5)


def test_networks_take_turns_and_seeds_are_no_evaluation_seeds(
    tmp_path: Path, make: Make, settings_of: SettingsOf, task_name: str
) -> None:
    networks = settings_of(task_name).scenario.networks
    manifest = make(tmp_path, task_name, episodes=3, shard_episodes=1, slots=1)
    names = [shard.network["name"] for shard in manifest.shards]
    assert names == [networks[index % len(networks)].name for index in range(3)]
    seeds = [read_shard(tmp_path, manifest, shard)["seeds"].item() for shard in manifest.shards]
    assert len(set(seeds)) == 3
    assert 2**31 == SEEDS[0] <= min(seeds) <= max(seeds) <= SEEDS[1] == 2**32 - 1


def test_logged_episode_is_what_the_task_does_with_the_logged_actions(
    settings_of: SettingsOf, task_name: str
) -> None:
    settings = settings_of(task_name)
    arrays = simulate(settings, 1, 2, lambda _: None)
    task = find_task(task_name).make(settings.network(1), arrays["seeds"].tolist())
    task.reset()
    for slot in range(4):
        np.testing.assert_array_equal(arrays["observations"][:, slot], task.observation)
        np.testing.assert_array_equal(arrays["mean_field"][:, slot], task.mean_field)
        np.testing.assert_array_equal(arrays["couplings"][:, slot], task.coupling)
        if task.action_mask is not None:
            np.testing.assert_array_equal(arrays["action_mask"][:, slot], task.action_mask)
        outcome = task.step(arrays["actions"][:, slot])
        np.testing.assert_array_equal(arrays["rewards"][:, slot], outcome.reward)
        np.testing.assert_array_equal(arrays["utilities"][:, slot], outcome.utility)
        np.testing.assert_array_equal(arrays["credits"][:, slot], outcome.credit)
    np.testing.assert_array_equal(arrays["observations"][:, 4], task.observation)
    np.testing.assert_array_equal(arrays["mean_field"][:, 4], task.mean_field)
    metrics = task.metrics()
    for index, kpi in enumerate(task.spec.kpis):
        np.testing.assert_array_equal(arrays["metrics"][:, index], metrics[kpi.name])


def test_power_is_logged_as_it_took_effect(settings_of: SettingsOf) -> None:
    settings = settings_of(quality="random", slots=20)
    scenario = replace(
        settings.scenario, networks=(replace(settings.network(0), users_per_cell=1),)
    )
    arrays = simulate(replace(settings, scenario=scenario), 0, 4, lambda _: None)
    names = [feature.name for feature in find_task("power").spec.features]
    seen, actions = arrays["observations"], arrays["actions"][..., 0]
    idle = seen[:, :-1, :, names.index("active")] == 0
    assert idle.any()
    assert (actions[idle] == OFF_DB).all()
    assert ((actions == OFF_DB) | ((actions >= -30) & (actions <= 0))).all()
    # the power that a cell shows one slot later is the one it was logged with
    shown = seen[:, 1:, :, names.index("power_1_ago")]
    np.testing.assert_allclose(shown, np.where(actions == OFF_DB, -31, actions), atol=1e-3)
