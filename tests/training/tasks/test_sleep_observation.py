"""What a cell of the sleep task sees and is told."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from networld_training.radio.arrays import FloatArray
from networld_training.tasks.sleep import SleepNetwork, SleepTask
from networld_training.tasks.sleep.contract import SLEEP_SPEC
from networld_training.tasks.sleep.modes import LIGHT

SHORT = SleepNetwork(slots=12)
INDEX = {feature.name: i for i, feature in enumerate(SLEEP_SPEC.features)}
TOLD = {feature.name: i for i, feature in enumerate(SLEEP_SPEC.message)}


def started(seeds: tuple[int, ...] = (1, 2, 3), network: SleepNetwork = SHORT) -> SleepTask:
    task = SleepTask(network, seeds)
    task.reset()
    return task


def ordered(task: SleepTask, order: int, cells: tuple[int, ...] = ()) -> FloatArray:
    """Actions with this order for some cells, active for the others, no offsets."""
    action = np.zeros(task.action_shape)
    action[:, list(cells), 0] = order
    return action


def test_observation_of_a_cell_awake_by_hand() -> None:
    task = started()
    gain, demand = task.user_gain.copy(), task.demand_mbit_s()
    strongest = gain.argmax(axis=-1)
    seen = task.step(ordered(task, LIGHT, (3,))).observation
    checked = 0
    for e, k in np.ndindex(task.shape):
        users = np.flatnonzero(task.serving_cell[e] == k)
        if k == 3 or not len(users):
            continue
        checked += 1
        one = {name: seen[e, k, i] for name, i in INDEX.items()}
        load = np.append(task.energy.transmission[e] / 260, 0)
        assert one["load"] == pytest.approx(load[k], abs=1e-5)  # nobody is overloaded here
        assert one["attached_users"] == len(users)
        offered = np.log(1 + demand[e, users].sum())
        assert one["offered"] == pytest.approx(offered, rel=1e-5)
        assert one["served"] == pytest.approx(offered, rel=1e-5)
        own = users[strongest[e, users] == k]
        assert one["own_demand"] == pytest.approx(np.log(1 + demand[e, own].sum()), rel=1e-5)
        gaps, handover, fostered = [], 0.0, 0.0
        for u in users:
            others = gain[e, u].copy()
            others[[k, 3]] = 0
            second = others.argmax()
            gaps.append(10 * np.log10(gain[e, u, k] / others[second]))
            received = (load[:7] * gain[e, u]).sum() + 1
            own_interference = received - load[k] * gain[e, u, k]
            ratio = others[second] / (own_interference - load[second] * others[second])
            rate = max(0.8 * np.log2(1 + ratio), 0.8 * np.log2(1 + 10**-0.6))
            handover += demand[e, u] / 20 / min(rate, 7.1)
            if strongest[e, u] == 3:
                ratio = gain[e, u, k] / own_interference
                fostered += demand[e, u] / 20 / min(0.8 * np.log2(1 + ratio), 7.1)
        assert one["neighbour_gap"] == pytest.approx(np.mean(gaps), rel=1e-4)
        assert one["handover_load"] == pytest.approx(handover, rel=1e-3)
        assert one["fostered_load"] == pytest.approx(fostered, rel=1e-3, abs=1e-6)
    assert checked > 10
    assert (seen[..., INDEX["fostered_load"]] > 0).any()


def test_a_sleeping_cell_remembers_and_measures_nothing() -> None:
    task = started()
    before = task.step(np.zeros(task.action_shape)).observation
    for slots in (1, 2, 3):
        seen = task.step(ordered(task, LIGHT, (4,))).observation[:, 4]
        assert (seen[:, INDEX["slots_in_state"]] == slots).all()
        assert (seen[:, INDEX["own_demand"]] == before[:, 4, INDEX["own_demand"]]).all()
        for name in ("load", "offered", "served", "attached_users", "handover_load"):
            assert (seen[:, INDEX[name]] == 0).all()
    assert (seen[:, INDEX["offered_3_ago"]] == 0).all()
    assert (before[:, 4, INDEX["own_demand"]] > 0).any()


def test_history_clock_and_offset() -> None:
    task = started(network=SleepNetwork(slots=96))
    first = task.step(np.zeros(task.action_shape)).observation
    action = np.zeros(task.action_shape)
    action[..., 1] = -4.0
    second = task.step(action).observation
    third = task.step(action).observation
    assert (third[..., INDEX["offered_3_ago"]] == first[..., INDEX["offered"]]).all()
    assert (third[..., INDEX["offered_2_ago"]] == second[..., INDEX["offered"]]).all()
    assert (third[..., INDEX["cell_individual_offset"]] == -4).all()
    sine, cosine = (third[..., INDEX[name]] for name in ("day_sine", "day_cosine"))
    earlier = np.arctan2(second[..., INDEX["day_sine"]], second[..., INDEX["day_cosine"]])
    turned = (np.arctan2(sine, cosine) - earlier) % (2 * np.pi)
    assert turned == pytest.approx(2 * np.pi / 96, rel=1e-3)
    # The clock shows the slot that comes: its demand follows the sine.
    assert task.demand.phase[:, 4] % (2 * np.pi) == pytest.approx(
        np.arctan2(sine, cosine)[:, 0] % (2 * np.pi), rel=1e-4
    )


def test_a_cell_sees_whether_the_present_slot_is_its_turn() -> None:
    """As often as any other, and never with an adjacent site of the cluster."""
    task = started(network=SleepNetwork(cells=19, slots=6, users_per_cell=2))
    idle = np.zeros(task.action_shape)
    seen = [task.observation, *(task.step(idle).observation for _ in range(6))]
    turn = np.array(seen)[..., INDEX["turn"]]
    assert set(turn.ravel()) == {0, 1}
    for slot in range(5):
        assert (turn[slot : slot + 3].sum(axis=0) == 1).all()
    for slot, now in enumerate(turn):
        assert (now == (task.layout.reuse_colour == slot % 3)).all()
    sites_m = task.layout.sites_m
    apart_m = np.linalg.norm(sites_m[:, None] - sites_m, axis=-1)
    adjacent = (apart_m > 0) & (apart_m < 1.01 * task.network.inter_site_distance_m)
    together = (turn[0, :, :, None] * turn[0, :, None, :])[:, adjacent]
    assert adjacent.sum() == 84
    assert (together == 0).all()


def test_messages_are_those_of_the_slot_before() -> None:
    task = started()
    task.step(ordered(task, LIGHT, (2,)))
    measured = copy.deepcopy(task.measured)
    task.step(np.zeros(task.action_shape))
    awake = np.arange(7) != 2
    load = task.received[..., TOLD["load"]]
    assert np.abs(load - measured.load)[:, awake].max() <= 1.5 / 254 / 2 + 1e-6
    assert np.isnan(load[:, 2]).all()
    assert task.received[:, 2, TOLD["awake"]] == pytest.approx(0, abs=0.01)
    assert task.received[:, awake, TOLD["awake"]] == pytest.approx(1, abs=0.01)
    heard = task.mean_field[:, 0, TOLD["load"]]
    neighbours = [k for k in range(7) if k not in (0, 2)]
    assert heard == pytest.approx(load[:, neighbours].mean(axis=-1), rel=1e-5)
