"""What a distilled denoiser learns from: plans of the full one, with every point on their way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from networld_runtime.levels import level_grid
from networld_runtime.solver import dpm_solver, solve
from networld_training.data.windows import WindowSampler
from networld_training.distillation.settings import DistillationSettings
from networld_training.model.mean_field import lose_messages, mean_field
from networld_training.model.world_model import TaskModel

WINDOWS = 64
"""Windows whose cells plan at a time."""
# Keeps windows and draws apart from those of the training.
SEED_DOMAIN = 0x64697374


@dataclass(frozen=True)
class Lessons:
    """`B` plans of the full denoiser in `T` steps.

    Attributes:
        latent: Latents `[B, Z]`.
        mean_field: Mean fields `[B, M]`.
        scale: Guidance scales `[B]`.
        way: Noisy plans before each step `[B, T, H, Z]`.
        end: Clean plans `[B, H, Z]`.
        levels: Levels of the ways `[T]`.
    """

    latent: Tensor
    mean_field: Tensor
    scale: Tensor
    way: Tensor
    end: Tensor
    levels: Tensor

    def __len__(self) -> int:
        return len(self.end)


def make_lessons(
    model: TaskModel,
    sampler: WindowSampler,
    message_loss: float,
    temperature: float,
    settings: DistillationSettings,
    seed: int,
    progress: Callable[[int], None],
) -> Lessons:
    """Let the full denoiser plan in logged situations, with messages lost as in its training.

    Args:
        model: The task's model.
        sampler: Its data set.
        message_loss: Share of the cells that lose messages.
        temperature: About how hot the noise is that the task's plans start from.
        settings: How many plans, steps and scales.
        seed: Seed of situations, noise and scales.
        progress: Called with the number of plans that are done.
    """
    parts: list[Lessons] = []
    done = 0
    while done < settings.lessons:
        generator = torch.Generator().manual_seed((SEED_DOMAIN + seed) * 1_000_003 + len(parts))
        with torch.no_grad():
            some = _some(
                model, sampler, message_loss, temperature, settings, seed, len(parts), generator
            )
        parts.append(some)
        done += len(some)
        progress(min(done, settings.lessons))
    joined = {
        one.name: torch.cat([getattr(part, one.name) for part in parts])[: settings.lessons]
        for one in fields(Lessons)
        if one.name != "levels"
    }
    return Lessons(**joined, levels=parts[0].levels)


def _some(
    model: TaskModel,
    sampler: WindowSampler,
    message_loss: float,
    temperature: float,
    settings: DistillationSettings,
    seed: int,
    step: int,
    generator: torch.Generator,
) -> Lessons:
    """Return the plans of all cells in a few windows."""
    contract = model.contract
    window = sampler.batch(WINDOWS, 1, SEED_DOMAIN + seed, step)
    latent = model.encode(window.observation[:, :2])
    told = latent[:, 0, :, : contract.message_size]
    shape = (*told.shape[:2], window.neighbours.shape[1])
    heard = lose_messages(shape, message_loss, generator)
    field = mean_field(told, window.neighbours, heard).flatten(0, 1)
    now = latent[:, 1].flatten(0, 1)
    rows = len(now)
    guided = (torch.rand(rows, generator=generator) >= settings.without_guidance).float()
    scale = guided * settings.largest_scale * torch.rand(rows, generator=generator)
    way: list[Tensor] = []

    def denoise(plan: Tensor, level: float) -> Tensor:
        way.append(plan)
        return model.guided(plan, torch.full((rows,), level), now, field, scale)

    heat = torch.empty(rows, 1, 1).uniform_(settings.coolest, settings.hottest, generator=generator)
    noise = torch.randn(rows, contract.horizon, contract.latent_size, generator=generator)
    start = temperature * heat * noise
    levels = level_grid(settings.teacher_steps)
    end = solve(denoise, start, dpm_solver(levels))
    return Lessons(now, field, scale, torch.stack(way, dim=1), end, torch.tensor(levels[:-1]))
