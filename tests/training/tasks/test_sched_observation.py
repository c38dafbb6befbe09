"""What a cell of the scheduling task sees, may choose and is told."""

from __future__ import annotations

import numpy as np
import pytest

from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.sched import MUTE, SchedNetwork, SchedTask
from networld_training.tasks.sched.contract import SCHED_SPEC
from networld_training.tasks.sched.heuristics import MaxWeight, RandomValid

SHORT = SchedNetwork(slots=12)
INDEX = {feature.name: i for i, feature in enumerate(SCHED_SPEC.features)}


def started(seeds: tuple[int, ...] = (1, 2, 3), network: SchedNetwork = SHORT) -> SchedTask:
    task = SchedTask(network, seeds)
    task.reset()
    return task


def first(task: SchedTask) -> FloatArray:
    return MaxWeight().act(task)


def random_valid(task: SchedTask) -> FloatArray:
    return RandomValid().act(task)


def test_mask_allows_those_who_wait_and_silence() -> None:
    task = started(tuple(range(12)), SchedNetwork(slots=12, hotspot_sigma=1.5))
    for _ in range(5):
        mask, measured = task.action_mask, task.measured
        assert mask is not None
        assert mask[..., MUTE].all()
        for episode in range(12):
            for cell in range(7):
                users = np.flatnonzero(task.serving_cell[episode] == cell)
                bits = task.queues.bits[episode, users]
                assert measured.attached[episode, cell] == len(users)
                assert measured.cell_bits[episode, cell] == bits.sum()
                assert mask[episode, cell, :MUTE].sum() == min((bits > 0).sum(), 8)
                listed = measured.user[episode, cell][measured.present[episode, cell]]
                assert len(set(listed)) == len(listed) == min(len(users), 8)
                assert set(listed) <= set(users)
                shown = measured.backlog_bits[episode, cell]
                assert (mask[episode, cell, :MUTE] == (shown > 0)).all()
        task.step(random_valid(task))
    assert (task.measured.attached > 8).any()
    assert (task.measured.attached == 0).any()


def test_lists_are_sorted_by_backlog_times_rate() -> None:
    task = started()
    for _ in range(6):
        task.step(first(task))
    measured = task.measured
    key = measured.backlog_bits * np.maximum(measured.rate, 1e-2)
    assert (np.diff(key, axis=-1) <= 0).all()
    assert (key[..., 1] > 0).any()


def test_observation_shows_what_was_done_and_measured() -> None:
    task = started(network=SchedNetwork(slots=12, waiting_files=6.0))
    action = first(task)
    action[:, 2] = MUTE
    outcome = task.step(action)
    seen, measured = outcome.observation, task.measured
    assert (seen[:, 2, INDEX["transmitted_1_ago"]] == 0).all()
    assert (seen[:, 3, INDEX["transmitted_1_ago"]] == (action[:, 3] != MUTE)).all()
    efficiency = outcome.details["spectral_efficiency"]
    assert (seen[..., INDEX["spectral_efficiency_1_ago"]] == efficiency).all()
    episode, cell = (int(axis[0]) for axis in np.nonzero(measured.backlog_bits[..., 1] > 0))
    user = measured.user[episode, cell, 1]
    bits = task.queues.bits[episode, user]
    row = seen[episode, cell]
    assert row[INDEX["queue_2"]] == pytest.approx(np.log(1 + bits / 1e6), rel=1e-5)
    age = task.queues.head_age(1)[episode, user]
    assert row[INDEX["age_2"]] == pytest.approx(np.log(1 + age), rel=1e-5)
    ratio = task.user_gain[episode, user, cell] / task.user_interference[episode, user]
    assert row[INDEX["rate_2"]] == pytest.approx(float(spectral_efficiency(ratio)), rel=1e-5)
    average = np.log(task.average_rate[episode, user])
    assert row[INDEX["log_average_rate_2"]] == pytest.approx(average, rel=1e-4)
    assert row[INDEX["attached_users"]] == (task.serving_cell[episode] == cell).sum()
    assert row[INDEX["waiting_users"]] == (measured.backlog_bits[episode, cell] > 0).sum()
    head = measured.user[episode, cell, 0]
    gain = task.user_gain[episode, head]
    assert row[INDEX["direct_gain"]] == pytest.approx(10 * np.log10(gain[cell]), rel=1e-4)
    others = np.delete(gain, cell)
    assert row[INDEX["incoming"]] == pytest.approx(10 * np.log10(others.sum()), rel=1e-4)
    strongest = 10 * np.log10(np.sort(others)[-2])
    assert row[INDEX["incoming_strongest_2"]] == pytest.approx(strongest, rel=1e-4)
    heads = [measured.user[episode, k, 0] for k in range(7) if k != cell]
    waits = [measured.waiting[episode, k] for k in range(7) if k != cell]
    leaked = sum(task.user_gain[episode, u, cell] for u, w in zip(heads, waits, strict=True) if w)
    assert row[INDEX["leakage"]] == pytest.approx(10 * np.log10(leaked), rel=1e-4)


def test_idle_cells_show_floors_and_tell_nothing_of_a_user() -> None:
    task = started(tuple(range(20)), SchedNetwork(users_per_cell=1, slots=5, offered_mbit_s=4.0))
    idle = ~task.measured.waiting
    assert idle.any()
    assert (task.observation[idle][:, INDEX["direct_gain"]] == -10).all()
    assert (task.observation[idle][:, INDEX["interference"]] == 0).all()
    assert (task.observation[idle][:, INDEX["queue_1"]] == 0).all()
    outcome = task.step(first(task))
    assert np.isnan(task.received[idle][:, :3]).all()
    assert not np.isnan(task.received[~idle]).any()
    assert np.isfinite(outcome.observation).all()
    assert np.isfinite(task.mean_field).all()


def test_messages_are_those_of_the_slot_before_and_quantised() -> None:
    task = started()
    assert np.isnan(task.received).all()
    waiting, signal = task.measured.waiting, task.measured.signal
    task.step(first(task))
    received = task.received[..., 1][waiting]
    told = np.clip(10 * np.log10(signal[waiting]), 5, 75)
    assert np.abs(received - told).max() <= (75 - 5) / 254 / 2 + 1e-6
    assert not np.allclose(10 * np.log10(task.measured.signal[waiting]), told)


def test_observation_stays_near_its_ranges() -> None:
    network = SchedNetwork(offered_mbit_s=24.0)
    task = started(tuple(range(10)), network)
    low = np.array([feature.low for feature in SCHED_SPEC.features])
    high = np.array([feature.high for feature in SCHED_SPEC.features])
    for _ in range(40):
        task.step(first(task))
    scaled = 2 * (task.observation - low) / (high - low) - 1
    assert (np.abs(scaled[task.measured.waiting]) <= 1.01).mean() > 0.95
