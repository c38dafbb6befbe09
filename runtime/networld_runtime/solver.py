"""Solvers of the denoising equation, written once for NumPy, ONNX Runtime and torch.

A solver knows one thing of the model: `denoise(plan, level)` returns the clean plan that the model
expects. Arrays are only added and multiplied by Python floats, so any array type works.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from networld_runtime.levels import noise, signal

Array = TypeVar("Array", bound=np.ndarray)  # type: ignore[type-arg]  # or a torch tensor
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
    for level, following in zip(levels[:-1], levels[1:], strict=True):
        clean = denoise(plan, level)
        ratio = noise(following) / noise(level)
        plan = ratio * plan + (signal(following) - ratio * signal(level)) * clean
    return plan


def dpm_solver(denoise: Denoise[Array], plan: Array, levels: Sequence[float]) -> Array:
    """Solve with DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), first order at both ends.

    The data prediction is extrapolated from the last two evaluations in the log signal-to-noise ratio.
    The first step has no history; the last one jumps to level 0, where that ratio is infinite.
    Arguments and result as in `ddim`.
    """
    previous: Array | None = None
    previous_gap = 0.0
    for level, following in zip(levels[:-1], levels[1:], strict=True):
        clean = denoise(plan, level)
        estimate = clean
        if following > 0:
            gap = _log_snr(following) - _log_snr(level)
            if previous is not None:
                weight = gap / (2 * previous_gap)
                estimate = (1 + weight) * clean - weight * previous
            previous, previous_gap = clean, gap
        ratio = noise(following) / noise(level)
        plan = ratio * plan + (signal(following) - ratio * signal(level)) * estimate
    return plan


def _log_snr(level: float) -> float:
    return math.log(signal(level) / noise(level))


SOLVERS = {"ddim": ddim, "dpm_solver": dpm_solver}
