"""Losses of the world model's networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from networld_training.model.world_model import TaskModel

FIRST_TOKEN_WEIGHT = 5.0
"""How much more the next latent counts in the denoising loss: the action is read from it."""


def denoising_error(
    model: TaskModel,
    latent: Tensor,
    plan: Tensor,
    mean_field: Tensor,
    noise: Tensor,
    level: Tensor,
) -> Tensor:
    """Return the squared error `[B]` of the clean plan that the denoiser sees in a noisy one."""
    angle = (0.5 * math.pi * level)[:, None, None]
    noisy = torch.cos(angle) * plan + torch.sin(angle) * noise
    clean = model.denoise(noisy, level, latent, mean_field)
    error = ((clean - plan) * (clean - plan)).mean(dim=2)
    ahead = torch.ones(plan.shape[1] - 1, device=plan.device)
    emphasis = torch.cat([FIRST_TOKEN_WEIGHT * ahead[:1], ahead])
    return error @ (emphasis / emphasis.sum())


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy `[...]` of logits `[..., bins]` with two-hot targets."""
    return -(target * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
