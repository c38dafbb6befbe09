"""Couplings: what neighbours do to a cell when they are active, against slow and hand-made counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.base import Task
from networld_training.tasks.gains import disturbance
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.registry import TASKS
from networld_training.tasks.sched import MUTE, SchedNetwork, SchedTask
from networld_training.tasks.sched.heuristics import MaxWeight
from networld_training.tasks.sleep import SleepNetwork, SleepTask
from networld_training.tasks.sleep.coupling import handover_shares, of_neighbours

LOWEST_RATE = 0.8 * np.log2(1 + 10**-0.6)


@pytest.mark.parametrize("name", TASKS)
def test_shape_type_and_names(name: str) -> None:
    entry = TASKS[name]
    network = replace(entry.scenarios["train"].networks[0], slots=3, cells=19)
    task = entry.make(network, [1, 2])
    task.reset()
    names = entry.make.couplings
    assert len(set(names)) == len(names) > 0
    for _ in range(2):
        assert task.coupling.shape == (2, 19, 6, len(names))
        assert task.coupling.dtype == np.float32
        assert (task.coupling >= 0).all()
        assert (task.coupling > 0).any(axis=(0, 1, 2)).all()
        before = task.coupling
        task.step(entry.heuristics["random"]().act(task))
        assert (task.coupling != before).any(axis=(0, 1, 2)).all()


@pytest.mark.parametrize("name", TASKS)
def test_it_is_no_part_of_the_interface(name: str) -> None:
    # Digests of interfaces tie results to tasks: they must not depend on what is logged.
    assert not any("coupling" in key for key in TASKS[name].spec.to_json())


def test_a_task_has_none_unless_it_says_so(toy_task: type[Task], toy_network: Any) -> None:
    plain: Callable[..., Any] = type(
        "Plain", (toy_task,), {"couplings": Task.couplings, "coupling": Task.coupling}
    )
    task = plain(toy_network, [0, 1])
    task.reset()
    assert task.couplings == ()
    assert task.coupling.shape == (2, 7, 6, 0)


def test_disturbance_by_hand() -> None:
    # The gain of source s to the user of cell k is 10 k + s.
    gain = np.array([[[0.0, 1, 2], [10, 11, 12], [20, 21, 22]]])
    neighbours = np.array([[1, 2], [2, 0], [0, 1]])
    found = disturbance(gain, np.array([[True, True, False]]), neighbours)
    assert found.tolist() == [[[1, 2], [12, 10], [0, 0]]]


def test_power_coupling_is_the_interference_of_all_neighbours_at_full_power() -> None:
    task = PowerTask(PowerNetwork(warm_up_slots=3, slots=5, hotspot_sigma=1.0), range(20))
    task.reset()
    active, user = task.measured.active, task.scheduled_user
    assert not active.all()
    coupling = task.coupling[..., 0]
    assert (coupling[~active] == 0).all()
    # With seven cells all others are neighbours; those without users are silent.
    expected = 1 + (coupling * active[:, task.neighbours]).sum(axis=-1)
    task.step(np.zeros(task.shape))
    found = np.take_along_axis(task.user_interference, user, axis=-1)
    assert found[active] == pytest.approx(expected[active], rel=1e-4)


def test_sched_coupling_is_the_interference_of_single_neighbours() -> None:
    task = SchedTask(SchedNetwork(slots=10, waiting_files=2.0), range(30))
    for place in range(6):
        task.reset()
        waiting, user = task.measured.waiting, task.measured.user[..., 0]
        assert not waiting.all()
        coupling = task.coupling[..., place, 0]
        assert (coupling[~waiting] == 0).all()
        # Cell 0 serves its first user while just one of its neighbours transmits.
        other = int(task.neighbours[0, place])
        action = np.full(task.shape, MUTE)
        action[:, [0, other]] = MaxWeight().act(task).reshape(task.shape)[:, [0, other]]
        task.step(action)
        first = task.user_interference[np.arange(30), user[:, 0]]
        both = waiting[:, 0] & waiting[:, other]
        assert both.any()
        assert first[both] == pytest.approx(1 + coupling[both, 0], rel=1e-4)


def test_handover_by_hand() -> None:
    gain = np.array([[[100.0, 10, 4], [2, 50, 7], [1000, 0.1, 0.02], [90, 20, 5]]])
    demand = np.array([[0.5, 0.3, 0.2, 0.1]])
    found = handover_shares(gain, np.array([[0, 1, 0, 0]]), demand)[0]
    expected = np.zeros((3, 3))
    # The second best cell against half of the third, the best one silent; the third user is too far away.
    expected[0, 1] = 0.5 / (0.8 * np.log2(1 + 10 / 3)) + 0.2 / LOWEST_RATE
    expected[0, 1] += 0.1 / (0.8 * np.log2(1 + 20 / 3.5))
    expected[1, 2] = 0.3 / (0.8 * np.log2(1 + 7 / 2))
    assert found == pytest.approx(expected, rel=1e-12)
    assert gain[0, 0].tolist() == [100, 10, 4]  # left as it was


def test_both_directions_of_pairs_that_are_not_mutual() -> None:
    shares = np.arange(16.0).reshape(1, 4, 4)  # from cell k to cell n it is 4 k + n
    neighbours = np.array([[1, 2], [2, 3], [0, 3], [0, 1]])  # 0 is not among the neighbours of 1
    found = of_neighbours(shares, neighbours)
    assert found[0, ..., 0].tolist() == [[1, 2], [6, 7], [8, 11], [12, 13]]
    assert found[0, ..., 1].tolist() == [[4, 8], [9, 13], [2, 14], [3, 7]]


def slow_handover(task: SleepTask) -> FloatArray:
    """Return the share of a slot that users of each cell would need of each other one `[E, K, K]`."""
    episodes, cells = task.shape
    shares = np.zeros((episodes, cells, cells))
    demand_mbit_s = task.demand_mbit_s()
    for episode in range(episodes):
        for user, gain in enumerate(task.user_gain[episode]):
            second, best = np.argsort(gain)[-2:]
            rest = sum(gain[cell] for cell in range(cells) if cell not in (best, second))
            rate = max(float(spectral_efficiency(gain[second] / (0.5 * rest + 1))), LOWEST_RATE)
            rate_mbit_s = rate * task.network.bandwidth_hz / 1e6
            shares[episode, best, second] += demand_mbit_s[episode, user] / rate_mbit_s
    return shares


@pytest.mark.parametrize(("cells", "jitter"), [(7, 0.0), (19, 0.3), (61, 0.0)])
def test_sleep_coupling_equals_a_slow_count(cells: int, jitter: float) -> None:
    task = SleepTask(SleepNetwork(slots=5, cells=cells, site_jitter=jitter), [3, 4])
    task.reset()
    random = np.random.default_rng(0)
    for _ in range(5):
        shares, coupling = slow_handover(task), task.coupling
        for cell in range(cells):
            for place, other in enumerate(task.neighbours[cell]):
                handover, fostering = shares[:, cell, other], shares[:, other, cell]
                assert coupling[:, cell, place, 0] == pytest.approx(handover, rel=1e-5)
                assert coupling[:, cell, place, 1] == pytest.approx(fostering, rel=1e-5)
        order = random.integers(3, size=task.shape)
        task.step(np.stack([order, np.zeros(task.shape)], axis=-1))
