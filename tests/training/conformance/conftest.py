"""The toy, loaded as a stranger's file would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from networld_training.own_code import load_object
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network

TOY = Path(__file__).parents[1] / "toy.py"


@pytest.fixture(scope="session")
def toy_task() -> type[Task]:
    """A task with a masked choice, a power and books; its episodes have 6 slots."""
    task: type[Task] = load_object(f"{TOY}:ToyTask")
    return task


@pytest.fixture(scope="session")
def toy_network() -> Network:
    """The network of the toy."""
    network: Network = load_object(f"{TOY}:ToyNetwork")()
    return network
