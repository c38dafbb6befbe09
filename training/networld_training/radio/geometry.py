"""Hexagonal layouts with wrap-around, and users dropped into the cells' hexagons.

A cluster of 1 + 3r(r + 1) sites (r rings) tiles the plane; its six images lie at plus and minus
three shift vectors of equal length, the first being (r + 1, r) in the basis of the hexagonal grid.
Distances are measured to the nearest of the seven copies, so that no cell is at an edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import FloatArray, IntArray

NEIGHBOURS = 6
RINGS = {7: 1, 19: 2, 37: 3, 61: 4, 127: 6}

_BASIS = np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])
# Steps along the six sides of a ring, started at its rightmost site.
_SIDES = np.array([[-1, 1], [-1, 0], [0, -1], [1, -1], [1, 0], [0, 1]])


@dataclass(frozen=True)
class HexagonalLayout:
    """A wrapped hexagonal cluster, one omnidirectional cell per site.

    Attributes:
        cells: Number of cells K: 7, 19, 37, 61 or 127.
        inter_site_distance_m: Distance between neighbouring sites.
        jitter: Largest distance of a site from its place in the grid, in inter-site distances; a site is
            uniform in that disc.
        jitter_seed: Which of the irregular layouts.
    """

    cells: int
    inter_site_distance_m: float
    jitter: float = 0.0
    jitter_seed: int = 0

    def __post_init__(self) -> None:
        problems = []
        if self.cells not in RINGS:
            problems.append(f"cells: {self.cells}, expected one of {sorted(RINGS)}")
        if not self.inter_site_distance_m > 0:
            problems.append(
                f"inter_site_distance_m: {self.inter_site_distance_m}, expected a positive number"
            )
        if not 0 <= self.jitter < 0.5:
            problems.append(f"jitter: {self.jitter}, expected 0 to less than 0.5")
        if problems:
            raise ConfigError("layout", problems)

    @cached_property
    def grid_m(self) -> FloatArray:
        """Positions of the regular grid, `[K, 2]`, the middle one at the origin."""
        return spiral_sites_m(self.cells, self.inter_site_distance_m)

    @cached_property
    def sites_m(self) -> FloatArray:
        """Positions of the sites, `[K, 2]`: the grid, moved by the jitter."""
        if self.jitter == 0:
            return self.grid_m
        random = np.random.default_rng(self.jitter_seed)
        radius_m = self.jitter * self.inter_site_distance_m * np.sqrt(random.random(self.cells))
        angle = 2 * np.pi * random.random(self.cells)
        direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        return np.asarray(self.grid_m + radius_m[:, None] * direction)

    @cached_property
    def shifts_m(self) -> FloatArray:
        """Three of the six shifts to the images, `[3, 2]`; the others are their negatives."""
        rings = RINGS[self.cells]
        first = np.array([rings + 1, rings]) @ _BASIS * self.inter_site_distance_m
        angles = np.array([0.0, np.pi / 3, 2 * np.pi / 3])
        rotations = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
        return np.asarray(np.einsum("ijn,j->ni", rotations, first))

    @cached_property
    def neighbours(self) -> IntArray:
        """The six nearest cells of each cell under wrap-around, `[K, 6]`, nearest first.

        Of an irregular layout they are those of the grid: a site's neighbours are planned, not measured.
        """
        regular = HexagonalLayout(self.cells, self.inter_site_distance_m)
        distances = regular.distances_m(self.grid_m)
        np.fill_diagonal(distances, np.inf)
        # Rounding keeps equal distances equal: the order is by cell number on every machine.
        order = np.argsort(np.round(distances, 6), axis=1, kind="stable")
        return order[:, :NEIGHBOURS].astype(np.int64)

    @cached_property
    def reuse_colour(self) -> IntArray:
        """Colours 0, 1, 2 of a reuse-3 pattern, `[K]`: no two adjacent sites of the cluster alike.

        The cluster's images continue the pattern only roughly, as K is no multiple of three.
        """
        grid = np.rint(self.grid_m @ np.linalg.inv(_BASIS) / self.inter_site_distance_m)
        return ((grid[:, 0] - grid[:, 1]) % 3).astype(np.int64)

    def distances_m(self, positions_m: FloatArray) -> FloatArray:
        """Return wrapped 2-D distances `[..., K]` from positions `[..., 2]` to all sites.

        The positions must lie in the cluster or near it, as after `wrap`. With shifts s_n of length
        L the squared distance to the nearest copy is |d|^2 + min(0, L^2 - 2 max_n |d . s_n|), which
        needs three projections instead of seven distances.
        """
        x = positions_m[..., 0, None] - self.sites_m[:, 0]
        y = positions_m[..., 1, None] - self.sites_m[:, 1]
        furthest = np.abs(x * self.shifts_m[0, 0] + y * self.shifts_m[0, 1])
        for shift_x, shift_y in self.shifts_m[1:]:
            np.maximum(furthest, np.abs(x * shift_x + y * shift_y), out=furthest)
        length_squared = float(self.shifts_m[0] @ self.shifts_m[0])
        squared = x * x + y * y + np.minimum(0.0, length_squared - 2 * furthest)
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))

    def wrap(self, positions_m: FloatArray) -> FloatArray:
        """Return positions `[..., 2]`, those beyond the cluster moved to the copy nearest to it."""
        half = float(self.shifts_m[0] @ self.shifts_m[0]) / 2
        x, y = positions_m[..., 0], positions_m[..., 1]
        outside = np.zeros(x.shape, dtype=np.bool_)
        for shift_x, shift_y in self.shifts_m:
            outside |= np.abs(x * shift_x + y * shift_y) > half
        if not outside.any():
            return positions_m
        images = np.concatenate([self.shifts_m, -self.shifts_m])
        candidates = positions_m[outside][:, None] - images
        nearest = np.argmin((candidates * candidates).sum(axis=-1), axis=-1)
        wrapped = positions_m.copy()
        wrapped[outside] = candidates[np.arange(len(nearest)), nearest]
        return wrapped


def spiral_sites_m(count: int, inter_site_distance_m: float) -> FloatArray:
    """Return the first `count` sites `[count, 2]` of a hexagonal grid, ring after ring."""
    sites = [np.zeros(2)]
    ring = 0
    while len(sites) < count:
        ring += 1
        site = np.array([ring, 0])
        for side in _SIDES:
            for _ in range(ring):
                sites.append(site @ _BASIS)
                site = site + side
    return np.array(sites[:count]) * inter_site_distance_m


def drop_in_hexagons_m(
    generator: np.random.Generator,
    centres_m: FloatArray,
    inter_site_distance_m: float,
    minimum_distance_m: float,
) -> FloatArray:
    """Return one uniform position `[U, 2]` in the hexagon around each centre `[U, 2]`.

    A hexagon is three rhombi; a point is drawn in one of them, again if it is nearer to the centre
    than `minimum_distance_m`.
    """
    angles = np.array([np.pi / 6, 5 * np.pi / 6, 3 * np.pi / 2, np.pi / 6])
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * inter_site_distance_m
    corners /= np.sqrt(3)
    offsets = np.zeros_like(centres_m)
    pending = np.arange(len(centres_m))
    while len(pending):
        rhombus = generator.integers(3, size=len(pending))
        along = generator.random((len(pending), 2))
        offsets[pending] = along[:, :1] * corners[rhombus] + along[:, 1:] * corners[rhombus + 1]
        pending = pending[np.hypot(*offsets[pending].T) < minimum_distance_m]
    return centres_m + offsets
