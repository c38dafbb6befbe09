"""A planner that never fails: a sick model is counted and the last action is held, or a safe one."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Protocol

import numpy as np

from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.planner import Decision

_log = logging.getLogger(__name__)


class PlannerLike(Protocol):
    """What the loop needs of `planner.Planner`."""

    contract: Contract

    def encode(self, observation: FloatArray) -> FloatArray:
        """Return the latent `[Z]` of an observation `[D]` in native units."""
        ...

    def plan(
        self,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = math.inf,
    ) -> Decision:
        """Return the decision for a latent `[Z]`, a mean field `[M]` and a mask `[mask_size]`, in time."""
        ...

    def reset(self) -> None:
        """Forget the last plan: a new episode begins."""
        ...

    def adopt(self, adapter: FloatArray) -> None:
        """Plan with another adapter `[P]` from now on."""
        ...

    def draw_ahead(self) -> None:
        """Draw what the next plan needs and no observation says."""
        ...

    def warm_up(self, runs: int = 20) -> None:
        """Run the model a few times."""
        ...


class GuardedPlanner:
    """Wraps a planner's two calls; all else is asked of the planner itself.

    The contract's safe action stands in where there is no last action, or the mask forbids it.

    Args:
        planner: The planner to watch.
    """

    def __init__(self, planner: PlannerLike) -> None:
        self.failures: Counter[str] = Counter()
        self.plans_cut = 0
        self._planner = planner
        self._contract = planner.contract
        self._safe = np.array(planner.contract.safe_action, dtype=np.float32)
        self._held = self._safe

    def change_planner(self, planner: PlannerLike) -> None:
        """Watch another planner of the same contract from now on; counters and held action stay."""
        self._planner = planner

    def encode(self, observation: FloatArray) -> FloatArray | None:
        """Return the latent of an observation, None if the model fails."""
        try:
            latent = np.asarray(self._planner.encode(observation), dtype=np.float32)
        except Exception as error:
            self._count("encode_raised", error)
            return None
        if latent.shape != (self._contract.latent_size,) or not np.isfinite(latent).all():
            self._count("encode_not_finite")
            return None
        return latent

    def plan(
        self,
        latent: FloatArray | None,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = math.inf,
    ) -> FloatArray:
        """Return the action `[C]` to take, in native units; the last or safe one if the model fails."""
        if latent is None:
            return self._hold(mask)
        try:
            decision = self._planner.plan(latent, mean_field, mask, deadline_s)
            action = np.asarray(decision.action, np.float32)
            cut = decision.plan is not None and decision.plan.cut
            valid = self._contract.allows(action, mask)
        except Exception as error:
            self._count("plan_raised", error)
            return self._hold(mask)
        if not valid:
            self._count("plan_not_allowed")
            return self._hold(mask)
        self._held = action
        self.plans_cut += cut
        return action

    def _hold(self, mask: BoolArray | None) -> FloatArray:
        return self._held if self._contract.allows(self._held, mask) else self._safe

    def _count(self, reason: str, error: Exception | None = None) -> None:
        self.failures[reason] += 1
        if self.failures[reason] == 1:  # the counter tells of the others
            _log.error(
                "model failed (%s): the last action is held, or the safe one is taken where there is no "
                "last one or the action mask forbids it",
                reason,
                exc_info=error,
            )
