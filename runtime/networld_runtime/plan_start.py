"""Where denoising begins: from noise, or from the last plan, moved on by a slot and noised again."""

from __future__ import annotations

import numpy as np

from networld_runtime.contract import FloatArray
from networld_runtime.levels import level_grid, noise, signal
from networld_runtime.planner_settings import PlannerSettings


def plan_start(
    settings: PlannerSettings, draw: FloatArray, last: FloatArray | None
) -> tuple[FloatArray, list[float]]:
    """Return the noisy plans to start from `[..., N, H, Z]` and the levels to go through.

    A warm start has half the steps, as it begins at a lower level.

    Args:
        settings: Steps, temperature and level of a warm start.
        draw: Unit normal noise `[..., N, H, Z]`.
        last: Plans of the slot before `[..., H, Z]`; None in the first slot of an episode.
    """
    draw = draw * np.float32(settings.temperature)
    level = settings.warm_start_level
    if last is None or level == 0:
        return draw, level_grid(settings.steps)
    # one slot has passed: what was the second latent is the next one, the last is repeated
    shifted = np.concatenate([last[..., 1:, :], last[..., -1:, :]], axis=-2)
    start = signal(level) * shifted[..., None, :, :] + noise(level) * draw
    return start.astype(np.float32), level_grid(max(1, settings.steps // 2), level)
