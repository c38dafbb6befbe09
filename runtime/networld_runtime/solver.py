"""Solvers of the denoising equation, written once for NumPy, ONNX Runtime and torch.

A solver knows one thing of the model: `denoise(plan, level)` returns the clean plan that the model
expects. Arrays are only added and multiplied by Python floats, so any array type works.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from networld_runtime.levels import noise, signal

Array = TypeVar("Array")  # a NumPy array or a torch tensor
Denoise = Callable[[Array, float], Array]


def ddim(denoise: Denoise[Array], plan: Array, levels: Sequence[float]) -> Array:
    """Solve with the first-order deterministic rule (DDIM, Song et al. 2021, eq. 12, eta = 0).

    Args:
        denoise: Predicts the clean plan from a noisy plan and its level.
        plan: Noisy plan at `levels[0]`.
        levels: Decreasing levels; the last one may be 0.

    Returns:
        The plan at the last level.
    """
    for level, following in pairwise(levels):
        plan = _move(plan, denoise(plan, level), level, following)
    return plan


def dpm_solver(denoise: Denoise[Array], plan: Array, levels: Sequence[float]) -> Array:
    """Solve with DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), first order at both ends.

    The data prediction is extrapolated from the last two evaluations in the log signal-to-noise ratio.
    The first step has no history; the last one jumps to level 0, where that ratio is infinite.
    Arguments and result as in `ddim`.
    """
    previous: Any = None
    previous_gap = 0.0
    for level, following in pairwise(levels):
        clean: Any = denoise(plan, level)
        estimate = clean
        if following > 0:
            gap = _log_snr(following) - _log_snr(level)
            if previous is not None:
                weight = gap / (2 * previous_gap)
                estimate = (1 + weight) * clean - weight * previous
            previous, previous_gap = clean, gap
        plan = _move(plan, estimate, level, following)
    return plan


def _move(plan: Array, clean: Array, level: float, following: float) -> Array:
    """Return the plan at the next level: its noise shrinks, the clean plan takes its place."""
    ratio = noise(following) / noise(level)
    noisy: Any = plan
    estimate: Any = clean
    moved: Array = ratio * noisy + (signal(following) - ratio * signal(level)) * estimate
    return moved


def _log_snr(level: float) -> float:
    return math.log(signal(level) / noise(level))


SOLVERS = {"ddim": ddim, "dpm_solver": dpm_solver}
