"""Load coupling: closed forms, the fixed point against plain iteration, coverage and association."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import spectral_efficiency
from networld_training.radio.load import TOLERANCE, Loads, associate, couple_loads

MINIMUM_SINR = 10**-0.6


def drawn(seed: int, demand: float, batch: int = 4) -> tuple[FloatArray, IntArray, FloatArray]:
    """Gains with 15 dB of spread, best cells, and demands of 12 users of 5 cells."""
    generator = np.random.default_rng(seed)
    gain = 10 ** (generator.normal(2.0, 1.5, (batch, 12, 5)))
    return gain, np.argmax(gain, axis=-1), generator.exponential(demand, (batch, 12))


def right_hand_side(
    gain: FloatArray, serving: IntArray, demand: FloatArray, available: FloatArray, loads: Loads
) -> FloatArray:
    """One plain step from the loads, user by user; users without coverage ask for nothing."""
    needed = np.zeros_like(available)
    for b, u in np.ndindex(serving.shape):
        if loads.efficiency[b, u] == 0:
            continue
        cell = serving[b, u]
        received = gain[b, u] * loads.load[b] * (available[b] > 0)
        ratio = gain[b, u, cell] / (1 + received.sum() - received[cell])
        needed[b, cell] += demand[b, u] / min(0.8 * np.log2(1 + ratio), 7.1)
    return np.minimum(needed, available)


def test_a_single_cell_by_hand() -> None:
    # 10 and 20 dB without interference: 2.7675 and 5.3263 b/s/Hz.
    gain = np.array([[[10.0], [100.0]]])
    demand = np.array([[0.5, 1.0]])
    loads = couple_loads(gain, np.zeros((1, 2), dtype=np.int64), demand, np.ones((1, 1)))
    expected = 0.5 / 2.76754 + 1.0 / 5.32660
    assert loads.load[0, 0] == pytest.approx(expected, rel=1e-4)
    assert loads.efficiency[0] == pytest.approx(spectral_efficiency(np.array([10.0, 100.0])))
    assert loads.served_share.tolist() == [[1, 1]]
    assert loads.interference.tolist() == [[1, 1]]


def test_two_symmetric_cells_by_bisection() -> None:
    gain = np.array([[[100.0, 20.0], [20.0, 100.0]]])
    demand = np.array([[1.5, 1.5]])
    loads = couple_loads(gain, np.array([[0, 1]]), demand, np.ones((1, 2)), tolerance=1e-12)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        grows = 1.5 / (0.8 * np.log2(1 + 100 / (1 + 20 * middle))) > middle
        low, high = (middle, high) if grows else (low, middle)
    assert loads.load[0] == pytest.approx([low, low], abs=1e-9)
    assert loads.interference[0] == pytest.approx([1 + 20 * low] * 2)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3.0), st.booleans())
def test_residual_is_small(seed: int, demand: float, some_asleep: bool) -> None:
    gain, serving, wanted = drawn(seed, demand)
    available = np.ones((4, 5))
    if some_asleep:
        available[:, 1] = 0.0
        available[:, 2] = 0.9
        serving = associate(gain, np.zeros((4, 5)), available > 0)
    loads = couple_loads(gain, serving, wanted, available)
    residual = loads.load - right_hand_side(gain, serving, wanted, available, loads)
    assert np.abs(residual).max() < 1e-6
    assert (loads.load <= available).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 2.0), st.integers(0, 11))
def test_more_demand_makes_no_cell_less_busy(seed: int, demand: float, user: int) -> None:
    gain, serving, wanted = drawn(seed, demand)
    # Everybody stays in coverage: to lose a user would relieve the cells.
    own = np.take_along_axis(gain, serving[..., None], -1)
    np.put_along_axis(gain, serving[..., None], 100 + 2 * own, -1)
    before = couple_loads(gain, serving, wanted, np.ones((4, 5)))
    wanted[:, user] *= 2
    after = couple_loads(gain, serving, wanted, np.ones((4, 5)))
    assert (after.efficiency > 0).all()
    assert (after.load >= before.load - 2 * TOLERANCE).all()
    assert (after.load.sum(axis=-1) > before.load.sum(axis=-1))[(before.load < 0.99).all(-1)].all()


def test_an_overloaded_cell_serves_all_its_users_in_part() -> None:
    gain = np.array([[[10.0], [100.0]]])
    demand = np.array([[2.76754, 5.32660]])
    loads = couple_loads(gain, np.zeros((1, 2), dtype=np.int64), demand, np.full((1, 1), 0.5))
    assert loads.needed[0, 0] == pytest.approx(2.0, rel=1e-5)
    assert loads.load[0, 0] == 0.5
    assert loads.served_share[0] == pytest.approx([0.25, 0.25], rel=1e-5)


def test_users_below_minus_6_db_are_out_of_coverage() -> None:
    # The first user hardly hears its cell; the second is drowned by cell 1 unless that is idle.
    gain = np.array([[[0.2, 0.0], [20.0, 200.0], [0.0, 100.0]]])
    serving = np.array([[0, 0, 1]])
    busy = couple_loads(gain, serving, np.array([[1.0, 0.5, 4.0]]), np.ones((1, 2)))
    assert busy.efficiency[0, :2].tolist() == [0, 0]
    assert busy.served_share[0].tolist() == [0, 0, 1]
    assert busy.load[0, 0] == 0
    # Without users in cell 0 nobody disturbs cell 1.
    assert busy.load[0, 1] == pytest.approx(4 / (0.8 * np.log2(101)), rel=1e-5)
    idle = couple_loads(gain, serving, np.array([[1.0, 0.5, 0.04]]), np.ones((1, 2)))
    assert idle.efficiency[0, 0] == 0
    assert idle.efficiency[0, 1] > 0


def test_who_is_out_of_reach_anyway_costs_nobody_else_coverage() -> None:
    gain = np.array([[[0.2, 0.0], [20.0, 4.0]]])
    demand = np.array([[1.0, 0.1]])
    loads = couple_loads(gain, np.array([[0, 1]]), demand, np.ones((1, 2)))
    assert loads.efficiency[0, 0] == 0
    assert loads.served_share[0].tolist() == [0, 1]
    assert loads.load[0] == pytest.approx([0, 0.1 / (0.8 * np.log2(5))], rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3.0))
def test_who_is_covered_is_above_minus_6_db(seed: int, demand: float) -> None:
    gain, serving, wanted = drawn(seed, demand)
    loads = couple_loads(gain, serving, wanted, np.ones((4, 5)))
    ratio = np.take_along_axis(gain, serving[..., None], -1)[..., 0] / loads.interference
    covered = loads.efficiency > 0
    assert (ratio[covered] >= MINIMUM_SINR * (1 - 1e-5)).all()
    assert (loads.served_share[~covered] == 0).all()


def test_without_a_cell_awake_nobody_is_served() -> None:
    gain, _, wanted = drawn(0, 1.0)
    nobody = np.zeros((4, 5))
    serving = associate(gain, nobody, nobody > 0)
    loads = couple_loads(gain, serving, wanted, nobody)
    for values in (loads.load, loads.needed, loads.served_share, loads.efficiency):
        assert (values == 0).all()
    assert (loads.interference == 1).all()


def test_an_instance_does_not_depend_on_its_batch() -> None:
    gain, serving, wanted = drawn(3, 0.8, batch=9)
    together = couple_loads(gain, serving, wanted, np.ones((9, 5)))
    for b in range(9):
        one = slice(b, b + 1)
        alone = couple_loads(gain[one], serving[one], wanted[one], np.ones((1, 5)))
        assert (alone.load == together.load[one]).all()
        assert (alone.served_share == together.served_share[one]).all()


def test_the_order_of_gains_in_memory_does_not_matter() -> None:
    gain, serving, wanted = drawn(5, 0.8)
    loads = couple_loads(gain, serving, wanted, np.ones((4, 5)))
    turned = couple_loads(np.asfortranarray(gain), serving, wanted, np.ones((4, 5)))
    assert turned.load == pytest.approx(loads.load, abs=TOLERANCE)
    assert turned.interference == pytest.approx(loads.interference, rel=1e-5)


def test_association_by_hand() -> None:
    gain = np.array([[[10.0, 9.0, 1.0], [10.0, 2.0, 1.0]]])
    awake = np.ones((1, 3), dtype=np.bool_)
    assert associate(gain, np.zeros((1, 3)), awake).tolist() == [[0, 0]]
    # 1 dB is a factor of 1.26, 7 dB one of 5.01.
    assert associate(gain, np.array([[0.0, 1.0, 0.0]]), awake).tolist() == [[1, 0]]
    assert associate(gain, np.array([[-2.0, 6.0, 6.0]]), awake).tolist() == [[1, 1]]
    awake[0, 0] = False
    assert associate(gain, np.array([[6.0, 0.0, 0.0]]), awake).tolist() == [[1, 1]]
