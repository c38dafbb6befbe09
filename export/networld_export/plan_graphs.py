"""Graphs that take any number of plans: one step of the distilled denoiser, a whole plan, and the head.

Graphs as small as these are ruled by the number of their nodes, each of which costs a microsecond or two:
what is alike for all plans goes through the first layers once, and is added to what differs.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from networld_training.distillation.student import LEVEL_FEATURES, Student
from networld_training.model.components import action_probabilities
from networld_training.model.layers import level_features
from networld_training.model.world_model import TaskModel


class Head(nn.Module):
    """What the classifier expects of plans, and their first actions.

    Args:
        model: The task's networks.
    """

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.contract = model.contract
        self.inverse = model.inverse.net
        self.centres = nn.Buffer(model.centres)
        first, *rest = model.classifier.net
        first = cast(nn.Linear, first)
        situation = model.classifier.situation_size
        field = model.contract.mean_field_size
        # Of the latent, only the situation counts: zeros for its traces spare a cut.
        given = torch.zeros(first.out_features, model.contract.latent_size + field)
        given[:, :situation] = first.weight[:, :situation]
        given[:, model.contract.latent_size :] = first.weight[:, situation : situation + field]
        self.given = _linear(given, first.bias)
        self.actions = _linear(first.weight[:, situation + field :], None)
        self.rest = nn.Sequential(*rest)

    def forward(self, plan: Tensor, latent: Tensor, field: Tensor) -> tuple[Tensor, ...]:
        """Return expected returns `[N]` and action probabilities `[N, A]` of plans `[N, H, Z]`."""
        now = latent.unsqueeze(1).expand(plan.shape[0], -1, -1)
        before = torch.cat([now, plan[:, :-1]], dim=1)
        # In two dimensions a layer is one node, product and bias.
        logits = self.inverse(torch.cat([before, plan], dim=-1).flatten(0, 1))
        actions = action_probabilities(logits, self.contract.actions).reshape(plan.shape[0], -1)
        hidden = self.actions(actions) + self.given(torch.cat([latent, field], dim=-1))
        returns = torch.softmax(self.rest(hidden), dim=-1) @ self.centres
        return returns, actions[:, : self.contract.action_size]


class DistilledStep(nn.Module):
    """One step of the distilled denoiser.

    Args:
        model: The task's networks.
        student: The distilled denoiser.
    """

    def __init__(self, model: TaskModel, student: Student) -> None:
        super().__init__()
        self.task = model.contract.task
        self.student = student

    def forward(
        self, plan: Tensor, level: Tensor, latent: Tensor, field: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        """Return clean plans `[N, H, Z]` of noisy ones at one level `[1]`."""
        return (self.student(self.task, plan, level, latent, field, scale),)


class FusedPlan(nn.Module):
    """A whole plan by the distilled denoiser: all steps, the classifier's choice, its first action.

    What does not depend on the plans is computed once, for all steps together; plans are flat until the head.

    Args:
        model: The task's networks.
        student: The distilled denoiser.
    """

    def __init__(self, model: TaskModel, student: Student) -> None:
        super().__init__()
        contract = model.contract
        self.shape = (contract.horizon, contract.latent_size)
        self.student = student
        self.head = Head(model)
        weight, known = student.given.weight, contract.latent_size + contract.mean_field_size
        bias = student.given.bias + student.task[contract.task]
        self.given = _linear(weight[:, :known], bias)
        self.level = _linear(weight[:, known : known + LEVEL_FEATURES], None)
        self.scale = nn.Buffer(weight[:, -1].detach().clone())

    def forward(
        self,
        plan: Tensor,
        level: Tensor,
        factors: Tensor,
        latent: Tensor,
        field: Tensor,
        scale: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the best plan `[1, H, Z]`, its expected return `[1]` and first action `[1, A]`.

        Args:
            plan: Where the plans start `[N, H, Z]`.
            level: Level of each step `[K]`.
            factors: Factors of noisy, clean and previous clean plan of each step `[K, 3]`.
            latent: Current latent `[1, Z]`.
            field: Mean field `[1, M]`.
            scale: Guidance scale `[1]`.
        """
        given = self.given(torch.cat([latent, field], dim=-1)) + scale * self.scale
        terms = self.level(level_features(level, LEVEL_FEATURES)) + given
        parts = torch.split(factors.flatten(), 1)
        moved = plan.flatten(1)
        previous = moved
        for step, term in enumerate(torch.split(terms, 1)):
            noisy, new, old = parts[3 * step : 3 * step + 3]
            clean = torch.clamp(self.student.rest(self.student.plan(moved) + term), -1.0, 1.0)
            moved = noisy * moved + new * clean
            if step > 0:
                moved = moved + old * previous
            previous = clean
        plan = moved.reshape(-1, *self.shape)
        returns, actions = self.head(plan, latent, field)
        best = torch.argmax(returns, dim=0, keepdim=True)
        chosen = (one.index_select(0, best) for one in (plan, returns, actions))
        return tuple(chosen)


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer with these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer
