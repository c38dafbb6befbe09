"""A solver's steps as the graphs of whole plans take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import FloatArray
from networld_runtime.levels import level_features
from networld_runtime.solver import Step


def step_inputs(steps: Sequence[Step], guidance_scale: float) -> dict[str, FloatArray]:
    """Return `in_step [K, LEVEL_FEATURES + 1]` and, for more than one step, `in_factors [3 (K - 1)]`.

    The last step is left out of the factors: it ends at the clean plan itself.

    Raises:
        ValueError: It does not.
    """
    *moves, last = steps
    if (last.noisy, last.clean, last.previous) != (0, 1, 0):
        raise ValueError(f"last step {last}: expected one that ends at the clean plan")
    features = level_features([step.level for step in steps])
    scale = np.full((len(features), 1), guidance_scale)
    inputs = {"in_step": np.hstack([features, scale]).astype(np.float32)}
    if moves:
        factors = [(step.noisy, step.clean, step.previous) for step in moves]
        inputs["in_factors"] = np.array(factors, dtype=np.float32).ravel()
    return inputs
