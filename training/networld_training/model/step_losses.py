"""The losses of one training step: what world model, credit model and policy learn from windows."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from networld_runtime.levels import HIGHEST_LEVEL, LOWEST_LEVEL
from networld_training.data.windows import WindowBatch
from networld_training.model.components import action_cross_entropy
from networld_training.model.credit import CreditModel, Situation
from networld_training.model.imagination import imagined_loss, masked_logits
from networld_training.model.losses import cross_entropy, denoising_error
from networld_training.model.mean_field import lose_messages, mean_field
from networld_training.model.settings import TrainingSettings
from networld_training.model.world_model import TaskModel

WEIGHTS = {"denoising": 10.0}
"""Losses that count more than once."""


@dataclass(frozen=True)
class Learner:
    """What learns one task: the world model's view of it, and its credit model."""

    model: TaskModel
    credit: CreditModel


@dataclass(frozen=True)
class StepLosses:
    """Losses of one task in one step, scalars."""

    denoising: Tensor
    inverse: Tensor
    classifier: Tensor
    reconstruction: Tensor
    imitation: Tensor
    imagined: Tensor

    def total(self) -> Tensor:
        """Return the sum that is minimised."""
        parts = [WEIGHTS.get(one.name, 1.0) * getattr(self, one.name) for one in fields(self)]
        return torch.stack(parts).sum()

    def values(self, task: str) -> dict[str, float]:
        """Return the losses as numbers, named for TensorBoard."""
        return {f"{task}/{one.name}": getattr(self, one.name).item() for one in fields(self)}


def step_losses(
    learner: Learner,
    window: WindowBatch,
    settings: TrainingSettings,
    progress: float,
    generator: torch.Generator,
) -> StepLosses:
    """Return the losses of one batch of windows: encode all cells, exchange messages, compare.

    The classifier learns from every start; the denoiser, which costs more, from a random few. It sees
    detached latents: its loss must not pull the encoder towards latents that are easy to predict because
    they say nothing.

    Args:
        learner: What learns.
        window: Windows of its task.
        settings: How it is trained.
        progress: Share of the training that is over.
        generator: Draws lost messages, plans, levels, noise and imagined choices.
    """
    model, contract = learner.model, learner.model.contract
    device = window.observation.device
    horizon, starts = contract.horizon, window.starts
    latent = model.encode(window.observation)
    reconstruction = torch.nn.functional.mse_loss(model.reconstruct(latent), window.observation)
    read = model.inverse(latent[:, 1:-1], latent[:, 2:])
    inverse = action_cross_entropy(read, window.action, contract.actions).mean()

    sent = latent[:, :starts, :, : contract.message_size].flatten(0, 1)
    heard = lose_messages(
        (*sent.shape[:2], window.neighbours.shape[1]), settings.message_loss, generator
    )
    field = mean_field(sent, window.neighbours, heard.to(device))
    now = latent[:, 1 : starts + 1].flatten(0, 1)
    plan = _ahead(latent[:, 2:], starts, horizon)
    logits = model.classifier(
        now.flatten(0, 1), field.flatten(0, 1), _ahead(window.action, starts, horizon)
    )
    classifier = cross_entropy(logits, window.returns.flatten(0, 2)).mean()

    chosen = torch.randperm(len(plan), generator=generator)[: settings.plans].to(device)
    level = LOWEST_LEVEL + (HIGHEST_LEVEL - LOWEST_LEVEL) * torch.rand(
        len(chosen), generator=generator
    )
    target = plan[chosen].detach()
    noise = torch.randn(target.shape, generator=generator).to(device)
    denoising = denoising_error(
        model,
        now.flatten(0, 1)[chosen].detach(),
        target,
        field.flatten(0, 1)[chosen].detach(),
        noise,
        level.to(device),
    ).mean()
    imitation, imagined = _acting(learner, window, now, field, settings, progress, generator)
    return StepLosses(denoising, inverse, classifier, reconstruction, imitation, imagined)


def credit_loss(credit: CreditModel, window: WindowBatch) -> Tensor:
    """Return the credit model's loss on the slots in which the plans of a batch start."""
    action = window.action[:, : window.starts].flatten(0, 1)
    return credit.loss(_given(window), action, window.credit.flatten(0, 1))


def _acting(
    learner: Learner,
    window: WindowBatch,
    latent: Tensor,
    field: Tensor,
    settings: TrainingSettings,
    progress: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return the policy's losses, by imitation and by imagination; one of them is 0.

    Latents `[B S, K, Z]` and mean fields `[B S, K, M]` are those of all networks.
    """
    actions = learner.model.contract.actions
    mask = window.mask.flatten(0, 1)
    logits = masked_logits(learner.model.policy(latent, field), mask)
    if progress < settings.imitation:
        action = window.action[:, : window.starts].flatten(0, 1)
        followed = window.imitated.repeat_interleave(window.starts, dim=0)
        likelihood = action_cross_entropy(logits, action, actions) * followed
        return likelihood.sum() / followed.sum().clamp(min=1), logits.new_zeros(())
    some = torch.randperm(len(logits), generator=generator)[: settings.imagined].to(logits.device)
    given = _given(window).of(some)
    weight = settings.entropy_weight
    imagined = imagined_loss(learner.credit, given, logits[some], actions, weight, generator)
    return logits.new_zeros(()), imagined


def _given(window: WindowBatch) -> Situation:
    """Return the situations of all networks in the slots in which plans start."""
    observation = window.observation[:, 1 : window.starts + 1].flatten(0, 1)
    return Situation(observation, window.coupling.flatten(0, 1), window.neighbours)


def _ahead(values: Tensor, starts: int, horizon: int) -> Tensor:
    """Cut `[B, slots, K, n]` into what lies ahead of each start, `[B S K, horizon, n]`."""
    cut = values.unfold(1, horizon, 1)[:, :starts]  # b s k n h
    return cut.permute(0, 1, 2, 4, 3).flatten(0, 2)
