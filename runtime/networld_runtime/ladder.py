"""The ladder that a cell goes down when its model is late or sick, and up again: it acts in every slot.

Plans as asked for, plans of one step, one pass of the policy, the last action that fades, the safe action.
Within a slot the next rung is tried at once. Where a rung fails again and again, slots begin below it, and
after a while of good slots one of them tries it again: a sick rung costs little, a healed one comes back
(a Simplex architecture with conditions of return, Phan et al., Neural Simplex, 2020).
"""

from __future__ import annotations

import logging
import math
from collections import Counter, deque
from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import BoolArray, FloatArray
from networld_runtime.planner_like import PlannerLike
from networld_runtime.realtime import Estimate, monotonic_s
from networld_runtime.run_limit import RunTerminatedError
from networld_runtime.rungs import HOLD, RULE
from networld_runtime.sessions import limited_runs
from networld_runtime.shield import Shield

_log = logging.getLogger(__name__)

WINDOW, MOST_FAILURES = 50, 3
"""So many failures in so many slots, and slots begin one rung lower."""
PATIENCE, LONGEST_PATIENCE = 50, 3200
"""Good slots before a higher rung is tried again; twice as many after each try that failed."""
RESERVE = 2.0
"""A rung leaves time for the next one, which may take so much longer than it did lately."""
MARGIN = 0.1
"""Share of the time from observation to deadline that is left for all that comes after the model."""


class Ladder:
    """Encodes and plans with a planner and its fallbacks, and never fails.

    Attributes:
        failures: What went wrong, by reason.
        slots: Slots by the rung that acted.
        slots_below: Slots with a usable observation in which the planner itself did not act.
        plans_cut: Plans that were acted on before all their steps were taken.
        level: Where slots begin: 0 is the planner itself, then its fallbacks, then no model.
        reason: What brought slots below the top; empty at the top.
        shield: What every action passes.

    Args:
        planner: The planner; its fallbacks are the rungs below.
        shield: Checks and limits every action.
    """

    def __init__(self, planner: PlannerLike, shield: Shield) -> None:
        self.failures: Counter[str] = Counter()
        self.slots: Counter[str] = Counter()
        self.slots_below = 0
        self.plans_cut = 0
        self.level = 0
        self.reason = ""
        self.shield = shield
        self._contract = planner.contract
        self._patience = PATIENCE
        self._good = 0
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._why = ""  # the latest failure
        self._started_s = math.inf
        self._observed = True  # whether there is anything to blame the model for
        self.go_on_with(planner)

    @property
    def rung(self) -> str:
        """The rung where slots begin."""
        return self._rungs[self.level].rung if self.level < len(self._rungs) else HOLD

    def go_on_with(self, planner: PlannerLike) -> None:
        """Act with another planner of the same contract; what is counted and held stays."""
        self._rungs: Sequence[PlannerLike] = (planner, *planner.fallbacks)
        self._takes = [Estimate() for _ in self._rungs]
        self._to(0, "")
        self._patience = PATIENCE

    def encode(self, observation: FloatArray, deadline_s: float = math.inf) -> FloatArray | None:
        """Return the latent `[Z]` of an observation; None if the model fails or is late."""
        self._started_s = monotonic_s()
        self._observed = bool(np.isfinite(observation).all())
        if not self._observed:
            self._count("observation_not_finite")
            return None
        try:
            with limited_runs(self._end_s(deadline_s)):
                latent = np.asarray(self._rungs[0].encode(observation), dtype=np.float32)
        except RunTerminatedError as error:
            self._count("encode_late", error)
            return None
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
        """Return the action `[C]` to take, in native units, whatever happens.

        Args:
            latent: Of the present observation `[Z]`; None if there is none.
            mean_field: What the neighbours told `[M]`.
            mask: Valid choices `[mask_size]`; None if all are.
            deadline_s: When the action must be there, on the clock of `realtime.monotonic_s`.
        """
        first = self._first()
        for takes in self._takes[:first]:
            takes.rested()
        if latent is not None:
            for index in range(first, len(self._rungs)):
                action = self._try(index, latent, mean_field, mask, deadline_s)
                if action is not None:
                    self.slots[self._rungs[index].rung] += 1
                    self.slots_below += index > 0
                    self._judge(first, index)
                    return action
        if self._observed:  # a slot without a measurement says nothing of the model
            self.slots_below += 1
            self._judge(first, len(self._rungs), sick=latent is None)
        action, held = self.shield.hold(mask)
        self.slots[HOLD if held else RULE] += 1
        return action

    def _try(
        self,
        index: int,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None,
        deadline_s: float,
    ) -> FloatArray | None:
        """Return the action of a rung; None if it fails or will not be there in time."""
        begun_s = monotonic_s()
        rung, lower = self._rungs[index], self._takes[index + 1 : index + 2]
        end_s = self._end_s(deadline_s) - RESERVE * sum(one.duration_s for one in lower)
        hopeless = begun_s + self._takes[index].duration_s > end_s and not rung.elastic
        if hopeless and lower and index >= self.level:  # a try is run, whatever it took once
            self._takes[index].rested()
            self._count("no_time")
            return None
        cut = False
        try:
            with limited_runs(end_s):
                decision = rung.plan(latent, mean_field, mask, end_s)
            action = np.asarray(decision.action, np.float32)
            cut = decision.plan is not None and decision.plan.cut
            passed = self.shield.passed(action, mask)
        except RunTerminatedError as error:
            self._count("plan_late", error)
            return None
        except Exception as error:
            self._count("plan_raised", error)
            return None
        finally:
            if not cut:  # one that was cut took what there was
                self._takes[index].took(monotonic_s() - begun_s)
        if passed is None:
            self._count("plan_not_allowed" if np.isfinite(action).all() else "plan_not_finite")
            return None
        self.plans_cut += cut
        return passed

    def _end_s(self, deadline_s: float) -> float:
        """Return when the model must be done."""
        if deadline_s == math.inf:
            return math.inf
        return deadline_s - MARGIN * max(deadline_s - self._started_s, 0.0)

    def _first(self) -> int:
        """Return the rung that this slot begins with: one higher than usual where that is due."""
        return self.level - 1 if self.level and self._good >= self._patience else self.level

    def _judge(self, first: int, acted: int, *, sick: bool = False) -> None:
        """Go up or down by what became of a slot that began on the rung `first`.

        Args:
            first: Where the slot began.
            acted: The rung that acted.
            sick: Whether there was no latent: nothing was tried then.
        """
        if sick and first == len(self._rungs):
            self._good = 0  # no model yet
            return
        if first < self.level:  # a try
            self._good = 0
            if acted == first:
                self._to(first, self.reason if first else "")
                self._patience = PATIENCE
            else:
                self._patience = min(2 * self._patience, LONGEST_PATIENCE)
            return
        failed = acted > first
        self._good = 0 if failed else self._good + 1
        self._recent.append(failed)
        if sum(self._recent) >= MOST_FAILURES and self.level < len(self._rungs):
            self._to(self.level + 1, self._why)

    def _to(self, level: int, reason: str) -> None:
        before, self.level, self.reason = self.level, level, reason
        self._good = 0
        self._recent.clear()
        if level > before:
            _log.warning("slots begin with %s from now on: %s", self.rung, reason)
        elif level < before:
            _log.warning("slots begin with %s again", self.rung)

    def _count(self, reason: str, error: Exception | None = None) -> None:
        self.failures[reason] += 1
        self._why = reason
        if self.failures[reason] == 1:  # the counter tells of the others
            _log.error(
                "model failed (%s): what stands below it on the ladder acts", reason, exc_info=error
            )
