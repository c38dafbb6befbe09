"""All objectives, by task."""

from __future__ import annotations

from collections.abc import Mapping

from networld_training.ceilings.objective import Objective
from networld_training.ceilings.power import PowerObjective

OBJECTIVES: Mapping[str, Objective] = {"power": PowerObjective()}
