"""A bundle for every task, small enough to be played in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from networld_export.bundle_writer import ExportSettings, write_bundle
from networld_runtime.planner_settings import PlannerSettings
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.settings import PRESETS
from networld_training.model.world_model import WorldModel
from networld_training.tasks.registry import CONTRACTS


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the bundle; its weights are random, so it plays badly."""
    settings = PRESETS["tiny"]
    torch.manual_seed(0)
    model = WorldModel(dict(CONTRACTS), settings.size)
    tensors = {f"average.{name}": value for name, value in model.state_dict().items()}
    checkpoint = Checkpoint(1, 0, settings, dict(CONTRACTS), tensors)
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    planner = PlannerSettings(mode="policy", candidates=1)
    write_bundle(checkpoint, folder, ExportSettings("tiny", planner, adaptation_batch=8), print)
    return folder
