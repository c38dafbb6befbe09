"""The benchmark of Nasir and Guo: power control on many links whose results are published.

"Multi-agent deep reinforcement learning for dynamic power allocation in wireless networks" (2019)
and the tables its authors publish with their code. It ties our solvers to numbers of others.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.geometry import drop_in_hexagons_m, spiral_sites_m
from networld_training.radio.link import sinr
from networld_training.radio.power_control import fractional_programming, wmmse

TRANSMIT_POWER_DBM = 38.0
NOISE_DBM = -114.0
SHADOWING_DB = 10.0
INTER_SITE_DISTANCE_M = 800.0
MINIMUM_DISTANCE_M = 35.0
MEAN_FADING = 4 / math.pi
MAXIMUM_SINR = 10 ** (30 / 10)
_BATCH = 250


def published_benchmark(links: int, drops: int, seed: int) -> dict[str, Any]:
    """Return the mean sum rate per link of four power controls over random drops.

    Half as many cells as there are links stand on a hexagonal grid; each link serves a
    user in a cell chosen at random. Links of one cell send from the same antenna: to a user they have
    the same gain, fading included.

    Args:
        links: Number of links, at least 2.
        drops: Number of independent drops.
        seed: Seed of the drops.

    Returns:
        Rates in b/s/Hz per link under `wmmse`, `fp`, `random` and `full`, and the mean number of
        iterations of the two solvers under `iterations`.
    """
    problems = []
    if links < 2:
        problems.append(f"links: {links}, expected at least 2")
    if drops < 1:
        problems.append(f"drops: {drops}, expected at least 1")
    if problems:
        raise ConfigError("benchmark", problems)
    generator = np.random.default_rng(seed)
    names = ("wmmse", "fp", "random", "full")
    rates = dict.fromkeys(names, 0.0)
    iterations = {"wmmse": 0.0, "fp": 0.0}
    for start in range(0, drops, _BATCH):
        size = min(_BATCH, drops - start)
        gain = link_gains(generator, size, links)
        weight = np.ones((size, links))
        solutions = {"wmmse": wmmse(gain, weight), "fp": fractional_programming(gain, weight)}
        powers = {name: solution.power for name, solution in solutions.items()}
        powers["random"] = generator.random((size, links))
        powers["full"] = weight
        for name, power in powers.items():
            ratio = np.minimum(sinr(gain, power), MAXIMUM_SINR)
            rates[name] += float(np.log2(1 + ratio).mean(axis=-1).sum()) / drops
        for name, solution in solutions.items():
            iterations[name] += float(solution.iterations.sum()) / drops
    return {**rates, "iterations": iterations}


def link_gains(generator: np.random.Generator, drops: int, links: int) -> FloatArray:
    """Return the gains `[drops, links, links]` over the noise at full power."""
    sites_m = spiral_sites_m(max(links // 2, 1), INTER_SITE_DISTANCE_M)
    cell: IntArray = generator.integers(len(sites_m), size=(drops, links))
    users_m = drop_in_hexagons_m(
        generator, sites_m[cell.ravel()], INTER_SITE_DISTANCE_M, MINIMUM_DISTANCE_M
    ).reshape(drops, links, 1, 2)
    distance_m = np.linalg.norm(users_m - sites_m, axis=-1)
    loss_db = 128.1 + 37.6 * np.log10(distance_m / 1000)
    loss_db += SHADOWING_DB * generator.standard_normal(loss_db.shape)
    large_scale = 10 ** ((TRANSMIT_POWER_DBM - NOISE_DBM - loss_db) / 10)
    gain = large_scale * generator.exponential(MEAN_FADING, size=loss_db.shape)
    return np.take_along_axis(gain, cell[:, None, :], axis=2)
