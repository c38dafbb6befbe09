"""Solvers against the closed form of a Gaussian, and their order of convergence."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.levels import HIGHEST_LEVEL, level_grid, noise, signal
from networld_runtime.solver import SOLVERS, Denoise, ddim, dpm_solver, solve

MEAN, DEVIATION = 0.3, 0.4

Array = npt.NDArray[np.float64]


def gaussian_denoise(plan: Array, level: float) -> Array:
    """Return E[clean | noisy] where clean plans are normal with MEAN and DEVIATION."""
    a, s = signal(level), noise(level)
    gain = DEVIATION**2 * a / (a**2 * DEVIATION**2 + s**2)
    return MEAN + gain * (plan - a * MEAN)


def gaussian_solution(plan: Array, start: float, end: float) -> Array:
    """Return where the probability-flow equation takes `plan`: it keeps the standard score."""

    def moments(level: float) -> tuple[float, float]:
        spread = math.hypot(signal(level) * DEVIATION, noise(level))
        return signal(level) * MEAN, spread

    (mean, spread), (last_mean, last_spread) = moments(start), moments(end)
    return last_mean + last_spread * (plan - mean) / spread


def error_of(solver: str, steps: int) -> float:
    plan = np.linspace(-2, 2, 9)
    end = 0.1
    levels = [HIGHEST_LEVEL + (end - HIGHEST_LEVEL) * k / steps for k in range(steps + 1)]
    solved = solve(gaussian_denoise, plan, SOLVERS[solver](levels))
    return float(np.abs(solved - gaussian_solution(plan, HIGHEST_LEVEL, end)).max())


@pytest.mark.parametrize(("solver", "order"), [("ddim", 1), ("dpm_solver", 2)])
def test_error_falls_with_the_order_of_the_solver(solver: str, order: int) -> None:
    measured = math.log2(error_of(solver, 64) / error_of(solver, 128))
    assert measured == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_perfect_denoiser_of_one_point_is_exact_in_any_number_of_steps(solver: str) -> None:
    target = np.linspace(-1, 1, 5)

    def point(plan: Array, level: float) -> Array:
        del plan, level
        return target

    for steps in (1, 2, 5):
        solved = solve(point, np.full(5, 3.0), SOLVERS[solver](level_grid(steps)))
        np.testing.assert_allclose(solved, target, atol=1e-12)


def test_second_order_beats_first_order_at_few_steps() -> None:
    assert error_of("dpm_solver", 5) < error_of("ddim", 5)


def test_one_step_of_both_solvers_is_the_denoiser_itself() -> None:
    plan = np.array([0.7, -1.2])
    for solver in (ddim, dpm_solver):
        solved = solve(gaussian_denoise, plan, solver(level_grid(1)))
        np.testing.assert_allclose(solved, gaussian_denoise(plan, HIGHEST_LEVEL))


@given(st.integers(1, 60), st.floats(0.05, 0.98))
def test_level_grid_falls_from_start_to_zero(steps: int, start: float) -> None:
    grid = level_grid(steps, start)
    assert len(grid) == steps + 1
    assert grid[0] == start
    assert grid[-1] == 0
    assert all(earlier > later for earlier, later in pairwise(grid))


@pytest.mark.parametrize(("steps", "start"), [(0, 0.5), (-1, 0.5), (3, 0.0), (3, 1.0)])
def test_level_grid_refuses_what_makes_no_sense(steps: int, start: float) -> None:
    with pytest.raises(ValueError, match="="):
        level_grid(steps, start)


@given(st.floats(0, 1))
def test_schedule_preserves_variance(level: float) -> None:
    assert signal(level) ** 2 + noise(level) ** 2 == pytest.approx(1)


def test_denoise_is_called_once_for_each_step() -> None:
    calls: list[float] = []

    def counting(plan: Array, level: float) -> Array:
        calls.append(level)
        return plan

    typed: Denoise[Array] = counting
    solve(typed, np.zeros(3), dpm_solver(level_grid(4)))
    assert calls == level_grid(4)[:-1]


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_solving_ends_with_the_last_clean_plan_where_it_is_enough(allowed: int) -> None:
    answers: list[Array] = []
    asked: list[int] = []

    def denoise(plan: Array, level: float) -> Array:
        answers.append(gaussian_denoise(plan, level))
        return answers[-1]

    def enough() -> bool:
        asked.append(len(answers))
        return len(answers) > allowed

    found = solve(denoise, np.array([0.7, -1.2]), dpm_solver(level_grid(6)), enough)
    assert len(answers) == allowed + 1  # never before the first step
    assert asked == list(range(1, allowed + 2))
    np.testing.assert_array_equal(found, answers[-1])
