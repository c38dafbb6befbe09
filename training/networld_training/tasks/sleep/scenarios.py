"""Scenarios of the sleep task: the training family, references within it, and held-out shifts."""

from __future__ import annotations

from dataclasses import replace

from networld_training.tasks.scenario import Scenario
from networld_training.tasks.shifts import common_shifts, scenario
from networld_training.tasks.sleep.network import SleepNetwork

_BASE = SleepNetwork()
# Every distance meets every density and, with one of them, every demand.
_FAMILY = tuple(
    replace(
        _BASE,
        inter_site_distance_m=distance_m,
        users_per_cell=users,
        peak_demand_mbit_s=peak_mbit_s,
    )
    for distance_m, peaks_mbit_s in (
        (400.0, (1.5, 2.5, 4.0)),
        (500.0, (4.0, 1.5, 2.5)),
        (600.0, (2.5, 4.0, 1.5)),
    )
    for users, peak_mbit_s in zip((5, 6, 7), peaks_mbit_s, strict=True)
)
_COMBINED = replace(
    _BASE,
    cells=19,
    model="umi",
    inter_site_distance_m=300.0,
    users_per_cell=10,
    speed_m_s=3.0,
    bandwidth_hz=40e6,
    hotspot_sigma=1.0,
)

SLEEP_SCENARIOS: tuple[Scenario, ...] = (
    scenario("sleep", "train", "training", *_FAMILY),
    scenario("sleep", "uma500-low", "reference", replace(_BASE, peak_demand_mbit_s=2.0)),
    scenario("sleep", "uma500-high", "reference", replace(_BASE, peak_demand_mbit_s=4.0)),
    scenario(
        "sleep", "umi200", "distance", replace(_BASE, model="umi", inter_site_distance_m=200.0)
    ),
    scenario("sleep", "uma800", "distance", replace(_BASE, inter_site_distance_m=800.0)),
    scenario("sleep", "busy", "traffic", replace(_BASE, peak_demand_mbit_s=5.0)),
    *common_shifts("sleep", _BASE),
    scenario("sleep", "combined", "combined", _COMBINED),
)
