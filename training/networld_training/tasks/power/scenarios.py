"""Scenarios of the power task: the training family, references within it, and held-out shifts."""

from __future__ import annotations

from dataclasses import replace

from networld_training.tasks.power.network import PowerNetwork
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.shifts import common_shifts, scenario

_BASE = PowerNetwork(inter_site_distance_m=200.0)
# Every distance meets every density; the speeds alternate.
_FAMILY = tuple(
    replace(_BASE, inter_site_distance_m=distance_m, users_per_cell=users, speed_m_s=speed_m_s)
    for distance_m, speeds_m_s in (
        (150.0, (0.5, 1.0, 2.0)),
        (200.0, (1.0, 2.0, 0.5)),
        (250.0, (2.0, 0.5, 1.0)),
    )
    for users, speed_m_s in zip((3, 4, 5), speeds_m_s, strict=True)
)
_COMBINED = replace(
    _BASE,
    cells=19,
    inter_site_distance_m=100.0,
    users_per_cell=8,
    speed_m_s=5.0,
    bandwidth_hz=20e6,
    hotspot_sigma=0.5,
)

POWER_SCENARIOS: tuple[Scenario, ...] = (
    scenario("power", "train", "training", *_FAMILY),
    scenario("power", "umi200", "reference", _BASE),
    scenario("power", "umi100", "distance", replace(_BASE, inter_site_distance_m=100.0)),
    scenario(
        "power", "uma500", "distance", replace(_BASE, model="uma", inter_site_distance_m=500.0)
    ),
    *common_shifts("power", _BASE),
    scenario("power", "combined", "combined", _COMBINED),
)
