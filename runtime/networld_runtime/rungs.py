"""The rungs that a cell may act from, from the best to the safest, and what stands below a planner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from networld_runtime.bundle import Bundle
from networld_runtime.planner_settings import PlannerSettings

PLAN, SHORT_PLAN, POLICY = "plan", "short-plan", "policy"
"""Rungs on which the model acts: as it was asked to, by a plan of one step, by one pass of the policy."""
HOLD, RULE = "hold", "rule"
"""Rungs without a model: the last action, which fades to the contract's safe one, and that one alone."""
RUNGS = (PLAN, SHORT_PLAN, POLICY, HOLD, RULE)


def rung_of(settings: PlannerSettings) -> str:
    """Return the rung that a planner with these settings stands on."""
    return POLICY if settings.mode == "policy" and not settings.anytime else PLAN


def rungs_below(settings: PlannerSettings, bundle: Bundle) -> Iterator[tuple[str, PlannerSettings]]:
    """Yield the rungs below a planner on which the model acts, each with its settings, the best first.

    A way that is chosen by the time left is short by itself, and one step cannot be shortened.
    """
    if rung_of(settings) == POLICY:
        return
    if (
        bundle.has_distilled
        and not settings.anytime
        and (settings.steps > 1 or settings.needs_full)
    ):
        denoiser = "distilled" if settings.needs_full else settings.denoiser
        yield SHORT_PLAN, replace(settings, denoiser=denoiser, steps=1, warm_start_level=0.0)
    yield POLICY, replace(settings, mode="policy", anytime=False)
