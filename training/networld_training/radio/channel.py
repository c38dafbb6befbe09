"""The channel between all users and cells of a batch of episodes, slot after slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import j0  # type: ignore[import-untyped]

from networld_runtime.errors import check_values
from networld_training.radio.arrays import BoolArray, FloatArray
from networld_training.radio.geometry import HexagonalLayout, drop_in_hexagons_m
from networld_training.radio.propagation import (
    MODELS,
    SPEED_OF_LIGHT_M_S,
    line_of_sight_probability,
    path_loss_db,
)
from networld_training.radio.streams import Streams


@dataclass(frozen=True)
class ChannelConfig:
    """What a channel consists of.

    Attributes:
        layout: Sites and wrap-around.
        users_per_cell: Users dropped in each cell's hexagon.
        model: `umi` or `uma` of TR 38.901.
        carrier_hz: Carrier frequency.
        speed_m_s: Speed of every user; the direction is random and kept.
        slot_s: Time between two states.
        hotspot_sigma: 0 drops `users_per_cell` in each cell; otherwise each user is dropped in a cell
            drawn by log-normal weights, exp(hotspot_sigma times a standard normal number).
        large_scale_slots: Users move once in so many slots, by that much more.
        fading: Whether there is fast fading; without it `gain` is `large_scale_gain`.
    """

    layout: HexagonalLayout
    users_per_cell: int
    model: str
    carrier_hz: float
    speed_m_s: float
    slot_s: float
    hotspot_sigma: float = 0.0
    large_scale_slots: int = 1
    fading: bool = True

    def __post_init__(self) -> None:
        check_values(
            "channel",
            self,
            (
                ("users_per_cell", self.users_per_cell >= 1, "at least 1"),
                ("model", self.model in MODELS, f"one of {sorted(MODELS)}"),
                ("carrier_hz", 5e8 <= self.carrier_hz <= 1e11, "0.5 to 100 GHz (TR 38.901)"),
                ("speed_m_s", self.speed_m_s >= 0, "at least 0"),
                ("slot_s", self.slot_s > 0, "a positive number"),
                ("hotspot_sigma", self.hotspot_sigma >= 0, "at least 0"),
                ("large_scale_slots", self.large_scale_slots >= 1, "at least 1"),
            ),
        )

    @property
    def users(self) -> int:
        """Number of users U."""
        return self.users_per_cell * self.layout.cells

    @property
    def fading_correlation(self) -> float:
        """Correlation of the fading in consecutive slots: max(J0(2 pi f_d T), 0), after Jakes.

        An autoregressive process of order one follows Jakes' autocorrelation at lag one only.
        """
        doppler_hz = self.speed_m_s * self.carrier_hz / SPEED_OF_LIGHT_M_S
        return max(float(j0(2 * np.pi * doppler_hz * self.slot_s)), 0.0)


class Channel:
    """Flat block-fading channel of E episodes.

    Line of sight holds where a uniform number, fixed for each pair of user and cell, is below the
    probability at the present distance, so that it is consistent in space. Shadowing (in standard
    deviations) is an AR(1) process in the distance moved, fading a complex AR(1) process in time.
    Each episode draws from its own streams in a fixed order: what happens in one does not depend on
    the others, and one episode alone is the same as within a batch.

    Args:
        config: What the channel consists of.
        streams: Random streams, one for each episode.

    Attributes:
        position_m: User positions `[E, U, 2]`.
        line_of_sight: Whether a user sees a cell `[E, U, K]`.
        shadowing: Shadowing in standard deviations `[E, U, K]`; positive is additional loss.
        large_scale_gain: Linear gain of path loss and shadowing `[E, U, K]`.
        gain: Linear gain with fading `[E, U, K]`; the fading has a mean of 1.
    """

    def __init__(self, config: ChannelConfig, streams: Sequence[Streams]) -> None:
        self.config = config
        self._streams = streams
        shape = (len(streams), config.users, config.layout.cells)
        self._innovation = np.empty(shape)
        self._fading_innovation = np.empty((shape[0], 2, *shape[1:]))
        self._slot = 0
        displacement_m = config.speed_m_s * config.slot_s * config.large_scale_slots
        lengths_m = MODELS[config.model].correlation_m
        self._kept = [float(np.exp(-displacement_m / length_m)) for length_m in lengths_m]
        self._renewed = [float(np.sqrt(1 - kept**2)) for kept in self._kept]

        self.position_m = config.layout.wrap(np.stack([self._drop(s) for s in streams]))
        self._threshold = np.stack([s.topology.random(shape[1:]) for s in streams])
        self.shadowing = np.stack([s.topology.standard_normal(shape[1:]) for s in streams])
        angle = 2 * np.pi * np.stack([s.mobility.random(shape[1]) for s in streams])
        self._step_m = displacement_m * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        if config.fading:
            self._fading = np.sqrt(0.5) * self._draw_fading()
        self._update_large_scale()
        self._update_gain()

    def advance(self) -> None:
        """Let one slot pass."""
        self._slot += 1
        if self._slot % self.config.large_scale_slots == 0:
            self._move()
            self._update_large_scale()
        if self.config.fading:
            rho = self.config.fading_correlation
            self._fading *= rho
            self._fading += np.sqrt(0.5 * (1 - rho**2)) * self._draw_fading()
        self._update_gain()

    def _drop(self, stream: Streams) -> FloatArray:
        """Return the users' first positions `[U, 2]` in one episode."""
        layout = self.config.layout
        cell = np.repeat(np.arange(layout.cells), self.config.users_per_cell)
        if self.config.hotspot_sigma > 0:
            exponent = self.config.hotspot_sigma * stream.topology.standard_normal(layout.cells)
            weight = np.exp(exponent)
            cell = stream.topology.choice(layout.cells, size=len(cell), p=weight / weight.sum())
        return drop_in_hexagons_m(
            stream.topology,
            layout.grid_m[cell],
            layout.inter_site_distance_m,
            MODELS[self.config.model].minimum_distance_m,
        )

    def _move(self) -> None:
        self.position_m = self.config.layout.wrap(self.position_m + self._step_m)
        for stream, innovation in zip(self._streams, self._innovation, strict=True):
            stream.mobility.standard_normal(out=innovation)
        self.shadowing *= np.where(self.line_of_sight, *self._kept)
        self.shadowing += np.where(self.line_of_sight, *self._renewed) * self._innovation

    def _draw_fading(self) -> FloatArray:
        for stream, innovation in zip(self._streams, self._fading_innovation, strict=True):
            stream.fading.standard_normal(out=innovation)
        return self._fading_innovation

    def _update_large_scale(self) -> None:
        model = self.config.model
        distance_m = self.config.layout.distances_m(self.position_m)
        sight: BoolArray = self._threshold < line_of_sight_probability(model, distance_m)
        self.line_of_sight = sight
        with_sight_db, without_sight_db = MODELS[model].shadowing_db
        loss_db = path_loss_db(model, sight, distance_m, self.config.carrier_hz)
        loss_db += np.where(sight, with_sight_db, without_sight_db) * self.shadowing
        loss_db *= -np.log(10) / 10
        self.large_scale_gain = np.exp(loss_db)

    def _update_gain(self) -> None:
        if not self.config.fading:
            self.gain = self.large_scale_gain
            return
        real, imaginary = self._fading[:, 0], self._fading[:, 1]
        self.gain = self.large_scale_gain * (real * real + imaginary * imaginary)
