"""Demand: its mean, its day, its areas, and that an episode's traffic depends on its seed only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from networld_training.radio.demand import FILE_MBIT, DemandModel, draw_demand
from networld_training.radio.streams import spawn_streams

MODEL = DemandModel(
    peak_mbit_s=3.0,
    night_share=0.2,
    day_slots=96,
    activity_sigma=0.0,
    activity_slots=24.0,
    slot_s=10.0,
)
AREA = np.tile(np.repeat(np.arange(5), 4), (40, 1))


def test_profile_by_hand() -> None:
    assert MODEL.profile(np.array([np.pi / 2, 0, -np.pi / 2])) == pytest.approx([1.0, 0.6, 0.2])
    assert MODEL.mean_mbit_s == pytest.approx(1.8)


def test_files_are_poisson_around_the_day() -> None:
    demand = draw_demand(MODEL, AREA, 5, 96, [spawn_streams(seed) for seed in range(40)])
    mean = 3.0 * MODEL.profile(demand.phase) * 10 / FILE_MBIT
    error = (demand.files - mean[..., None]) / np.sqrt(mean[..., None])
    assert error.mean() == pytest.approx(0, abs=0.02)
    assert error.var() == pytest.approx(1, abs=0.02)
    assert demand.files.mean() * FILE_MBIT / 10 == pytest.approx(MODEL.mean_mbit_s, rel=0.01)
    assert (demand.mbit_s(3) == demand.files[:, 3] * 0.4).all()
    # One day, begun anywhere.
    assert demand.phase[:, -1] - demand.phase[:, 0] == pytest.approx(2 * np.pi * 95 / 96)
    assert np.abs(np.exp(1j * demand.phase[:, 0]).mean()) < 0.3


def test_users_of_an_area_rise_and_fall_together() -> None:
    model = replace(MODEL, night_share=1.0, peak_mbit_s=200.0, activity_sigma=0.5)
    demand = draw_demand(model, AREA, 5, 96, [spawn_streams(seed) for seed in range(40)])
    logs = np.log(demand.files.astype(np.float64)).reshape(40, 96, 5, 4)
    assert demand.files.mean() * FILE_MBIT / 10 == pytest.approx(200, rel=0.1)
    within = logs - logs.mean(axis=-1, keepdims=True)
    activity = logs.mean(axis=-1) - logs.mean()
    assert within.std() < 0.1
    assert activity.std() == pytest.approx(0.5, abs=0.05)
    later = (activity[:, 24:] * activity[:, :-24]).mean() / activity.var()
    assert later == pytest.approx(np.exp(-1), abs=0.15)


def test_an_episode_does_not_depend_on_its_batch() -> None:
    model = replace(MODEL, activity_sigma=0.5)
    together = draw_demand(model, AREA[:3], 5, 7, [spawn_streams(seed) for seed in (4, 5, 6)])
    alone = draw_demand(model, AREA[:1], 5, 7, [spawn_streams(5)])
    assert (alone.files[0] == together.files[1]).all()
    assert (alone.phase[0] == together.phase[1]).all()
    assert (together.files[0] != together.files[1]).any()
