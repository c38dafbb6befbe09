"""A model small enough for tests, as a checkpoint and as a bundle; the toy task as a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networld_export.bundle_writer import ExportSettings, write_bundle
from networld_runtime.planner_settings import PlannerSettings
from networld_training.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from networld_training.model.judges import make_judge
from networld_training.model.settings import PRESETS
from networld_training.model.world_model import WorldModel
from networld_training.own_code import load_object
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.power.contract import POWER_CONTRACT

TOY = Path(__file__).with_name("toy.py")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for the power task; every weight is random, also those that begin at 0."""
    settings = PRESETS["tiny"]
    torch.manual_seed(0)
    model = WorldModel({"power": POWER_CONTRACT}, settings.size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    credit = make_judge("power", POWER_CONTRACT, settings.credit).credit
    tensors = {f"average.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"credit.power.{name}": value for name, value in credit.state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoints") / "checkpoint.safetensors"
    save_checkpoint(path, Checkpoint(1, 0, settings, {"power": POWER_CONTRACT}, tensors))
    return path


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of its bundle; it plans in a few milliseconds, and badly."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    settings = ExportSettings("tiny", PlannerSettings(candidates=2), adaptation_batch=8)
    write_bundle(load_checkpoint(tiny_checkpoint), folder, settings, print)
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
