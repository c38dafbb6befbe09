"""What the loop needs of a planner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.planner import Decision


class PlannerLike(Protocol):
    """What the loop needs of `planner.Planner`."""

    contract: Contract
    rung: str
    """Which of `rungs.RUNGS` it stands on."""

    @property
    def elastic(self) -> bool:
        """Whether it plans for less time where time is short."""
        ...

    @property
    def fallbacks(self) -> Sequence[PlannerLike]:
        """Planners of lower rungs, the best first; what is asked of this one is done by them, too."""
        ...

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
