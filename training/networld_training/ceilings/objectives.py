"""All objectives, by task."""

from __future__ import annotations

from collections.abc import Mapping

from networld_training.ceilings.objective import Objective
from networld_training.ceilings.power import PowerObjective
from networld_training.ceilings.sched import SchedObjective
from networld_training.ceilings.sleep import SleepObjective

OBJECTIVES: Mapping[str, Objective] = {
    "power": PowerObjective(),
    "sched": SchedObjective(),
    "sleep": SleepObjective(),
}
