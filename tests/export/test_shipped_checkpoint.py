"""The shipped bundle is that of the shipped checkpoint, so that it can be exported again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from networld_runtime.bundle import file_digest, load_bundle
from networld_training.distillation.student import STUDENT, load_student
from networld_training.model.checkpoint import load_checkpoint

BUNDLES = Path(__file__).parents[2] / "bundles"
CHECKPOINT = BUNDLES / "checkpoint" / "checkpoint.safetensors"


@pytest.mark.parametrize("task", ["power", "sched", "sleep"])
def test_shipped_graphs_compute_what_the_shipped_checkpoint_does(task: str) -> None:
    bundle = load_bundle(BUNDLES / "networld", task)
    model = load_checkpoint(CHECKPOINT).averaged_model().for_task(task)
    student = load_student(
        CHECKPOINT.with_name(STUDENT), file_digest(CHECKPOINT), {task: model.contract}
    )
    random = np.random.default_rng(0)
    size, field = model.contract.latent_size, model.contract.mean_field_size
    now = {
        "in_latent": random.uniform(-1, 1, (1, size)).astype(np.float32),
        "in_mean_field": random.uniform(-1, 1, (1, field)).astype(np.float32),
    }
    latent, heard = map(torch.from_numpy, now.values())
    plan = random.standard_normal((3, model.contract.horizon, size), dtype=np.float32)
    level, scale = np.full(1, 0.7, dtype=np.float32), np.full(1, 0.3, dtype=np.float32)
    with torch.no_grad():
        action = model.act(latent, heard)
        clean = student(
            task, torch.from_numpy(plan), torch.tensor(level), latent, heard, torch.tensor(scale)
        )
    adapter = np.zeros(bundle.adapter_size, dtype=np.float32)
    (found,) = bundle.session("policy").run(in_adapter=adapter, **now)
    np.testing.assert_allclose(found, action.numpy(), atol=1e-5)
    (found,) = bundle.session("distilled").run(
        in_plan=plan, in_level=level, in_guidance_scale=scale, **now
    )
    np.testing.assert_allclose(found, clean.numpy(), atol=1e-4)
