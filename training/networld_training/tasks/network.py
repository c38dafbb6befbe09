"""A network: where the cells stand, how their users move, and what the air between them is like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from networld_runtime.errors import check_values
from networld_training.radio.channel import ChannelConfig
from networld_training.radio.geometry import RINGS, HexagonalLayout
from networld_training.radio.link import noise_dbm
from networld_training.radio.propagation import MODELS

Check = tuple[str, bool, str]


def whole(network: Network, attribute: str, low: int, high: int | None = None) -> Check:
    """Return the check that an attribute is a whole number from `low` on, up to `high` if given."""
    value = getattr(network, attribute)
    fits = isinstance(value, int | np.integer) and low <= value and (high is None or value <= high)
    expected = f"at least {low}" if high is None else f"{low} to {high}"
    return attribute, bool(fits), f"a whole number, {expected}"


@dataclass(frozen=True)
class Network:
    """What all tasks need to know of a network; each task adds its own.

    Attributes:
        name: Short name for tables and files.
        cells: Cells of the wrapped hexagonal layout: 7, 19, 37 or 61.
        users_per_cell: Users per cell on average.
        model: Propagation, `umi` or `uma` of TR 38.901.
        inter_site_distance_m: Distance between neighbouring sites.
        site_jitter: Largest distance of a site from the regular grid, in inter-site distances.
        layout_seed: Which of the irregular layouts, if there is jitter.
        hotspot_sigma: 0 drops the same number of users in each cell. Otherwise cells have log-normal
            weights with this standard deviation (natural logarithm), and each user is dropped in a cell
            drawn by weight.
        carrier_hz: Carrier frequency.
        bandwidth_hz: Bandwidth, which sets the noise.
        transmit_power_dbm: Full power of a cell.
        noise_figure_db: Noise figure of a user's receiver.
        speed_m_s: Speed of every user.
        slot_s: Length of a slot.
        slots: Slots of an episode.
        large_scale_slots: Users move, and path loss and shadowing change, once in so many slots.
    """

    name: str
    cells: int = 7
    users_per_cell: int = 4
    model: str = "umi"
    inter_site_distance_m: float = 200.0
    site_jitter: float = 0.0
    layout_seed: int = 0
    hotspot_sigma: float = 0.0
    carrier_hz: float = 3.5e9
    bandwidth_hz: float = 10e6
    transmit_power_dbm: float = 38.0
    noise_figure_db: float = 9.0
    speed_m_s: float = 1.0
    slot_s: float = 0.02
    slots: int = 100
    large_scale_slots: int = 1

    def __post_init__(self) -> None:
        check_values(f"network {self.name!r}", self, self._checks())

    def _checks(self) -> Iterator[Check]:
        """Yield attribute, whether its value is fine, and what is expected; tasks add theirs."""
        smallest_m = 0.0
        if self.model in MODELS:
            # Room for a user between its site and the edge of the cell.
            smallest_m = 2 * MODELS[self.model].minimum_distance_m
        wraps = whole(self, "cells", 1)[1] and self.cells in RINGS
        yield "cells", wraps, f"one of {sorted(RINGS)}, which wrap around"
        yield whole(self, "users_per_cell", 1)
        yield "model", self.model in MODELS, f"one of {sorted(MODELS)}"
        apart = smallest_m < self.inter_site_distance_m <= 1e5
        yield "inter_site_distance_m", apart, f"more than {smallest_m:g}, at most 100000"
        yield "site_jitter", 0 <= self.site_jitter < 0.5, "0 to less than 0.5"
        yield whole(self, "layout_seed", 0)
        yield "hotspot_sigma", 0 <= self.hotspot_sigma <= 3, "0 to 3"
        yield "carrier_hz", 5e8 <= self.carrier_hz <= 1e11, "0.5 to 100 GHz (TR 38.901)"
        yield "bandwidth_hz", 0 < self.bandwidth_hz <= 1e11, "more than 0, at most 100 GHz"
        yield "transmit_power_dbm", -50 <= self.transmit_power_dbm <= 80, "-50 to 80"
        yield "noise_figure_db", 0 <= self.noise_figure_db <= 40, "0 to 40"
        yield "speed_m_s", 0 <= self.speed_m_s <= 100, "0 to 100"
        yield "slot_s", 0 < self.slot_s <= 3600, "more than 0, at most 3600"
        yield whole(self, "slots", 1)
        yield whole(self, "large_scale_slots", 1)

    @property
    def users(self) -> int:
        """Number of users U of the network."""
        return self.users_per_cell * self.cells

    @property
    def full_power_over_noise(self) -> float:
        """Full power of a cell over the noise of a user: what turns a gain into an SNR."""
        noise = noise_dbm(self.bandwidth_hz, self.noise_figure_db)
        return float(10 ** ((self.transmit_power_dbm - noise) / 10))

    def layout(self) -> HexagonalLayout:
        """Return where the sites are."""
        return HexagonalLayout(
            self.cells, self.inter_site_distance_m, self.site_jitter, self.layout_seed
        )

    def channel_config(self, *, fading: bool = True) -> ChannelConfig:
        """Return the channel of this network, with fast fading or averaged over it."""
        return ChannelConfig(
            layout=self.layout(),
            users_per_cell=self.users_per_cell,
            model=self.model,
            carrier_hz=self.carrier_hz,
            speed_m_s=self.speed_m_s,
            slot_s=self.slot_s,
            hotspot_sigma=self.hotspot_sigma,
            large_scale_slots=self.large_scale_slots,
            fading=fading,
        )
