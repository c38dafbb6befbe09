"""Solvers of the denoising equation, written once for NumPy, ONNX Runtime and torch.

Every solver here is linear: a step moves to a sum of the noisy plan, the clean plan that the model sees in
it, and the one that it saw a step before. A solver is then a table of factors, which a graph can take as
an input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from networld_runtime.levels import noise, signal

Array = TypeVar("Array")  # a NumPy array or a torch tensor
Denoise = Callable[[Array, float], Array]


@dataclass(frozen=True)
class Step:
    """One denoising step: the next plan is the sum of three, each times its factor.

    Attributes:
        level: Level at which the model is asked.
        noisy: Factor of the plan that it is asked about.
        clean: Factor of the clean plan that it answers.
        previous: Factor of what it answered in the step before; 0 in the first.
    """

    level: float
    noisy: float
    clean: float
    previous: float = 0.0


def ddim(levels: Sequence[float]) -> list[Step]:
    """Return the steps of the first-order deterministic rule (DDIM, Song et al. 2021, eq. 12, eta = 0).

    Args:
        levels: Decreasing levels; the last one may be 0.
    """
    return [Step(level, *_move(level, following)) for level, following in pairwise(levels)]


def dpm_solver(levels: Sequence[float]) -> list[Step]:
    """Return the steps of DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), first order at both ends.

    The data prediction is extrapolated from the last two evaluations in the log signal-to-noise ratio.
    The first step has no history; the last one jumps to level 0, where that ratio is infinite.

    Args:
        levels: As in `ddim`.
    """
    steps: list[Step] = []
    previous_gap = 0.0
    for level, following in pairwise(levels):
        noisy, clean = _move(level, following)
        gap = _log_snr(following) - _log_snr(level) if following > 0 else 0.0
        weight = gap / (2 * previous_gap) if previous_gap else 0.0
        steps.append(Step(level, noisy, (1 + weight) * clean, -weight * clean))
        previous_gap = gap
    return steps


SOLVERS: Mapping[str, Callable[[Sequence[float]], list[Step]]] = {
    "ddim": ddim,
    "dpm_solver": dpm_solver,
}


def solve(
    denoise: Denoise[Array],
    plan: Array,
    steps: Sequence[Step],
    enough: Callable[[], bool] = lambda: False,
) -> Array:
    """Take the steps and return the plan where they end.

    Args:
        denoise: Predicts the clean plan from a noisy plan and its level; all that is known of the model.
            Arrays are only added and multiplied by Python floats, so any array type works.
        plan: Noisy plan at the first step's level.
        steps: Of one of `SOLVERS`.
        enough: Asked before every step but the first. Where it says so, the clean plan that the model saw
            last is returned: the best that is known without another step.
    """
    moved: Any = plan
    previous: Any = None
    for number, step in enumerate(steps):
        if number > 0 and enough():
            moved = previous
            break
        clean: Any = denoise(moved, step.level)
        moved = step.noisy * moved + step.clean * clean
        if step.previous:
            moved = moved + step.previous * previous
        previous = clean
    result: Array = moved
    return result


def _move(level: float, following: float) -> tuple[float, float]:
    """Return the factors of noisy and clean plan: the noise shrinks, the clean plan takes its place."""
    ratio = noise(following) / noise(level)
    return ratio, signal(following) - ratio * signal(level)


def _log_snr(level: float) -> float:
    return math.log(signal(level) / noise(level))
