"""Graphs that take any number of plans: one step of the distilled denoiser, a whole plan, and the head.

Graphs as small as these are ruled by the number of their nodes, each of which costs a microsecond or two:
what is alike for all plans goes through the first layers once, and is added to what differs.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from networld_training.distillation.student import Student
from networld_training.model.components import action_probabilities
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
    """A whole plan by the distilled denoiser: all steps, what the classifier expects, the actions.

    What does not depend on the plans is computed once, for all steps together; products take what is added to
    them as their third operand. Plans are flat. Which of them is taken, and what of it, is left to who asked.

    Args:
        model: The task's networks.
        student: The distilled denoiser.
    """

    def __init__(self, model: TaskModel, student: Student) -> None:
        super().__init__()
        contract = model.contract
        self.size = contract.latent_size
        self.head = Head(model)
        self.noisy = nn.Buffer(student.plan.weight.detach().T.clone())
        weight, known = student.given.weight, contract.latent_size + contract.mean_field_size
        bias = student.given.bias + student.task[contract.task]
        # What latent and mean field add to both first layers, that of the denoiser and the classifier's.
        self.given = _linear(
            torch.cat([weight[:, :known], self.head.given.weight]),
            torch.cat([bias, self.head.given.bias]),
        )
        self.widths = [len(bias), len(self.head.given.bias)]
        self.step = nn.Buffer(weight[:, known:].detach().T.clone())
        *body, last = student.rest
        self.body = nn.Sequential(*body)
        last = cast(nn.Linear, last)
        self.last = nn.Buffer(last.weight.detach().T.clone())
        self.bias = nn.Buffer(last.bias.detach()[None].clone())
        # Columns of zeros, for the latent itself: the inverse dynamics asks for pairs of latents.
        self.chain = nn.Buffer(nn.functional.pad(self.last, (contract.latent_size, 0)))
        self.centres = nn.Buffer(
            self.head.centres[:, None].clone()
        )  # a column is faster than a vector
        self.weighed = nn.Buffer(self.head.actions.weight.detach().T.clone())

    def forward(
        self,
        plan: Tensor,
        step: Tensor,
        latent: Tensor,
        field: Tensor,
        factors: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return latents `[N, (H + 1) Z]`, returns `[N, 1]` and probabilities of all actions `[N, H A]`.

        The first latent is the present one.

        Args:
            plan: Where the plans start `[N, H Z]`.
            step: Features of each step's level, then the guidance scale `[K, LEVEL_FEATURES + 1]`.
            latent: Current latent `[1, Z]`.
            field: Mean field `[1, M]`.
            factors: Factors of noisy, clean and previous clean plan of each step but the last, whose result
                is the clean plan itself `[3 (K - 1)]`; None for one step.
        """
        given = self.given(torch.cat([latent, field], dim=-1))
        given, judged = torch.split(given, self.widths, dim=-1)
        together = torch.addmm(given, step, self.step)
        terms = (together,) if factors is None else torch.split(together, 1)
        parts = () if factors is None else torch.split(factors, 1)
        moved = previous = plan
        for index, term in enumerate(terms[:-1]):
            noisy, new, old = parts[3 * index : 3 * index + 3]
            hidden = self.body(torch.addmm(term, moved, self.noisy))
            clean = torch.clamp(torch.addmm(self.bias, hidden, self.last), -1.0, 1.0)
            moved = noisy * moved + new * clean
            if index > 0:
                moved = moved + old * previous
            previous = clean
        hidden = self.body(torch.addmm(terms[-1], moved, self.noisy))
        chain = torch.addmm(torch.cat([latent, self.bias], dim=-1), hidden, self.chain)
        chain = torch.clamp(chain, -1.0, 1.0)  # latents are within it
        ends = (chain[:, : -self.size], chain[:, self.size :])
        pairs = torch.cat([one.reshape(-1, self.size) for one in ends], dim=-1)
        components = self.head.contract.actions
        actions = action_probabilities(self.head.inverse(pairs), components)
        actions = actions.reshape(-1, self.weighed.shape[0])
        hidden = self.head.rest(torch.addmm(judged, actions, self.weighed))
        return chain, torch.softmax(hidden, dim=-1) @ self.centres, actions


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a layer with these weights."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer
