"""The scheduling task: what a slot does and what it is worth."""

from __future__ import annotations

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
