"""Windows that are shown as if there were less noise: what changes, and that it is what less noise does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from networld_training.data import windows
from networld_training.data.manifest import Manifest
from networld_training.data.windows import WindowSampler
from networld_training.tasks.registry import CONTRACTS, TASKS

Make = Callable[..., Manifest]

OVER_NOISE = {
    name: np.array(["dB over noise" in feature.unit for feature in contract.features])
    for name, contract in CONTRACTS.items()
}


@pytest.mark.parametrize("name", ["power", "sched"])
def test_windows_with_less_noise_show_the_same_slots_some_decibels_higher(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make(tmp_path, name, slots=16)
    sampler, over_noise, found = WindowSampler(tmp_path), OVER_NOISE[name], []
    for share in (0.0, 1.0):
        monkeypatch.setattr(windows, "QUIETER_SHARE", share)
        found.append(sampler.batch(size=60, starts=3, seed=0, step=0))
    plain, quiet = found
    for field in ("action", "credit", "mask"):
        assert torch.equal(getattr(plain, field), getattr(quiet, field)), field
    before, after = plain.observation.numpy(), quiet.observation.numpy()
    np.testing.assert_array_equal(before[..., ~over_noise], after[..., ~over_noise])
    within = (np.abs(before) < 1.4) & (np.abs(after) < 1.4) & over_noise
    ranges_db = np.array([one.high - one.low for one in sampler.contract.features])
    shifts_db = (after - before) * ranges_db / 2
    coupling, louder = plain.coupling.numpy(), quiet.coupling.numpy()
    drawn = []
    for index in range(60):
        shift_db = shifts_db[index][within[index]]
        np.testing.assert_allclose(shift_db, shift_db[0], atol=1e-3)
        gain = 10 ** (shift_db[0] / 10)
        np.testing.assert_allclose(louder[index], gain * coupling[index], rtol=1e-3)
        drawn.append(shift_db[0])
    assert min(drawn) >= 0
    assert 9 < max(drawn) <= 12
    assert np.mean(drawn) == pytest.approx(6, abs=1.5)


def test_half_of_the_windows_are_shown_with_less_noise(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, slots=16)
    sampler = WindowSampler(tmp_path)
    some = sampler.batch(size=400, starts=3, seed=0, step=0)
    monkeypatch.setattr(windows, "QUIETER_SHARE", 0.0)
    none = sampler.batch(size=400, starts=3, seed=0, step=0)
    shifted = (some.coupling != none.coupling).flatten(1).any(dim=1).float()
    assert shifted.mean().item() == pytest.approx(0.5, abs=0.08)


def test_windows_without_gains_over_noise_are_shown_as_they_were(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "sleep", slots=16)
    sampler = WindowSampler(tmp_path)
    monkeypatch.setattr(windows, "QUIETER_SHARE", 1.0)
    quiet = sampler.batch(size=20, starts=3, seed=0, step=0)
    monkeypatch.setattr(windows, "QUIETER_SHARE", 0.0)
    plain = sampler.batch(size=20, starts=3, seed=0, step=0)
    assert torch.equal(quiet.observation, plain.observation)
    assert torch.equal(quiet.coupling, plain.coupling)


@pytest.mark.parametrize("name", ["power", "sched"])
def test_less_noise_does_just_that_where_interference_rules(name: str) -> None:
    """The same drops with a receiver that is 6 dB better."""
    entry = TASKS[name]
    seen = []
    for noise_figure_db in (9.0, 3.0):
        network = entry.scenarios["train"].networks[0]
        task = entry.make(replace(network, slots=1, noise_figure_db=noise_figure_db), range(10))
        task.reset()
        seen.append((task.observation, task.coupling))
    (before, coupling), (after, louder) = seen
    shift_db = after - before
    over_noise = OVER_NOISE[name]
    # Cells without users show floors, which stay; a few schedule another user.
    moved = np.abs(shift_db[..., over_noise]) > 1e-3
    as_said = np.isclose(shift_db[..., over_noise], 6, atol=0.01)
    assert (as_said | ~moved).mean() > 0.97
    assert as_said.mean() > 0.6
    assert (np.abs(shift_db[..., ~over_noise]) < 0.01).mean() > 0.97
    assert np.median(louder[coupling > 0] / coupling[coupling > 0]) == pytest.approx(10**0.6)
