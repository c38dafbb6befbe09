"""Freeze what Sionna says of path loss, line of sight and geometry: `make sionna-values` runs this.

Sionna (sionna-no-rt) is an independent implementation of TR 38.901 by other people. It is too heavy for the
usual environment, so that its values lie in sionna_values.json; the slow tests run this file again.
Everything comes from Sionna but the users of the geometry, which are dropped here by rejection.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sionna.phy import config
from sionna.phy.channel.tr38901 import PanelArray, UMa, UMi
from sionna.sys import HexGrid, geometry_sinr_db

Array = npt.NDArray[np.float64]

CARRIERS_HZ = (2.0e9, 3.5e9, 28.0e9)
# Both sides of 18 m and of the breakpoints at 3.5 GHz (210 and 560 m), and the ends of the tables.
DISTANCES_M = (10, 18, 19, 35, 60, 100, 150, 209, 211, 300, 500, 559, 562, 1000, 2000, 5000)
HEIGHT_M = {"umi": 10.0, "uma": 25.0}
USER_HEIGHT_M = 1.5

GEOMETRY: dict[str, Any] = {
    "model": "umi",
    "cells": 19,
    "rings": 2,
    "inter_site_distance_m": 200.0,
    "minimum_distance_m": 10.0,
    "carrier_hz": 3.5e9,
    "transmit_power_dbm": 38.0,
    "bandwidth_hz": 10e6,
    "noise_figure_db": 9.0,
}
USERS_PER_CELL = 5
DROPS_PER_BATCH = 20
PERCENTILES = (5, 50, 95)


def make_model(name: str, carrier_hz: float) -> Any:
    """Return Sionna's model with one omnidirectional antenna at either end."""
    antenna = PanelArray(
        num_rows_per_panel=1,
        num_cols_per_panel=1,
        polarization="single",
        polarization_type="V",
        antenna_pattern="omni",
        carrier_frequency=carrier_hz,
        precision="double",
    )
    return {"umi": UMi, "uma": UMa}[name](
        carrier_frequency=carrier_hz,
        o2i_model="low",
        ut_array=antenna,
        bs_array=antenna,
        direction="downlink",
        precision="double",
    )


def set_users(model: Any, users: Array, sites: Array, nearest: Array, los: bool | str) -> None:
    """Put users `[B, U, 3]` and sites `[B, K, 3]` into a model, outdoors.

    Args:
        model: Sionna's model.
        users: Positions of the users.
        sites: Positions of the sites.
        nearest: Copy of each site that is nearest to each user `[B, K, U, 3]`.
        los: Whether there is line of sight; `random` draws it.
    """
    batch, count = users.shape[:2]
    model.set_topology(
        ut_loc=torch.from_numpy(users),
        bs_loc=torch.from_numpy(sites),
        ut_orientations=torch.zeros(users.shape, dtype=torch.float64),
        bs_orientations=torch.zeros(sites.shape, dtype=torch.float64),
        ut_velocities=torch.zeros(users.shape, dtype=torch.float64),
        in_state=torch.zeros((batch, count), dtype=torch.bool),
        los=los,
        bs_virtual_loc=torch.from_numpy(nearest),
    )


def link_values() -> list[dict[str, Any]]:
    """Return path losses and line-of-sight probabilities over models, carriers and distances."""
    rows = []
    for name, height_m in HEIGHT_M.items():
        for carrier_hz in CARRIERS_HZ:
            distances = np.array(DISTANCES_M, dtype=np.float64)
            users = np.zeros((1, len(distances), 3))
            users[0, :, 0], users[0, :, 2] = distances, USER_HEIGHT_M
            site = np.array([[[0.0, 0.0, height_m]]])
            nearest = np.broadcast_to(site[:, :, None], (1, 1, len(distances), 3)).copy()
            losses = []
            for los in (True, False):
                model = make_model(name, carrier_hz)
                set_users(model, users, site, nearest, los)
                # Sionna has no public access to these two.
                losses.append(model._scenario.basic_pathloss.numpy().ravel())
                probability = model._scenario.los_probability.numpy().ravel()
            rows += [
                {
                    "model": name,
                    "carrier_hz": carrier_hz,
                    "distance_m": float(distance_m),
                    "los_path_loss_db": float(losses[0][index]),
                    "nlos_path_loss_db": float(losses[1][index]),
                    "los_probability": float(probability[index]),
                }
                for index, distance_m in enumerate(distances)
            ]
    return rows


