"""Graphs that take any number of plans: one step of the distilled denoiser, a whole plan, and the head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from networld_training.distillation.student import Student
from networld_training.model.world_model import TaskModel


class Head(nn.Module):
    """What the classifier expects of plans, and their first actions.

    Args:
        model: The task's networks.
    """

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, plan: Tensor, latent: Tensor, field: Tensor) -> tuple[Tensor, ...]:
        """Return expected returns `[N]` and action probabilities `[N, A]` of plans `[N, H, Z]`."""
        rows = plan.shape[0]
        latent, field = latent.expand(rows, -1), field.expand(rows, -1)
        actions = self.model.actions(plan, latent)
        logits = self.model.classifier(latent, field, actions)
        return torch.softmax(logits, dim=-1) @ self.model.centres, actions[:, 0]


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

    What does not depend on the plans is computed once, for all steps together.

    Args:
        model: The task's networks.
        student: The distilled denoiser.
        steps: Denoising steps.
    """

    def __init__(self, model: TaskModel, student: Student, steps: int) -> None:
        super().__init__()
        self.task = model.contract.task
        self.student = student
        self.head = Head(model)
        self.steps = steps

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
        rows = (level.shape[0], -1)
        term = self.student.term(
            self.task, level, latent.expand(rows), field.expand(rows), scale.expand(level.shape[0])
        )
        previous = torch.zeros_like(plan)
        for step in range(self.steps):
            clean = torch.clamp(self.student.jump(plan, term[step : step + 1]), -1.0, 1.0)
            noisy, new, old = factors[step].unbind()
            plan = noisy * plan + new * clean
            if step > 0:
                plan = plan + old * previous
            previous = clean
        returns, actions = self.head(plan, latent, field)
        best = torch.argmax(returns, dim=0, keepdim=True)
        return plan[best], returns[best], actions[best]
