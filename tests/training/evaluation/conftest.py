"""Scenarios short enough for tests."""

from __future__ import annotations

from dataclasses import replace

import pytest

from networld_training.tasks.power import PowerNetwork
from networld_training.tasks.scenario import Scenario

SHORT = PowerNetwork(name="short", slots=12, warm_up_slots=5)


@pytest.fixture
def short() -> Scenario:
    """One short network."""
    return Scenario("test/power/short-v0", "reference", (SHORT,))


@pytest.fixture
def mixed() -> Scenario:
    """Three short networks that are not alike."""
    networks = (SHORT, replace(SHORT, users_per_cell=2), replace(SHORT, speed_m_s=5.0))
    return Scenario("test/power/mixed-v0", "layout", networks)
