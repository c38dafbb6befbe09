"""The scheduling task: what a slot does, what a cell sees, and that nothing but the seed decides."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.registry import TASKS
from networld_training.tasks.sched import MUTE, SchedNetwork, SchedTask
from networld_training.tasks.sched.contract import SCHED_SPEC
from networld_training.tasks.sched.heuristics import MaxWeight, RandomValid
from networld_training.tasks.sched.scenarios import SCHED_SCENARIOS
from networld_training.tasks.spec import ActionError

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


def test_registry_and_interface() -> None:
    assert TASKS["sched"].make is SchedTask
    assert TASKS["sched"].spec is SCHED_SPEC
    assert len(SCHED_SPEC.features) == len(INDEX) == 47
    assert SCHED_SPEC.mask_size == 9
    assert all(feature.low < feature.high for feature in SCHED_SPEC.features + SCHED_SPEC.message)
    assert {SCHED_SPEC.expert, "random"} <= set(TASKS["sched"].heuristics)


def test_shapes_types_and_end() -> None:
    task = started()
    assert task.observation.shape == (3, 7, 47)
    for slot in range(1, 13):
        assert task.action_mask is not None
        assert task.action_mask.shape == (3, 7, 9)
        outcome = task.step(first(task))
        assert outcome.done == (slot == 12)
        assert task.mean_field.shape == (3, 7, 5)
        for values in (outcome.observation, outcome.reward, outcome.utility):
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
    metrics = task.metrics()
    assert list(metrics) == [kpi.name for kpi in SCHED_SPEC.kpis]
    assert all(values.shape == (3,) and np.isfinite(values).all() for values in metrics.values())


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 2, 8]),
    st.sampled_from([5.0, 60.0]),
    st.sampled_from([0.0, 1.5]),
)
def test_not_a_bit_is_lost(seed: int, buffer: int, offered: float, hotspots: float) -> None:
    network = SchedNetwork(
        slots=15,
        buffer_files=buffer,
        offered_mbit_s=offered,
        hotspot_sigma=hotspots,
        file_bytes=20_001,
        speed_m_s=30.0,
        large_scale_slots=2,
    )
    task = started((seed, 5), network)
    served_mbit = np.zeros(2)
    for slot in range(15):
        before = task.queues.served_bits.copy()
        outcome = task.step(random_valid(task))
        assert (task.queues.served_bits >= before).all()
        served_mbit += outcome.details["served_mbit"].astype(np.float64).sum(axis=-1)
        queues = task.queues
        arrived = queues.arrived_files * network.file_bits
        dropped = queues.dropped_files * network.file_bits
        assert queues.bits.dtype == np.int64
        assert (arrived == queues.served_bits + queues.bits + dropped).all()
        assert (queues.bits >= 0).all()
        assert (queues.files <= buffer).all()
        assert (queues.files == np.ceil(queues.bits / network.file_bits)).all()
        drawn = task._arrivals[: min(slot + 2, 15)].sum(axis=0)
        assert (queues.arrived_files == drawn).all()
    assert np.allclose(served_mbit, task.queues.served_bits.sum(axis=-1) / 1e6, rtol=1e-5)


def test_sinr_served_bits_utility_and_reward_by_hand() -> None:
    task = started((1, 2, 3), SchedNetwork(slots=12, offered_mbit_s=60.0, buffer_files=2))
    for _ in range(3):
        gain, queued = task.user_gain.copy(), task.queues.bits.copy()
        users, serving = task.measured.user.copy(), task.serving_cell.copy()
        action = random_valid(task)
        dropped_before = task.queues.dropped_files.copy()
        outcome = task.step(action)
        dropped = (task.queues.dropped_files - dropped_before) * task.network.file_bits
        assert (task.serving_cell == serving).all()
        for episode in range(3):
            sending = [cell for cell in range(7) if action[episode, cell] != MUTE]
            for cell in range(7):
                efficiency = served = 0.0
                if cell in sending:
                    user = users[episode, cell, int(action[episode, cell])]
                    others = sum(gain[episode, user, other] for other in sending if other != cell)
                    ratio = gain[episode, user, cell] / (others + 1)
                    efficiency = float(spectral_efficiency(ratio))
                    served = min(queued[episode, user], int(efficiency * 10e6 * 0.01))
                    assert task.queues.bits[episode, user] >= queued[episode, user] - served
                details = outcome.details
                shown = details["spectral_efficiency"][episode, cell]
                assert shown == pytest.approx(efficiency, rel=1e-5)
                assert details["served_mbit"][episode, cell] == pytest.approx(served / 1e6)
                own = serving[episode] == cell
                left = queued[episode, own].sum() - served
                cost = left + 10 * dropped[episode, own].sum()
                assert outcome.utility[episode, cell] == pytest.approx(-cost / 8e6, rel=1e-5)
        # Seven cells are all neighbours of each other.
        expected = outcome.utility.mean(axis=1, keepdims=True).repeat(7, axis=1)
        assert np.allclose(outcome.reward, expected, atol=1e-5)
    assert task.queues.dropped_files.any()


def test_cells_without_users_do_not_take_what_others_serve() -> None:
    network = SchedNetwork(slots=12, hotspot_sigma=3.0, waiting_files=8.0, speed_m_s=0.0)
    task = started(tuple(range(20)), network)
    assert (task.measured.attached == 0).any()
    for _ in range(12):
        measured, queued = task.measured, task.queues.bits.copy()
        outcome = task.step(first(task))
        user = measured.user[..., 0]
        efficiency = outcome.details["spectral_efficiency"].astype(np.float64)
        backlog = np.take_along_axis(queued, user, axis=-1)
        expected = np.where(measured.waiting, np.minimum(backlog, efficiency * 1e5), 0.0)
        assert np.allclose(outcome.details["served_mbit"], expected / 1e6, atol=2e-6)


def test_nothing_leaks_to_cells_without_backlog() -> None:
    task = started(tuple(range(20)))
    measured = task.measured
    silent = ~measured.waiting[:, task.neighbours]
    assert silent.any()
    assert (measured.leakage[silent] == 0).all()
    assert (measured.leakage[~silent] > 0).all()


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


@pytest.mark.parametrize(
    ("value", "expected"), [(9.0, "0 to 8"), (-1.0, "0 to 8"), (0.5, "whole"), (np.nan, "0 to 8")]
)
def test_an_action_out_of_range_is_named(value: float, expected: str) -> None:
    task = started()
    action = np.full(task.shape, float(MUTE))
    action[1, 4] = value
    with pytest.raises(ActionError, match=f"user = {value:g} of cell 4 in episode 1.*{expected}"):
        task.step(action)
    assert task.slot == 0


def test_a_user_without_backlog_cannot_be_chosen() -> None:
    task = started()
    assert task.action_mask is not None
    episode, cell, place = (int(axis[0]) for axis in np.nonzero(~task.action_mask))
    action = np.full(task.shape, float(MUTE))
    action[episode, cell] = place
    valid = ", ".join(map(str, np.nonzero(task.action_mask[episode, cell])[0]))
    problem = f"user = {place} of cell {cell} in episode {episode}.*mask allows \\({valid} now\\)"
    with pytest.raises(ActionError, match=problem):
        task.step(action)


def test_silence_serves_nobody_and_spares_the_neighbours() -> None:
    network = SchedNetwork(slots=5, waiting_files=8.0)
    loud, quiet = started(network=network), started(network=network)
    action = first(loud)
    heard = loud.step(action).details["spectral_efficiency"]
    action[:, 0] = MUTE
    outcome = quiet.step(action)
    spared = outcome.details["spectral_efficiency"]
    assert (spared[:, 0] == 0).all()
    assert (outcome.details["served_mbit"][:, 0] == 0).all()
    assert (outcome.observation[:, 0, INDEX["transmitted_1_ago"]] == 0).all()
    assert (spared[:, 1:] >= heard[:, 1:] - 1e-6).all()
    assert spared[:, 1:].sum() > heard[:, 1:].sum()


def test_silent_everywhere_leaves_noise_only() -> None:
    task = started()
    task.step(np.full(task.shape, float(MUTE)))
    assert (task.user_interference == 1).all()
    assert (task.queues.served_bits == 0).all()
    assert task.metrics()["served_mbit_s"].max() == 0


def test_queues_move_along_with_their_users() -> None:
    network = SchedNetwork(
        slots=60, speed_m_s=30.0, large_scale_slots=2, offered_mbit_s=1e-3, waiting_files=8.0
    )
    task = started((1, 2), network)
    cells, bits = task.serving_cell.copy(), task.queues.bits.copy()
    for _ in range(60):
        task.step(np.full(task.shape, float(MUTE)))
    moved = task.serving_cell != cells
    assert moved.any()
    assert (task.queues.bits >= bits).all()
    assert (task.queues.bits[moved] > 0).any()
    own = np.take_along_axis(task._channel.large_scale_gain, task.serving_cell[..., None], axis=-1)[
        ..., 0
    ]
    behind_db = 10 * np.log10(task._channel.large_scale_gain.max(axis=-1) / own)
    assert 1 < behind_db.max() <= 3


def test_a_full_buffer_drops_and_costs() -> None:
    network = SchedNetwork(slots=30, offered_mbit_s=200.0, buffer_files=2)
    task = started(network=network)
    utility = [task.step(np.full(task.shape, float(MUTE))).utility for _ in range(30)]
    assert (task.queues.files <= 2).all()
    share = task.metrics()["dropped_share"]
    assert (share > 0.8).all()
    # Backlog alone costs at most 28 users with 2 files of 0.8 Mbit over 8 Mbit.
    assert np.sum(utility, axis=-1).min() < -28 * 2 * 0.1


def test_metrics_by_hand() -> None:
    network = SchedNetwork(slots=40, offered_mbit_s=1e-6)
    task = started((1, 2, 3, 4), network)
    waited = np.zeros((4, 28))
    for _ in range(40):
        waited += task.queues.bits
        task.step(first(task))
    files = task.queues.accepted_files
    assert (files.sum(axis=-1) > 0).all()
    metrics = task.metrics()
    expected = waited.sum(axis=-1) / 800_000 / files.sum(axis=-1) * 0.01
    assert metrics["mean_delay_s"] == pytest.approx(expected)
    of_user = waited / 800_000 / np.maximum(files, 1) * 0.01
    assert metrics["delay_p95_s"] == pytest.approx(np.percentile(of_user, 95, axis=-1))
    done = task.queues.completed_files.sum(axis=-1)
    assert (done > 0).all()
    assert (metrics["file_delay_s"] > metrics["mean_delay_s"]).all()
    served = task.queues.served_bits.sum(axis=-1) / 7 / 1e6 / 0.4
    assert metrics["served_mbit_s"] == pytest.approx(served)
    assert (metrics["dropped_share"] == 0).all()


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


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_reset_starts_the_same_episode_again(seed: int) -> None:
    task = SchedTask(SchedNetwork(slots=4), [seed])
    runs = []
    for _ in range(2):
        seen = [task.reset()]
        seen += [task.step(random_valid(task)).observation for _ in range(4)]
        runs.append(seen)
    assert all((a == b).all() for a, b in zip(*runs, strict=True))


def test_an_episode_does_not_depend_on_its_batch() -> None:
    batch, single = started((5, 6, 7)), started((6,))
    for _ in range(12):
        action = random_valid(batch)
        assert (random_valid(single) == action[1]).all()
        together, alone = batch.step(action), single.step(action[1:2])
        assert (together.observation[1] == alone.observation[0]).all()
        assert (together.reward[1] == alone.reward[0]).all()
    for name, values in batch.metrics().items():
        assert values[1] == single.metrics()[name][0]


def test_interleaved_tasks_do_not_meet() -> None:
    task = started()
    alone = task.step(first(task)).observation
    one, other = started(), started((8, 9, 10))
    other.step(first(other))
    assert (one.step(first(one)).observation == alone).all()


def test_a_copy_goes_on_identically() -> None:
    task = started()
    task.step(first(task))
    twin = copy.deepcopy(task)
    for _ in range(5):
        assert (task.step(first(task)).reward == twin.step(first(twin)).reward).all()
    assert (task.queues.bits == twin.queues.bits).all()


def test_global_random_state_is_neither_used_nor_touched() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()  # type: ignore[index]
    seen = started().observation
    after = np.random.get_state()[1]  # type: ignore[index]
    assert (before == after).all()
    np.random.seed(1)
    assert (started().observation == seen).all()


def test_the_load_is_per_cell_whatever_the_density() -> None:
    for users_per_cell in (2, 8):
        network = SchedNetwork(users_per_cell=users_per_cell, waiting_files=0.0, slots=200)
        task = started(tuple(range(30)), network)
        arrived = task._arrivals.sum() * network.file_bits / 30 / 7 / (200 * 0.01) / 1e6
        assert arrived == pytest.approx(19.2, rel=0.05)


def test_every_wrong_key_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        SchedNetwork(
            cells=8,
            offered_mbit_s=0.0,
            file_bytes=0,
            buffer_files=0,
            waiting_files=-1.0,
            averaging=1.0,
        )
    assert [problem.split(" = ")[0] for problem in error.value.problems] == [
        "cells",
        "offered_mbit_s",
        "file_bytes",
        "buffer_files",
        "waiting_files",
        "averaging",
    ]


def test_scenarios_cover_their_family_and_all_of_them_run() -> None:
    by_name = {scenario.name: scenario for scenario in SCHED_SCENARIOS}
    family = by_name["train"].networks
    assert len({(n.inter_site_distance_m, n.users_per_cell) for n in family}) == 9
    for scenario in SCHED_SCENARIOS:
        network = scenario.networks[-1]
        assert isinstance(network, SchedNetwork)
        task = started((1,), network)
        assert np.isfinite(task.step(first(task)).observation).all()