def drop_users(generator: np.random.Generator, sites: Array, drops: int) -> Array:
    """Return users uniform in each site's hexagon, `[drops, K x users per cell, 3]`."""
    half_m = GEOMETRY["inter_site_distance_m"] / 2
    # The first neighbours' directions are the normals of a hexagon's six sides.
    normals = sites[1:7, :2] / np.linalg.norm(sites[1:7, :2], axis=-1, keepdims=True)
    wanted = drops * len(sites) * USERS_PER_CELL
    kept = np.empty((0, 2))
    while len(kept) < wanted:
        points = generator.uniform(-2 * half_m, 2 * half_m, size=(4 * wanted, 2))
        inside = (points @ normals.T).max(axis=-1) <= half_m
        far = np.linalg.norm(points, axis=-1) >= GEOMETRY["minimum_distance_m"]
        kept = np.concatenate([kept, points[inside & far]])
    offsets = kept[:wanted].reshape(drops, len(sites), USERS_PER_CELL, 2)
    users = (offsets + sites[:, None, :2]).reshape(drops, -1, 2)
    return np.concatenate([users, np.full((*users.shape[:2], 1), USER_HEIGHT_M)], axis=-1)


def geometry_values(drops: int, seed: int) -> dict[str, Any]:
    """Return percentiles of the geometry SINR and the share of links in line of sight.

    The standard errors come from the batches, which are independent of each other.
    """
    config.seed = seed
    generator = np.random.default_rng(seed)
    height_m = HEIGHT_M[GEOMETRY["model"]]
    grid = HexGrid(
        num_rings=GEOMETRY["rings"],
        isd=GEOMETRY["inter_site_distance_m"],
        cell_height=height_m,
        precision="double",
    )
    sites = grid.cell_loc.numpy()
    copies = grid.mirror_cell_loc.numpy()  # [K, 7, 3]
    model = make_model(GEOMETRY["model"], GEOMETRY["carrier_hz"])
    ratios_db, sight, batches = [], [], max(drops // DROPS_PER_BATCH, 2)
    for _ in range(batches):
        users = drop_users(generator, sites, DROPS_PER_BATCH)
        apart = np.linalg.norm(users[:, None, :, None] - copies[None, :, None], axis=-1)
        closest = apart.argmin(axis=-1)  # [B, K, U]
        nearest = copies[np.arange(len(sites))[None, :, None], closest]
        everywhere = np.broadcast_to(sites, (DROPS_PER_BATCH, *sites.shape)).copy()
        set_users(model, users, everywhere, nearest, "random")
        # Shadow fading is a linear gain here; there is no public access to it either.
        gain = 10 * torch.log10(model._lsp_sampler().sf)
        coupling_loss_db = model._scenario.basic_pathloss - gain
        ratio_db = geometry_sinr_db(
            coupling_loss_db.transpose(1, 2),
            GEOMETRY["transmit_power_dbm"],
            GEOMETRY["bandwidth_hz"],
            GEOMETRY["noise_figure_db"],
            precision="double",
        )
        ratios_db.append(ratio_db.numpy().ravel())
        sight.append(float(model._scenario.los.double().mean()))
    of_batches = np.percentile(ratios_db, PERCENTILES, axis=1)
    standard_errors = np.std(of_batches, axis=1, ddof=1) / np.sqrt(batches)
    return {
        **GEOMETRY,
        "seed": seed,
        "drops": batches * DROPS_PER_BATCH,
        "users": batches * DROPS_PER_BATCH * len(sites) * USERS_PER_CELL,
        "percentiles": list(PERCENTILES),
        "sinr_db": np.percentile(ratios_db, PERCENTILES).tolist(),
        "los_share": float(np.mean(sight)),
        "standard_error": {
            "sinr_db": standard_errors.tolist(),
            "los_share": float(np.std(sight, ddof=1) / np.sqrt(batches)),
        },
    }


def main() -> None:
    """Compute everything and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).with_name("sionna_values.json")
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--drops", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    values = {
        "sionna": version("sionna-no-rt"),
        "torch": version("torch").split("+")[0],
        "links": link_values(),
        "geometry": geometry_values(arguments.drops, arguments.seed),
    }
    arguments.output.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
