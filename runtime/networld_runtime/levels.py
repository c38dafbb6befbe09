"""Noise levels: 0 is clean, 1 is noise; how much signal and noise a plan holds at each."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import FloatArray

LEVEL_FEATURES = 16
"""Numbers by which a network that plans in one graph knows a level."""
HIGHEST_LEVEL = 0.98
LOWEST_LEVEL = 0.02
"""Levels that are learned from are uniform between the two, in training and in adaptation."""


def signal(level: float) -> float:
    """Return the factor of the clean plan at `level` (cosine schedule, variance preserving)."""
    return math.cos(0.5 * math.pi * level)


def noise(level: float) -> float:
    """Return the factor of the unit noise at `level`."""
    return math.sin(0.5 * math.pi * level)


def level_grid(steps: int, start: float = HIGHEST_LEVEL) -> list[float]:
    """Return the `steps + 1` levels of a denoising run, from `start` down to 0.

    Raises:
        ValueError: `steps` is below 1 or `start` outside (0, 1).
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: at least 1 denoising step is needed")
    if not 0 < start < 1:
        raise ValueError(f"start = {start}: a level strictly between 0 and 1 is needed")
    return [start * (1 - step / steps) for step in range(steps + 1)]


def level_features(levels: Sequence[float]) -> FloatArray:
    """Return sines and cosines `[K, LEVEL_FEATURES]` of levels, as they are trained with."""
    rates = np.exp(np.linspace(0.0, math.log(1000.0), LEVEL_FEATURES // 2, dtype=np.float32))
    angles = np.asarray(levels, dtype=np.float32)[:, None] * rates
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1).astype(np.float32)
