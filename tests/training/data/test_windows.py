"""Training windows: aligned, drawn from intact sets of the right task only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from networld_runtime.errors import DataError
from networld_runtime.two_hot import decode_actions
from networld_training.data import windows
from networld_training.data.generate import Generation, GenerationSettings
from networld_training.data.manifest import Manifest, read_manifest, write_manifest
from networld_training.data.windows import WindowSampler
from networld_training.tasks.power.contract import POWER_CONTRACT
from networld_training.tasks.registry import CONTRACTS, TASKS
from networld_training.tasks.spec import action_problems, allowed

Make = Callable[..., Manifest]


@pytest.fixture(scope="module")
def folder(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of the power task with episodes long enough for windows."""
    folder = tmp_path_factory.mktemp("windows")
    make(folder, slots=16)
    return folder


def test_actions_show_in_the_observation_of_the_next_slot(folder: Path) -> None:
    window = WindowSampler(folder).batch(size=50, starts=3, seed=0, step=0)
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


def test_all_parts_of_a_window_are_of_the_same_slots(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every array tells its episode and slot; slot 0 of a window only sends messages."""
    monkeypatch.setattr(windows, "QUIETER_SHARE", 0.0)
    sampler, starts = WindowSampler(folder), 3
    episodes, slots, cells = sampler.credits.shape
    code = 0.01 * np.arange(episodes)[:, None, None] + np.arange(slots + 1)[None, :, None] / 16
    code = np.broadcast_to(code, (episodes, slots + 1, cells)).astype(np.float32)
    sampler.observations = np.repeat(code[..., None], POWER_CONTRACT.observation_size, axis=-1)
    sampler.actions = code[:, :slots, :, None] - 20
    sampler.credits = code[:, :slots]
    sampler.couplings = np.broadcast_to(code[:, :slots, :, None, None], (*code[:, 1:].shape, 6, 1))
    window = sampler.batch(size=40, starts=starts, seed=0, step=0)
    shown, acting = window.observation[..., 0], starts + POWER_CONTRACT.horizon - 1
    assert shown.shape == (40, acting + 2, cells)
    assert np.allclose(np.diff(shown.numpy(), axis=1), 1 / 16, atol=1e-5)
    now = shown[:, 1:-1]
    assert torch.equal(window.credit, now)
    assert torch.equal(window.coupling, now[..., None, None].expand(-1, -1, -1, 6, 1))
    assert window.mask.shape == (40, acting, cells, POWER_CONTRACT.action_size)
    done = decode_actions(window.action.numpy(), POWER_CONTRACT.actions)[..., 0]
    np.testing.assert_allclose(done, now.numpy() - 20, atol=1e-4)
    # All windows that fit are drawn, and no other.
    assert set((16 * shown[:, 0, 0]).int().tolist()) == set(range(slots - acting))


def test_fewer_episodes_are_spread_evenly_and_whole(folder: Path) -> None:
    everything = WindowSampler(folder)
    there = len(everything.actions)
    few = WindowSampler(folder, 3)
    chosen = [0, there // 3, 2 * there // 3]
    for name in ("observations", "actions", "credits", "couplings"):
        assert np.array_equal(getattr(few, name), getattr(everything, name)[chosen]), name
    with pytest.raises(DataError, match=f"has {there} episodes, so not {there + 1}"):
        WindowSampler(folder, there + 1)


def test_same_seed_and_step_draw_the_same_windows(folder: Path) -> None:
    first, again = (WindowSampler(folder).batch(8, 2, seed=1, step=5) for _ in range(2))
    other = WindowSampler(folder).batch(8, 2, seed=1, step=6)
    assert torch.equal(first.observation, again.observation)
    assert torch.equal(first.action, again.action)
    assert not torch.equal(first.observation, other.observation)


def test_windows_move_to_a_device_whole(folder: Path) -> None:
    window = WindowSampler(folder).batch(2, 3, seed=0, step=0)
    moved = window.to("meta")
    assert moved.starts == 3
    for one in fields(window):
        value = getattr(window, one.name)
        if isinstance(value, torch.Tensor):
            assert getattr(moved, one.name).device.type == "meta"
            assert getattr(moved, one.name).shape == value.shape


@pytest.mark.parametrize("name", CONTRACTS)
def test_logged_actions_are_valid_and_others_may_not_be(
    make: Make, tmp_path: Path, name: str
) -> None:
    make(tmp_path, name, slots=16)
    sampler = WindowSampler(tmp_path)
    window = sampler.batch(size=30, starts=3, seed=0, step=0)
    assert (window.action * (1 - window.mask) == 0).all()
    assert ((window.mask == 0) | (window.mask == 1)).all()
    assert (window.mask == 0).any() == (sampler.contract.mask_size > 0)


def test_masks_are_of_the_slots_that_act(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "QUIETER_SHARE", 0.0)
    make(tmp_path, "sched", slots=16)
    sampler = WindowSampler(tmp_path)
    assert sampler.masks is not None
    slot = np.arange(17)[None, :, None, None]
    shown = np.broadcast_to(slot / 16, sampler.observations.shape)
    sampler.observations = shown.astype(np.float32)
    sampler.masks = (slot + np.arange(9)) % 3 == np.zeros(sampler.masks.shape)
    window = sampler.batch(size=30, starts=3, seed=0, step=0)
    acting = 16 * window.observation[:, 1:-1, :, :1]
    assert torch.equal(window.mask, ((acting + torch.arange(9)) % 3 == 0).float())


def test_window_longer_than_the_episodes_is_a_clear_error(folder: Path) -> None:
    with pytest.raises(DataError, match="episodes of 16 slots"):
        WindowSampler(folder).batch(size=1, starts=10, seed=0, step=0)


def test_unfinished_set_is_refused(power_set: Path) -> None:
    manifest = read_manifest(power_set)
    write_manifest(power_set, replace(manifest, shards=manifest.shards[:2]))
    with pytest.raises(DataError, match="2 of 3 shards; finish it with `networld data make"):
        WindowSampler(power_set)


def test_damaged_shard_is_refused(power_set: Path) -> None:
    shard = power_set / "shard-0001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"shard-0001.*damaged"):
        WindowSampler(power_set)


def test_task_without_a_contract_is_refused(
    original: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "CONTRACTS", {"power": POWER_CONTRACT})
    with pytest.raises(DataError, match="task 'sleep', but the world model learns power only"):
        WindowSampler(original("sleep"))


def test_every_task_has_a_contract_that_is_its_own() -> None:
    assert CONTRACTS.keys() == {"power", "sched", "sleep"}
    for name, contract in CONTRACTS.items():
        spec = TASKS[name].spec
        assert (contract.task, contract.slot_s) == (spec.name, spec.slot_s)
        assert (contract.features, contract.actions) == (spec.features, spec.actions)
        assert contract.mask_size == spec.mask_size


def test_contracts_share_what_the_denoiser_needs() -> None:
    shared = {(one.latent_size, one.message_size, one.horizon) for one in CONTRACTS.values()}
    assert len(shared) == 1


@pytest.mark.parametrize("name", CONTRACTS)
def test_actions_of_every_task_are_coded_whole(make: Make, tmp_path: Path, name: str) -> None:
    """Decoding gives back the logged actions, with all their components."""
    make(tmp_path, name, slots=16)
    sampler = WindowSampler(tmp_path)
    contract, window = sampler.contract, sampler.batch(size=20, starts=3, seed=0, step=0)
    assert window.action.shape[-1] == contract.action_size
    assert window.action.sum(dim=-1).numpy() == pytest.approx(len(contract.actions))
    decoded = decode_actions(window.action.numpy(), contract.actions)
    for index, component in enumerate(contract.actions):
        logged = sampler.actions[..., index]
        assert allowed(component, logged)[0].all()
        found = decoded[..., index]
        assert np.isin(found.round(3), logged.round(3)).mean() > 0.99
        assert np.std(found) > 0


def test_safe_action_is_always_possible() -> None:
    """Whatever a cell is in the middle of, it may fall back on the safe action."""
    for name, contract in CONTRACTS.items():
        entry = TASKS[name]
        network = replace(entry.scenarios["train"].networks[0], slots=30)
        task = entry.make(network, [0, 1])
        rule = entry.heuristics[entry.spec.expert]()
        task.reset()
        for slot in range(network.slots):
            safe = np.broadcast_to(np.array(contract.safe_action), task.action_shape)
            assert action_problems(entry.spec, safe, task.action_mask) == []
            task.step(safe if slot % 3 == 0 else rule.act(task))


def test_set_with_other_features_than_the_contract_is_refused(power_set: Path) -> None:
    manifest = read_manifest(power_set)
    first, *others = manifest.spec.features
    spec = replace(manifest.spec, features=(replace(first, high=first.high + 1), *others))
    write_manifest(power_set, replace(manifest, spec=spec))
    with pytest.raises(DataError, match="features or actions are not those"):
        WindowSampler(power_set)


def test_set_of_unlike_networks_is_refused(
    tmp_path: Path, settings_of: Callable[..., GenerationSettings]
) -> None:
    settings = settings_of()
    small, large = settings.network(0), replace(settings.network(0), cells=19)
    scenario = replace(settings.scenario, networks=(small, large))
    Generation(tmp_path, replace(settings, scenario=scenario)).run(lambda _: None)
    with pytest.raises(
        DataError, match="shard 1 has other slots, cells or neighbours than shard 0"
    ):
        WindowSampler(tmp_path)
