"""Held-out worlds that every task has in common: one axis away from a reference network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Axis, Scenario

IRREGULAR_LAYOUTS = 8
VERSION = "v0"


def scenario(task: str, name: str, axis: Axis, *networks: Network) -> Scenario:
    """Return a scenario; its networks take its name, numbered if there are several."""
    named = tuple(
        replace(network, name=name if len(networks) == 1 else f"{name}-{index}")
        for index, network in enumerate(networks)
    )
    return Scenario(f"networld/{task}/{name}-{VERSION}", axis, named)


def common_shifts(task: str, base: Network) -> tuple[Scenario, ...]:
    """Return shifts of layout, size, density, hotspots, speed and bandwidth from a reference network.

    The densities are half and twice that of `base`.
    """

    def shifted(name: str, axis: Axis, **changes: Any) -> Scenario:
        return scenario(task, name, axis, replace(base, **changes))

    irregular = (
        replace(base, site_jitter=0.3, layout_seed=seed) for seed in range(IRREGULAR_LAYOUTS)
    )
    return (
        shifted("hex19", "layout", cells=19),
        shifted("hex61", "size", cells=61),
        scenario(task, "irregular", "layout", *irregular),
        shifted("sparse", "density", users_per_cell=max(base.users_per_cell // 2, 1)),
        shifted("dense", "density", users_per_cell=2 * base.users_per_cell),
        shifted("hotspots", "traffic", hotspot_sigma=1.0),
        shifted("fast", "speed", speed_m_s=10.0),
        shifted("wideband", "bandwidth", bandwidth_hz=2 * base.bandwidth_hz),
    )
