"""Data sets: reproducible, resumable, and never half-read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from networld_runtime.errors import ConfigError, DataError
from networld_training.data.behaviours import QUALITIES
from networld_training.data.dataset import read_manifest, read_shard
from networld_training.data.generate import GenerationSettings, TrainingFamily, generate
from networld_training.data.windows import WindowSampler, discounted_returns
from networld_training.tasks.power.contract import POWER_CONTRACT

FAMILY = replace(TrainingFamily(), slots=16)
SETTINGS = GenerationSettings(episodes=5, shard_episodes=2, seed=1)


def make(folder: Path, settings: GenerationSettings = SETTINGS) -> None:
    generate(folder, settings, FAMILY, lambda _: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    make(tmp_path / "three", replace(SETTINGS, seed=2))
    assert contents(tmp_path / "one") != contents(tmp_path / "three")


def test_interrupted_set_is_refused_then_finished(tmp_path: Path) -> None:
    make(tmp_path / "whole")

    class Interrupt(Exception):  # noqa: N818
        pass

    def stop(done: int) -> None:
        if done >= 2:
            raise Interrupt

    with pytest.raises(Interrupt):
        generate(tmp_path / "parts", SETTINGS, FAMILY, stop)
    with pytest.raises(DataError, match="1 of 3 shards"):
        WindowSampler(tmp_path / "parts")
    make(tmp_path / "parts")
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")


def test_damaged_shard_is_named_and_made_again(tmp_path: Path) -> None:
    make(tmp_path)
    before = contents(tmp_path)
    shard = tmp_path / "shard-0001.safetensors"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(DataError, match=r"shard-0001.*damaged"):
        WindowSampler(tmp_path)
    make(tmp_path)
    assert contents(tmp_path) == before


def test_interrupted_repair_keeps_the_intact_shards(tmp_path: Path) -> None:
    make(tmp_path)
    shard = tmp_path / "shard-0001.safetensors"
    shard.write_bytes(b"damaged")

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, SETTINGS, FAMILY, stop)
    files = [entry.file for entry in read_manifest(tmp_path).shards]
    assert files == ["shard-0000.safetensors", "shard-0002.safetensors"]


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_truncated_shard_is_never_half_read(tmp_path: Path, keep: int) -> None:
    make(tmp_path)
    shard = tmp_path / "shard-0000.safetensors"
    shard.write_bytes(shard.read_bytes()[:keep])
    with pytest.raises(DataError, match="shard-0000"):
        WindowSampler(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 9}', '{"format": 1, "contract": {}}']
)
def test_bad_manifest_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_missing_set_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="networld data"):
        read_manifest(tmp_path)


def test_another_set_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match="another data set"):
        make(tmp_path, replace(SETTINGS, seed=9))


def test_settings_name_every_bad_value() -> None:
    with pytest.raises(ConfigError) as raised:
        GenerationSettings(quality="best", episodes=0, seed=-1)
    assert len(raised.value.problems) == 3


def test_shapes_ranges_and_behaviours(tmp_path: Path) -> None:
    make(tmp_path)
    manifest = read_manifest(tmp_path)
    assert json.loads((tmp_path / "manifest.json").read_text())["format"] == 1
    assert [shard.episodes for shard in manifest.shards] == [2, 2, 1]
    arrays = read_shard(tmp_path, manifest.shards[0], manifest.contract)
    assert arrays["observations"].shape == (2, 17, 7, POWER_CONTRACT.observation_size)
    assert arrays["actions"].shape == arrays["rewards"].shape == (2, 16, 7)
    actions = arrays["actions"]
    assert ((actions == -40) | ((actions >= -30) & (actions <= 0))).all()
    assert arrays["behaviours"].max() < len(QUALITIES["mixed"].weights)
    # the power that a cell shows one slot later is the one it was logged with
    names = [feature.name for feature in manifest.contract.features]
    shown = arrays["observations"][:, 1:, :, names.index("power_1_ago")]
    np.testing.assert_allclose(shown, np.where(actions == -40, -31, actions), atol=1e-3)


def test_returns_are_discounted_sums() -> None:
    rewards = np.arange(20, dtype=np.float32).reshape(1, 20, 1)
    returns = discounted_returns(rewards, POWER_CONTRACT)
    horizon, discount = POWER_CONTRACT.horizon, POWER_CONTRACT.discount
    assert returns.shape == (1, 20 - horizon + 1, 1)
    expected = sum(discount**ahead * (3 + ahead) for ahead in range(horizon))
    assert returns[0, 3, 0] == pytest.approx(expected)


def test_window_aligns_messages_observations_actions_and_returns(tmp_path: Path) -> None:
    make(tmp_path)
    sampler = WindowSampler(tmp_path)
    window = sampler.batch(size=50, starts=3, seed=0, step=0)
    horizon = POWER_CONTRACT.horizon
    assert window.observation.shape[1] == 3 + horizon + 1
    assert window.action.shape[1] == 3 + horizon - 1
    # slot 1 of a window acts with action 0 of it; slot 2 shows that power as the last one
    names = [feature.name for feature in POWER_CONTRACT.features]
    shown = window.observation[:, 2, :, names.index("power_1_ago")]
    bins = window.action[:, 0].argmax(dim=-1)
    off = bins == 0
    assert (shown[off] == -1).all()
    assert (shown[~off] > -1).all()


def test_window_longer_than_the_episodes_is_a_clear_error(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(DataError, match="episodes of 16 slots"):
        WindowSampler(tmp_path).batch(size=1, starts=10, seed=0, step=0)
