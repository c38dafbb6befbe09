"""Scenarios of the power task: where the cells stand and how their users move."""

from __future__ import annotations

from dataclasses import dataclass

from networld_runtime.errors import check_values
from networld_training.radio.channel import ChannelConfig
from networld_training.radio.geometry import RINGS, HexagonalLayout
from networld_training.radio.link import noise_dbm
from networld_training.radio.propagation import MODELS


@dataclass(frozen=True)
class PowerScenario:
    """One network of the power task.

    Attributes:
        name: Short name for tables and files.
        cells: Cells of the wrapped hexagonal layout: 7, 19, 37 or 61.
        users_per_cell: Users dropped in each cell.
        model: Propagation, `umi` or `uma` of TR 38.901.
        inter_site_distance_m: Distance between neighbouring sites.
        carrier_hz: Carrier frequency.
        bandwidth_hz: Bandwidth, which sets the noise.
        transmit_power_dbm: Full power of a cell.
        noise_figure_db: Noise figure of a user's receiver.
        speed_m_s: Speed of every user.
        slot_s: Length of a slot.
        warm_up_slots: Slots at full power before an episode is observed and scored.
        slots: Scored slots of an episode.
        averaging: Weight of the present slot in a user's average rate.
    """

    name: str = "umi100"
    cells: int = 7
    users_per_cell: int = 4
    model: str = "umi"
    inter_site_distance_m: float = 100.0
    carrier_hz: float = 3.5e9
    bandwidth_hz: float = 10e6
    transmit_power_dbm: float = 38.0
    noise_figure_db: float = 9.0
    speed_m_s: float = 1.0
    slot_s: float = 0.02
    warm_up_slots: int = 50
    slots: int = 150
    averaging: float = 0.05

    def __post_init__(self) -> None:
        smallest_m = 0.0
        if self.model in MODELS:
            # Room for a user between its site and the edge of the cell.
            smallest_m = 2 * MODELS[self.model].minimum_distance_m
        check_values(
            f"scenario {self.name!r}",
            self,
            (
                ("cells", self.cells in RINGS, f"one of {sorted(RINGS)}"),
                ("users_per_cell", self.users_per_cell >= 1, "at least 1"),
                ("model", self.model in MODELS, f"one of {sorted(MODELS)}"),
                (
                    "inter_site_distance_m",
                    self.inter_site_distance_m > smallest_m,
                    f"more than {smallest_m:g}",
                ),
                ("carrier_hz", 5e8 <= self.carrier_hz <= 1e11, "0.5 to 100 GHz (TR 38.901)"),
                ("bandwidth_hz", self.bandwidth_hz > 0, "a positive number"),
                ("transmit_power_dbm", -50 <= self.transmit_power_dbm <= 80, "-50 to 80"),
                ("noise_figure_db", 0 <= self.noise_figure_db <= 40, "0 to 40"),
                ("speed_m_s", 0 <= self.speed_m_s <= 100, "0 to 100"),
                ("slot_s", 0 < self.slot_s <= 1, "more than 0, at most 1"),
                ("warm_up_slots", self.warm_up_slots >= 1, "at least 1"),
                ("slots", self.slots >= 1, "at least 1"),
                ("averaging", 0 < self.averaging < 1, "between 0 and 1"),
            ),
        )

    @property
    def full_power_over_noise(self) -> float:
        """Full power of a cell over the noise of a user: what turns a gain into an SNR."""
        noise = noise_dbm(self.bandwidth_hz, self.noise_figure_db)
        return float(10 ** ((self.transmit_power_dbm - noise) / 10))

    def channel_config(self) -> ChannelConfig:
        """Return the channel of this scenario."""
        return ChannelConfig(
            layout=HexagonalLayout(self.cells, self.inter_site_distance_m),
            users_per_cell=self.users_per_cell,
            model=self.model,
            carrier_hz=self.carrier_hz,
            speed_m_s=self.speed_m_s,
            slot_s=self.slot_s,
        )


POWER_SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        PowerScenario(),
        PowerScenario(name="umi200", inter_site_distance_m=200.0),
        PowerScenario(name="umi100x19", cells=19),
        PowerScenario(name="uma500", model="uma", inter_site_distance_m=500.0),
        PowerScenario(name="umi100-dense", users_per_cell=8),
        PowerScenario(name="umi100-sparse", users_per_cell=2),
        PowerScenario(name="umi100-fast", speed_m_s=10.0),
    )
}
