"""What the solvers must do on any network, and their published results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from networld_runtime.errors import ConfigError
from networld_training.radio import power_control
from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import sinr
from networld_training.radio.power_control import PowerSolution, fractional_programming, wmmse
from networld_training.radio.published import published_benchmark

Solver = Callable[[FloatArray, FloatArray], PowerSolution]

SOLVERS: list[Solver] = [wmmse, fractional_programming]
gains_db = arrays(np.float64, (2, 4, 4), elements=st.floats(-20, 60))
weights = arrays(np.float64, (2, 4), elements=st.floats(0, 5))


def weighted_rate(gain: FloatArray, weight: FloatArray, power: FloatArray) -> FloatArray:
    return np.asarray((weight * np.log2(1 + sinr(gain, power))).sum(axis=-1))


@pytest.mark.parametrize("solver", SOLVERS)
@given(gains_db, weights)
def test_powers_stay_within_bounds(solver: Solver, gain_db: FloatArray, weight: FloatArray) -> None:
    solution = solver(10 ** (gain_db / 10), weight)
    assert (solution.power >= 0).all()
    assert (solution.power <= 1).all()
    assert ((solution.iterations >= 1) & (solution.iterations <= 100)).all()


@given(gains_db, weights)
def test_wmmse_is_at_least_full_power(gain_db: FloatArray, weight: FloatArray) -> None:
    gain = 10 ** (gain_db / 10)
    found = weighted_rate(gain, weight, wmmse(gain, weight).power)
    assert (found >= weighted_rate(gain, weight, np.ones_like(weight)) - 1e-6).all()


def test_wmmse_never_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    gain = 10 ** (generator.uniform(-1, 5, (20, 6, 6)))
    weight = generator.uniform(0.1, 2, (20, 6))
    rates = []
    for iterations in range(1, 30):
        monkeypatch.setattr(power_control, "ITERATIONS", iterations)
        power = wmmse(gain, weight, tolerance=-1.0).power
        rates.append(weighted_rate(gain, weight, power))
    assert (np.diff(rates, axis=0) >= -1e-6).all()


@pytest.mark.parametrize("stronger", [0, 1])
def test_strong_interference_leaves_one_of_two_on(stronger: int) -> None:
    """Symmetric but for a thousandth: the corner that the solver finds is the best there is."""
    gain = np.array([[[1000.0, 3000.0], [3000.0, 1000.0]]])
    gain[0, stronger, stronger] += 1
    weight = np.ones((1, 2))
    power = wmmse(gain, weight, tolerance=1e-9).power
    assert power[0, stronger] == pytest.approx(1, abs=1e-3)
    assert power[0, 1 - stronger] == pytest.approx(0, abs=1e-3)
    levels = np.linspace(0, 1, 41)
    pairs = np.stack(np.meshgrid(levels, levels), axis=-1).reshape(-1, 2)
    best = weighted_rate(np.repeat(gain, len(pairs), axis=0), np.ones_like(pairs), pairs).max()
    assert weighted_rate(gain, weight, power) == pytest.approx(best, abs=1e-2)


def test_no_interference_leaves_all_at_full_power() -> None:
    gain = np.diag([10.0, 20.0, 30.0])[None]
    for solver in SOLVERS:
        assert solver(gain, np.ones((1, 3))).power == pytest.approx(1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_weight_zero_is_off_and_an_instance_is_solved_as_if_alone(solver: Solver) -> None:
    generator = np.random.default_rng(1)
    gain = 10 ** (generator.uniform(-1, 5, (5, 4, 4)))
    weight = generator.uniform(0.1, 2, (5, 4))
    weight[:, 2] = 0
    together = solver(gain, weight)
    assert (together.power[:, 2] == 0).all()
    alone = solver(gain[3:4], weight[3:4])
    assert (alone.power[0] == together.power[3]).all()
    assert alone.iterations[0] == together.iterations[3]


def test_published_table() -> None:
    """Nasir and Guo, 20 cells and 40 links: WMMSE 2.09, FP 1.98, random .62, full .60 b/s/Hz."""
    table = published_benchmark(links=40, drops=1000, seed=1)
    published = {"wmmse": 2.09, "fp": 1.98, "random": 0.62, "full": 0.60}
    for name, rate in published.items():
        assert table[name] == pytest.approx(rate, abs=0.03), name
    assert table["fp"] / table["wmmse"] == pytest.approx(0.94, abs=0.03)
    assert table["iterations"]["wmmse"] == pytest.approx(71.5, rel=0.1)
    assert table["iterations"]["fp"] == pytest.approx(28.9, rel=0.1)


def test_benchmark_repeats_and_checks_its_arguments() -> None:
    assert published_benchmark(6, 3, 5) == published_benchmark(6, 3, 5)
    with pytest.raises(ConfigError) as error:
        published_benchmark(1, 0, 0)
    assert len(error.value.problems) == 2
