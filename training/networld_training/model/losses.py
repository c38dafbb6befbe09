"""The losses of the world model; training and the adapter's gradient graph use the same ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from networld_training.model.components import action_cross_entropy
from networld_training.model.world_model import TaskModel

FIRST_TOKEN_WEIGHT = 5.0
"""How much more the next latent counts in the denoising loss: the action is read from it."""


@dataclass(frozen=True)
class Batch:
    """`B` windows of one task; float32.

    Attributes:
        latent: Current latents `[B, Z]`.
        plan: The `H` latents that followed `[B, H, Z]`.
        mean_field: `[B, M]`.
        action: Coded actions `[B, H, A]`, as `two_hot.encode_actions` does.
        returns: Two-hot discounted returns `[B, R]`.
        noise: Unit normal `[B, H, Z]`.
        level: Noise levels `[B]`.
        weight: Weight of each window `[B]`; 0 for padding.
    """

    latent: Tensor
    plan: Tensor
    mean_field: Tensor
    action: Tensor
    returns: Tensor
    noise: Tensor
    level: Tensor
    weight: Tensor


@dataclass(frozen=True)
class Losses:
    """Weighted means over a batch, scalars."""

    denoising: Tensor
    inverse: Tensor
    classifier: Tensor

    def total(self) -> Tensor:
        """Return the sum that is minimised."""
        return 10.0 * self.denoising + self.inverse + self.classifier


def losses(model: TaskModel, batch: Batch, adapter: Tensor | None = None) -> Losses:
    """Return the three losses of `model` on `batch`, as an adapter is trained on them."""
    mean = batch.weight / torch.clamp(batch.weight.sum(), min=1e-6)
    denoising = denoising_error(
        model, batch.latent, batch.plan, batch.mean_field, batch.noise, batch.level, adapter
    )
    before = torch.cat([batch.latent.unsqueeze(1), batch.plan[:, :-1]], dim=1)
    inverse = action_cross_entropy(
        model.inverse(before, batch.plan, adapter), batch.action, model.contract.actions
    )
    logits = model.classifier(batch.latent, batch.mean_field, batch.action, adapter)
    return Losses(
        (mean * denoising).sum(),
        (mean * inverse.mean(dim=1)).sum(),
        (mean * cross_entropy(logits, batch.returns)).sum(),
    )


def denoising_error(
    model: TaskModel,
    latent: Tensor,
    plan: Tensor,
    mean_field: Tensor,
    noise: Tensor,
    level: Tensor,
    adapter: Tensor | None = None,
) -> Tensor:
    """Return the squared error `[B]` of the clean plan that the denoiser sees in a noisy one."""
    angle = (0.5 * math.pi * level)[:, None, None]
    noisy = torch.cos(angle) * plan + torch.sin(angle) * noise
    clean = model.denoise(noisy, level, latent, mean_field, adapter)
    error = ((clean - plan) * (clean - plan)).mean(dim=2)
    ahead = torch.ones(plan.shape[1] - 1, device=plan.device)
    emphasis = torch.cat([FIRST_TOKEN_WEIGHT * ahead[:1], ahead])
    return error @ (emphasis / emphasis.sum())


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy `[...]` of logits `[..., bins]` with two-hot targets."""
    return -(target * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
