"""A network of the power task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from networld_training.tasks.network import Check, Network, whole


@dataclass(frozen=True)
class PowerNetwork(Network):
    """One network of the power task; see `Network` for what all tasks share.

    Attributes:
        warm_up_slots: Slots at full power before an episode is observed and scored.
        averaging: Weight of the present slot in a user's average rate.
    """

    name: str = "umi100"
    inter_site_distance_m: float = 100.0
    slots: int = 150
    warm_up_slots: int = 50
    averaging: float = 0.05
    large_scale_slots: int = 5

    def _checks(self) -> Iterator[Check]:
        yield from super()._checks()
        yield whole(self, "warm_up_slots", 1)
        yield "averaging", 0 < self.averaging < 1, "between 0 and 1"
