"""Trains the distilled denoiser on the lessons of all tasks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from networld_runtime.optimiser import one_cycle
from networld_training.distillation.lessons import Lessons
from networld_training.distillation.settings import DistillationSettings
from networld_training.distillation.student import PlanShape, Student
from networld_training.model.losses import FIRST_TOKEN_WEIGHT

Report = Callable[[int, str], None]


def distil(
    lessons: Mapping[str, Lessons], settings: DistillationSettings, seed: int, report: Report
) -> Student:
    """Return a student that jumps from every point of the lessons' ways to their ends.

    Plans start as noise, so points there come up most; the others are where a second step begins. The
    first latent counts most, as in the training of the full denoiser: the action is read from it.

    Args:
        lessons: Lessons of each task.
        settings: How it learns.
        seed: Seed of weights and batches.
        report: Called with the steps done and a note, now and then.
    """
    torch.manual_seed(seed)
    first = next(iter(lessons.values()))
    _, horizon, latent_size = first.end.shape
    shape = PlanShape(horizon, latent_size, first.mean_field.shape[1])
    student = Student(tuple(lessons), shape, settings.hidden)
    kept = copy.deepcopy(student)
    optimiser = torch.optim.AdamW(student.parameters(), settings.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * max(one_cycle(step / settings.steps), 1e-3)
        losses = [_loss(student, task, some, settings, generator) for task, some in lessons.items()]
        loss = torch.stack(losses).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        decay = min(settings.average, (1 + step) / (10 + step))
        with torch.no_grad():
            for old, new in zip(kept.parameters(), student.parameters(), strict=True):
                old.lerp_(new, 1 - decay)
        if step % 50 == 0 or step == settings.steps - 1:
            report(step + 1, f"error {loss.item():.4f}")
    return kept.eval()


def _loss(
    student: Student,
    task: str,
    lessons: Lessons,
    settings: DistillationSettings,
    generator: torch.Generator,
) -> Tensor:
    """Return the squared error on some points of one task's lessons."""
    batch = settings.batch
    chosen = torch.randint(len(lessons), (batch,), generator=generator)
    later = torch.randint(len(lessons.levels), (batch,), generator=generator)
    starts = torch.rand(batch, generator=generator) < settings.from_noise
    point = torch.where(starts, 0, later)
    clean = student.predict(
        task,
        lessons.way[chosen, point],
        lessons.levels[point],
        lessons.latent[chosen],
        lessons.mean_field[chosen],
        lessons.scale[chosen],
    )
    error = (clean - lessons.end[chosen]).square().mean(dim=(0, 2))
    emphasis = torch.ones_like(error)
    emphasis[0] = FIRST_TOKEN_WEIGHT
    return error @ (emphasis / emphasis.sum())
