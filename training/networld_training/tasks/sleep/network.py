"""A network of the sleep task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from networld_training.radio.demand import DemandModel
from networld_training.radio.energy import ENERGY_TABLES, EnergyTable
from networld_training.tasks.network import Check, Network


@dataclass(frozen=True)
class SleepNetwork(Network):
    """One network of the sleep task; see `Network` for what all tasks share.

    Bandwidth and power are those of the reference configuration of set 2 of TR 38.864, 20 MHz and 49 dBm,
    so that its powers hold unscaled.

    Attributes:
        peak_demand_mbit_s: Mean demand of a user in the busiest hour.
        night_share: Demand in the quietest hour over that of the busiest. An episode is one day.
        activity_sigma: How unlike the areas' activities are: standard deviation of their logarithms.
        activity_slots: Slots after which the correlation of an area's activity is 1/e.
        energy_table: Powers and transitions, by name in `radio.energy`.
        unserved_weight: Utility that is lost if as much demand as a cell has on average is not served.
        reference_power: Power that costs a utility of 1, in the unit of the table.
    """

    name: str = "uma500"
    users_per_cell: int = 6
    model: str = "uma"
    inter_site_distance_m: float = 500.0
    hotspot_sigma: float = 0.5
    bandwidth_hz: float = 20e6
    transmit_power_dbm: float = 49.0
    speed_m_s: float = 0.5
    slot_s: float = 10.0
    slots: int = 96
    large_scale_slots: int = 3
    peak_demand_mbit_s: float = 3.0
    night_share: float = 0.1
    activity_sigma: float = 0.3
    activity_slots: float = 24.0
    energy_table: str = "category-2-set-2"
    unserved_weight: float = 60.0
    reference_power: float = 1.0

    def _checks(self) -> Iterator[Check]:
        yield from super()._checks()
        yield "peak_demand_mbit_s", 0 < self.peak_demand_mbit_s <= 1000, "more than 0, at most 1000"
        yield "night_share", 0 <= self.night_share <= 1, "0 to 1"
        yield "activity_sigma", 0 <= self.activity_sigma <= 2, "0 to 2"
        yield "activity_slots", 0 < self.activity_slots <= 1e6, "more than 0, at most 1000000"
        yield "energy_table", self.energy_table in ENERGY_TABLES, f"one of {sorted(ENERGY_TABLES)}"
        yield "unserved_weight", 0 <= self.unserved_weight <= 1e6, "0 to 1000000"
        yield "reference_power", 0 < self.reference_power <= 1e6, "more than 0, at most 1000000"
        if self.energy_table in ENERGY_TABLES:
            longest_s = self.energy.deep_transition_s
            waking = f"at least the {longest_s:g} s that waking takes with {self.energy_table}"
            yield "slot_s", self.slot_s >= longest_s, waking

    @property
    def energy(self) -> EnergyTable:
        """Powers and transitions of a cell."""
        return ENERGY_TABLES[self.energy_table]

    @property
    def demand(self) -> DemandModel:
        """How the users' demand varies."""
        return DemandModel(
            peak_mbit_s=self.peak_demand_mbit_s,
            night_share=self.night_share,
            day_slots=self.slots,
            activity_sigma=self.activity_sigma,
            activity_slots=self.activity_slots,
            slot_s=self.slot_s,
        )

    @property
    def mean_cell_demand_mbit_s(self) -> float:
        """Demand of a cell on average over cells and day."""
        return self.users_per_cell * self.demand.mean_mbit_s
