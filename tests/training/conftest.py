"""A bundle small enough for tests, random weights exported as any other; the toy task as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networld_export.bundle_writer import ExportSettings, write_bundle
from networld_runtime.planner_settings import PlannerSettings
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.settings import PRESETS
from networld_training.model.world_model import WorldModel
from networld_training.own_code import load_object
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.power.contract import POWER_CONTRACT

TOY = Path(__file__).with_name("toy.py")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle for the power task; it plans in a few milliseconds, and badly."""
    settings = PRESETS["tiny"]
    torch.manual_seed(0)
    model = WorldModel({"power": POWER_CONTRACT}, settings.size)
    tensors = {f"average.{name}": value for name, value in model.state_dict().items()}
    checkpoint = Checkpoint(1, 0, settings, {"power": POWER_CONTRACT}, tensors)
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    planner = PlannerSettings(steps=2, candidates=2)
    write_bundle(checkpoint, folder, ExportSettings("tiny", planner, adaptation_batch=8), print)
    return folder


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
