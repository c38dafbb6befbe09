"""Hexagons that tile, distances that wrap, users that stay in their cell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import FloatArray
from networld_training.radio.geometry import (
    RINGS,
    HexagonalLayout,
    drop_in_hexagons_m,
    spiral_sites_m,
)

coordinate = st.floats(-400, 400)


def brute_force_distances_m(layout: HexagonalLayout, position: FloatArray) -> FloatArray:
    """Distance to the nearest of 49 copies."""
    first, second = layout.shifts_m[0], layout.shifts_m[1]
    steps = range(-3, 4)
    images = [i * first + j * second for i in steps for j in steps]
    differences = position - layout.sites_m[None] - np.array(images)[:, None]
    return np.asarray(np.hypot(differences[..., 0], differences[..., 1]).min(axis=0))


@pytest.mark.parametrize("cells", RINGS)
def test_a_cluster_tiles_the_plane(cells: int) -> None:
    layout = HexagonalLayout(cells, 100.0)
    assert layout.sites_m.shape == (cells, 2)
    distances = layout.distances_m(layout.wrap(layout.sites_m))
    assert np.allclose(np.diag(distances), 0)
    # Under wrap-around every site has six neighbours at the inter-site distance, and no nearer one.
    assert (np.isclose(distances, 100).sum(axis=1) == 6).all()
    assert distances[distances > 1e-6].min() == pytest.approx(100)


@pytest.mark.parametrize("cells", RINGS)
def test_neighbours_are_the_six_adjacent_cells_and_mutual(cells: int) -> None:
    layout = HexagonalLayout(cells, 200.0)
    assert layout.neighbours.shape == (cells, 6)
    for cell, neighbours in enumerate(layout.neighbours):
        assert cell not in neighbours
        assert len(set(neighbours)) == 6
        assert all(cell in layout.neighbours[other] for other in neighbours)


def test_seven_cells_are_all_neighbours() -> None:
    neighbours = HexagonalLayout(7, 100.0).neighbours
    assert [set(row) for row in neighbours] == [set(range(7)) - {cell} for cell in range(7)]


@given(
    x=coordinate,
    y=coordinate,
    cells=st.sampled_from([7, 19]),
    jitter=st.sampled_from([0.0, 0.3, 0.49]),
)
def test_wrapped_distance_is_that_to_the_nearest_copy(
    x: float, y: float, cells: int, jitter: float
) -> None:
    layout = HexagonalLayout(cells, 150.0, jitter, jitter_seed=2)
    position = layout.wrap(np.array([x, y]))
    wrapped = layout.distances_m(position)
    assert np.allclose(wrapped, brute_force_distances_m(layout, position), atol=1e-6)
    assert (wrapped <= np.hypot(*(position - layout.sites_m).T) + 1e-6).all()


@given(cells=st.sampled_from(list(RINGS)))
def test_distances_between_sites_are_symmetric(cells: int) -> None:
    layout = HexagonalLayout(cells, 100.0)
    distances = layout.distances_m(layout.sites_m)
    assert np.allclose(distances, distances.T)


@given(x=coordinate, y=coordinate)
def test_wrap_moves_by_a_shift_and_is_settled(x: float, y: float) -> None:
    layout = HexagonalLayout(7, 300.0)
    position = np.array([x, y])
    wrapped = layout.wrap(position)
    assert np.allclose(layout.wrap(wrapped), wrapped)
    assert np.hypot(*wrapped) <= np.hypot(x, y) + 1e-9


def test_spiral_goes_ring_after_ring() -> None:
    radius = np.hypot(*spiral_sites_m(20, 1.0).T)
    assert radius[0] == 0
    assert np.allclose(radius[1:7], 1)
    assert (radius[7:19] < 2.001).all()
    assert radius[19] == pytest.approx(3)


@pytest.mark.parametrize("jitter", [0.1, 0.3])
def test_jittered_sites_are_uniform_in_a_disc_around_their_places(jitter: float) -> None:
    layouts = [HexagonalLayout(61, 200.0, jitter, seed) for seed in range(200)]
    moved = np.concatenate([layout.sites_m - layout.grid_m for layout in layouts])
    share = np.hypot(*moved.T) / (jitter * 200)
    assert share.max() <= 1
    # In a disc the square of the radius is uniform: its mean is 1/2, its median too.
    assert (share**2).mean() == pytest.approx(1 / 2, abs=0.02)
    assert (share**2 < 1 / 2).mean() == pytest.approx(1 / 2, abs=0.03)
    assert moved.mean(axis=0) == pytest.approx(0, abs=0.015 * jitter * 200)


def test_an_irregular_layout_has_the_grid_and_the_neighbours_of_the_regular_one() -> None:
    regular, irregular = HexagonalLayout(19, 200.0), HexagonalLayout(19, 200.0, 0.3, 5)
    assert (irregular.grid_m == regular.sites_m).all()
    assert (irregular.neighbours == regular.neighbours).all()
    assert (irregular.reuse_colour == regular.reuse_colour).all()
    assert (irregular.sites_m != regular.sites_m).all()


def test_a_seed_names_an_irregular_layout() -> None:
    first, again, other = (HexagonalLayout(7, 200.0, 0.3, seed).sites_m for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).all()


def test_adjacent_cells_differ_in_colour() -> None:
    layout = HexagonalLayout(19, 100.0)
    distances = np.hypot(*(layout.sites_m[:, None] - layout.sites_m).transpose(2, 0, 1))
    same = layout.reuse_colour[:, None] == layout.reuse_colour
    assert not (same & np.isclose(distances, 100)).any()
    assert set(layout.reuse_colour) == {0, 1, 2}


def test_drops_fill_the_hexagon_evenly() -> None:
    generator = np.random.default_rng(3)
    users = drop_in_hexagons_m(generator, np.zeros((20_000, 2)), 100.0, 10.0)
    radius = np.hypot(*users.T)
    assert radius.min() >= 10
    assert radius.max() <= 100 / np.sqrt(3)
    for angle in np.arange(6) * np.pi / 3:
        assert (users @ [np.cos(angle), np.sin(angle)]).max() <= 50 + 1e-9
    assert np.allclose(users.mean(axis=0), 0, atol=0.7)
    # Area of the disc of radius 40 over that of the hexagon, both without the excluded disc.
    expected = np.pi * (40**2 - 10**2) / (np.sqrt(0.75) * 100**2 - np.pi * 10**2)
    assert (radius < 40).mean() == pytest.approx(expected, abs=0.015)


def test_every_wrong_key_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        HexagonalLayout(8, -1.0, jitter=0.5)
    assert len(error.value.problems) == 3
    assert "cells: 8" in error.value.problems[0]
