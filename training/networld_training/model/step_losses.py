"""The losses of one training step: what world model, credit model and policy learn from windows."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from networld_runtime.contract import Choice
from networld_runtime.levels import HIGHEST_LEVEL, LOWEST_LEVEL
from networld_training.data.windows import WindowBatch
from networld_training.model.components import action_cross_entropy
from networld_training.model.credit import CreditModel, Situation
from networld_training.model.imagination import (
    Imagined,
    advantages,
    imagined_loss,
    masked_logits,
)
from networld_training.model.losses import cross_entropy, denoising_error
from networld_training.model.mean_field import lose_messages, mean_field
from networld_training.model.settings import TrainingSettings
from networld_training.model.world_model import TaskModel

WEIGHTS = {"denoising": 10.0}
"""Losses that count more than once."""


@dataclass(frozen=True)
class Learner:
    """What learns one task.

    Attributes:
        model: The world model's view of it.
        imagined: What its policy is judged by.
    """

    model: TaskModel
    imagined: Imagined


@dataclass(frozen=True)
class StepLosses:
    """Losses of one task in one step, scalars."""

    denoising: Tensor
    inverse: Tensor
    classifier: Tensor
    reconstruction: Tensor
    imagined: Tensor

    def total(self) -> Tensor:
        """Return the sum that is minimised."""
        parts = [WEIGHTS.get(one.name, 1.0) * getattr(self, one.name) for one in fields(self)]
        return torch.stack(parts).sum()

    def values(self, task: str) -> dict[str, Tensor]:
        """Return the losses without their graphs, named for TensorBoard."""
        return {f"{task}/{one.name}": getattr(self, one.name).detach() for one in fields(self)}


def step_losses(
    learner: Learner,
    window: WindowBatch,
    settings: TrainingSettings,
    generator: torch.Generator,
) -> StepLosses:
    """Return the losses of one batch of windows: encode all cells, exchange messages, compare.

    Args:
        learner: What learns.
        window: Windows of its task.
        settings: How it is trained.
        generator: Draws lost messages, plans, levels, noise and imagined choices.
    """
    model, contract = learner.model, learner.model.contract
    latent = model.encode(window.observation)
    reconstruction = torch.nn.functional.mse_loss(model.reconstruct(latent), window.observation)
    read = model.inverse(latent[:, 1:-1], latent[:, 2:])
    inverse = action_cross_entropy(read, window.action, contract.actions).mean()

    sent = latent[:, :-2, :, : contract.message_size]
    heard = lose_messages(
        (*sent.flatten(0, 1).shape[:2], window.neighbours.shape[1]),
        settings.message_loss,
        generator,
    )
    field = mean_field(sent.flatten(0, 1), window.neighbours, heard.to(latent.device))
    field = field.reshape(*sent.shape[:2], *field.shape[1:])
    logits = masked_logits(model.policy(latent[:, 1:-1], field), window.mask)
    return StepLosses(
        _denoising(model, window, latent.detach(), field.detach(), settings, generator),
        inverse,
        _ranking(learner, window, latent, field, logits.detach(), settings, generator),
        reconstruction,
        _acting(learner, window, logits, settings, generator),
    )


def credit_loss(credit: CreditModel, window: WindowBatch) -> Tensor:
    """Return the credit model's loss on the slots of a batch of windows."""
    return credit.loss(_given(window), window.action.flatten(0, 1), window.credit.flatten(0, 1))


def _acting(
    learner: Learner,
    window: WindowBatch,
    logits: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
) -> Tensor:
    """Return the loss of the policy's logits `[B, T, K, A]` in some of the slots."""
    logits, first = logits.flatten(0, 1), learner.imagined.actions[0]
    alternatives = first.size if isinstance(first, Choice) else 2
    networks = max(settings.imagined // alternatives, 1)
    some = torch.randperm(len(logits), generator=generator)[:networks].to(logits.device)
    return imagined_loss(
        learner.imagined,
        _given(window).of(some),
        logits[some],
        settings.temperature,
        _uniform(logits[some], generator),
    )


def _ranking(
    learner: Learner,
    window: WindowBatch,
    latent: Tensor,
    field: Tensor,
    logits: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
) -> Tensor:
    """Return the classifier's loss on what the logged plans of a few windows gain over the policy."""
    model, few = learner.model, settings.ranked
    horizon, starts = model.contract.horizon, window.starts
    given = _given(window).of(torch.arange(few * window.action.shape[1], device=latent.device))
    action = window.action[:few]
    asked = logits[:few].flatten(0, 1)
    gain = advantages(
        learner.imagined, given, asked, action.flatten(0, 1), _uniform(asked, generator)
    ).reshape(action.shape[:3])
    discount = model.contract.discount ** torch.arange(horizon, device=latent.device)
    returns = gain.unfold(1, horizon, 1) @ discount.to(gain)  # b s k
    predicted = model.classifier(
        latent[:few, 1 : starts + 1].flatten(0, 2),
        field[:few, :starts].flatten(0, 2),
        _ahead(action, starts, horizon),
    )
    return cross_entropy(predicted, model.two_hot_return(returns.flatten())).mean()


def _denoising(
    model: TaskModel,
    window: WindowBatch,
    latent: Tensor,
    field: Tensor,
    settings: TrainingSettings,
    generator: torch.Generator,
) -> Tensor:
    """Return the denoiser's loss on a few of the plans.

    The latents are detached: it must not pull the encoder towards latents that are easy to predict because
    they say nothing.
    """
    starts = window.starts
    plan = _ahead(latent[:, 2:], starts, model.contract.horizon)
    chosen = torch.randperm(len(plan), generator=generator)[: settings.plans]
    level = LOWEST_LEVEL + (HIGHEST_LEVEL - LOWEST_LEVEL) * torch.rand(
        len(chosen), generator=generator
    )
    target = plan[chosen.to(plan.device)]
    noise = torch.randn(target.shape, generator=generator)
    return denoising_error(
        model,
        latent[:, 1 : starts + 1].flatten(0, 2)[chosen.to(plan.device)],
        target,
        field[:, :starts].flatten(0, 2)[chosen.to(plan.device)],
        noise.to(plan.device),
        level.to(plan.device),
    ).mean()


def _uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return numbers between 0 and 1 of the shape of `like`."""
    return torch.rand(like.shape, generator=generator).to(like)


def _given(window: WindowBatch) -> Situation:
    """Return the situations of all networks in all slots that have actions."""
    observation = window.observation[:, 1:-1].flatten(0, 1)
    return Situation(observation, window.coupling.flatten(0, 1), window.neighbours)


def _ahead(values: Tensor, starts: int, horizon: int) -> Tensor:
    """Cut `[B, slots, K, n]` into what lies ahead of each start, `[B S K, horizon, n]`."""
    cut = values.unfold(1, horizon, 1)[:, :starts]  # b s k n h
    return cut.permute(0, 1, 2, 4, 3).flatten(0, 2)
