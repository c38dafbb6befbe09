"""Scenarios of the scheduling task: the training family, references within it, held-out shifts."""

from __future__ import annotations

from dataclasses import replace

from networld_training.tasks.scenario import Scenario
from networld_training.tasks.sched.network import SchedNetwork
from networld_training.tasks.shifts import common_shifts, scenario

_BASE = SchedNetwork()
# Every distance meets every density; loads and speeds are spread over them.
_FAMILY = tuple(
    replace(
        _BASE,
        inter_site_distance_m=distance_m,
        users_per_cell=users,
        offered_mbit_s=offered_mbit_s,
        speed_m_s=speed_m_s,
    )
    for distance_m, users, offered_mbit_s, speed_m_s in (
        (150.0, 3, 12.0, 0.5),
        (150.0, 4, 19.0, 1.0),
        (150.0, 5, 26.0, 2.0),
        (200.0, 3, 22.5, 1.0),
        (200.0, 4, 26.0, 2.0),
        (200.0, 5, 15.5, 0.5),
        (250.0, 3, 26.0, 2.0),
        (250.0, 4, 12.0, 0.5),
        (250.0, 5, 19.0, 1.0),
    )
)
_COMBINED = replace(
    _BASE,
    cells=19,
    inter_site_distance_m=100.0,
    users_per_cell=8,
    speed_m_s=5.0,
    bandwidth_hz=20e6,
    offered_mbit_s=38.4,
    hotspot_sigma=0.5,
)

SCHED_SCENARIOS: tuple[Scenario, ...] = (
    scenario("sched", "train", "training", *_FAMILY),
    scenario("sched", "umi200-moderate", "reference", _BASE),
    scenario("sched", "umi200-heavy", "traffic", replace(_BASE, offered_mbit_s=28.8)),
    scenario("sched", "busy", "traffic", replace(_BASE, offered_mbit_s=30.0)),
    scenario("sched", "umi100", "distance", replace(_BASE, inter_site_distance_m=100.0)),
    scenario(
        "sched", "uma500", "distance", replace(_BASE, model="uma", inter_site_distance_m=500.0)
    ),
    *common_shifts("sched", _BASE),
    scenario("sched", "combined", "combined", _COMBINED),
)
