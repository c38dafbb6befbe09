"""Every registered task passes the conformance suite, even where most cells have no user."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from networld_training.conformance import check_task
from networld_training.tasks.network import Network
from networld_training.tasks.network_file import make_network
from networld_training.tasks.registry import TASKS

SLOTS = 8


@pytest.mark.parametrize("seed", [1, 2**32 - 1])
@pytest.mark.parametrize("task", TASKS)
def test_it_passes_in_its_default_network(task: str, seed: int) -> None:
    entry = TASKS[task]
    network = make_network(entry.network, {"slots": SLOTS}, task)
    check_task(entry.make, network, seed=seed).require()


@pytest.mark.parametrize("task", TASKS)
def test_it_passes_where_cells_may_be_empty(task: str) -> None:
    """One user per cell on average, in hotspots: most cells have none, and few values of users."""
    entry = TASKS[task]
    changes: dict[str, Any] = {"slots": SLOTS, "users_per_cell": 1, "hotspot_sigma": 2.0}
    network: Network = replace(make_network(entry.network, {}, task), **changes)
    failures = check_task(entry.make, network, seed=1).failures
    # Ranges are those of usual networks, where most cells have users.
    assert [one for one in failures if one.check != "feature-ranges-fit"] == []
