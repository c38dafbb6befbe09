"""Decision Diffuser (Ajay et al., ICLR 2023), every cell on its own: the diffusion baseline without messages.

A diffusion model plans what the cell will observe, given what it observes now and the return that it is
asked for (classifier-free guidance); inverse dynamics reads the action that leads from this slot's
observation to the next one of the plan. With eight slots a residual perceptron stands for the U-Net.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from networld_runtime.contract import NORMALISED_LIMIT
from networld_runtime.errors import DataError
from networld_training.baselines.actions import ActionCode
from networld_training.baselines.learner import Draw, Learner
from networld_training.baselines.networks import Perceptron
from networld_training.baselines.settings import OfflineSettings, discount_of
from networld_training.baselines.trajectories import LoggedData, Trajectories
from networld_training.environments.agent_view import AgentView
from networld_training.tasks.spec import TaskSpec

NOISE_STEPS = 100
BLOCKS = 3
FREQUENCIES = 16
RETURN_QUANTILES = (0.01, 0.99)


@dataclass(frozen=True)
class DiffuserSettings(OfflineSettings):
    """Hyper-parameters of the Decision Diffuser.

    Attributes:
        horizon: Slots of a plan, the present one included.
        discount: Weight of the next slot in the return over the horizon.
        dropout: Share of samples that learn without the return.
        guidance: Weight of the return; 0 plans without it, 1 with it as learned, more exaggerates.
        target_return: Return that is asked for: 0 is the first percentile of the data, 1 the 99th.
        temperature: Standard deviation of the noise that a plan starts from.
        denoising_steps: DDIM steps of a plan.
        average: Decay of the moving average of the weights, which is what acts.
    """

    horizon: int = 8
    discount: float = 0.9
    dropout: float = 0.25
    guidance: float = 1.2
    target_return: float = 0.9
    temperature: float = 0.5
    denoising_steps: int = 10
    average: float = 0.995

    def _checks(self) -> list[tuple[str, bool, str]]:
        return [
            *super()._checks(),
            ("horizon", self.horizon >= 2, "at least 2"),
            ("discount", 0 <= self.discount <= 1, "0 to 1"),
            ("dropout", 0 <= self.dropout < 1, "0 up to, not including, 1"),
            ("guidance", self.guidance >= 0, "0 or more"),
            ("temperature", self.temperature >= 0, "0 or more"),
            ("denoising_steps", 1 <= self.denoising_steps <= NOISE_STEPS, f"1 to {NOISE_STEPS}"),
            ("average", 0 <= self.average < 1, "0 up to, not including, 1"),
        ]


def settings_of(task: str) -> DiffuserSettings:
    """Return the hyper-parameters of a task."""
    return DiffuserSettings(discount=discount_of(task))


class Denoiser(nn.Module):
    """Predicts the noise in plans of observations.

    Args:
        size: Entries of an observation.
        horizon: Slots of a plan.
        width: Width of the hidden layers.
    """

    frequencies: Tensor

    def __init__(self, size: int, horizon: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(horizon * size, width)
        self.condition = Perceptron(2 * FREQUENCIES + 2, (width,), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
            )
            for _ in range(BLOCKS)
        )
        self.leave = nn.Linear(width, horizon * size)
        frequencies = torch.exp(-math.log(1e4) * torch.arange(FREQUENCIES) / FREQUENCIES)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, plan: Tensor, step: Tensor, wanted: Tensor, heeded: Tensor) -> Tensor:
        """Return the noise `[B, H, D]` of noisy plans `[B, H, D]`.

        Args:
            plan: Noisy plans.
            step: Noise steps `[B]`, 0 to 99.
            wanted: Returns that are asked for `[B]`.
            heeded: 1 where the return counts, 0 where it is left out `[B]`.
        """
        angle = step[:, None] * self.frequencies
        told = torch.stack([wanted * heeded, heeded], dim=-1)
        condition = self.condition(torch.cat([angle.sin(), angle.cos(), told], dim=-1))
        hidden = self.enter(plan.flatten(1))
        for block in self.blocks:
            hidden = hidden + block(hidden + condition)
        noise: Tensor = self.leave(hidden).view_as(plan)
        return noise


class DiffuserActor(nn.Module):
    """Plans with the denoiser and reads the first action of the plan.

    Args:
        spec: The task.
        settings: Hyper-parameters.
    """

    kept: Tensor

    def __init__(self, spec: TaskSpec, settings: DiffuserSettings) -> None:
        super().__init__()
        self.settings, self.size = settings, len(spec.features)
        self.denoiser = Denoiser(self.size, settings.horizon, settings.width)
        hidden = (settings.width, settings.width)
        self.inverse = Perceptron(2 * self.size, hidden, ActionCode(spec).size)
        # Share of the clean plan's variance after each noise step (cosine schedule).
        time = (torch.arange(NOISE_STEPS) + 1) / NOISE_STEPS
        kept = torch.cos((time + 0.008) / 1.008 * math.pi / 2).square().clamp(min=1e-4)
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, inputs: Tensor, draw: Draw) -> Tensor:
        """Return logits `[E, K, A]` for observations `[E, K, D]`; plans start from drawn noise."""
        now = inputs.flatten(0, 1)
        shape = (len(now), self.settings.horizon, self.size)
        noise = draw(self.settings.horizon * self.size).reshape(shape)
        plan = self.plan(now, noise * self.settings.temperature)
        logits: Tensor = self.inverse(torch.cat([now, plan[:, 1]], dim=-1))
        return logits.view(*inputs.shape[:2], -1)

    def plan(self, now: Tensor, noisy: Tensor) -> Tensor:
        """Return plans `[B, H, D]` that begin with what is observed now `[B, D]`."""
        settings = self.settings
        steps = torch.linspace(NOISE_STEPS - 1, 0, settings.denoising_steps).round().long()
        wanted = torch.full((len(now),), settings.target_return)
        plan = noisy
        for index, step in enumerate(steps):
            plan = torch.cat([now[:, None], plan[:, 1:]], dim=1)
            at = step.float().expand(len(now))
            free = self.denoiser(plan, at, wanted, torch.zeros_like(wanted))
            asked = self.denoiser(plan, at, wanted, torch.ones_like(wanted))
            noise = free + settings.guidance * (asked - free)
            kept = self.kept[step]
            clean = (plan - (1 - kept).sqrt() * noise) / kept.sqrt()
            clean = clean.clamp(-NORMALISED_LIMIT, NORMALISED_LIMIT)
            if index + 1 == len(steps):
                plan = clean
                continue
            noise = (plan - kept.sqrt() * clean) / (1 - kept).sqrt()
            after = self.kept[steps[index + 1]]
            plan = after.sqrt() * clean + (1 - after).sqrt() * noise
        return torch.cat([now[:, None], plan[:, 1:]], dim=1)


def make_actor(view: AgentView, settings: DiffuserSettings, cells: int = 1) -> DiffuserActor:
    """Return denoiser and inverse dynamics, with fresh weights; all cells share them."""
    del cells
    return DiffuserActor(view.spec, settings)


class Diffuser(Learner):
    """Trains denoiser and inverse dynamics; acts with their moving average.

    Args:
        data: What is learned from.
        settings: Hyper-parameters.

    Raises:
        DataError: The episodes are shorter than a plan.
    """

    def __init__(self, data: LoggedData, settings: DiffuserSettings) -> None:
        super().__init__()
        spec = data.manifest.spec
        if data.train.slots < settings.horizon:
            raise DataError(
                "data set",
                f"episodes of {data.train.slots} slots, expected at least {settings.horizon}, "
                "the horizon of a plan",
            )
        self.data, self.settings, self.code = data, settings, ActionCode(spec)
        self.trained = DiffuserActor(spec, settings)
        self.actor = copy.deepcopy(self.trained).requires_grad_(False)
        self.returns = returns_asked(data.train, settings)
        self._optimiser = torch.optim.AdamW(
            self.trained.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.optimisers = [self._optimiser]

    def advance(self, random: torch.Generator) -> Mapping[str, float]:
        """Take one step of both networks; return their losses."""
        source, settings, size = self.data.train, self.settings, self.trained.size
        row, slot = source.draw(settings.batch, self.returns.shape[1], random)
        ahead = slot[:, None] + torch.arange(settings.horizon)
        plan = source.inputs[row[:, None], ahead, :size]

        step = torch.randint(NOISE_STEPS, (len(plan),), generator=random)
        heeded = (torch.rand(len(plan), generator=random) >= settings.dropout).float()
        noise = torch.randn(plan.shape, generator=random)
        kept = self.trained.kept[step, None, None]
        noisy = kept.sqrt() * plan + (1 - kept).sqrt() * noise
        noisy = torch.cat([plan[:, :1], noisy[:, 1:]], dim=1)
        found = self.trained.denoiser(noisy, step.float(), self.returns[row, slot], heeded)
        denoising = (found - noise)[:, 1:].square().mean()

        logits = self.trained.inverse(plan[:, :2].flatten(1))
        likelihood = self.code.log_likelihood(
            logits, source.bins[row, slot], source.mask_at(row, slot)
        )
        inverse = -likelihood.mean()
        self._optimiser.zero_grad(set_to_none=True)
        (denoising + inverse).backward()
        self._optimiser.step()
        with torch.no_grad():
            pairs = zip(self.actor.parameters(), self.trained.parameters(), strict=True)
            for average, present in pairs:
                average.lerp_(present, 1 - settings.average)
        return {"denoising": denoising.item(), "inverse": inverse.item()}


def returns_asked(source: Trajectories, settings: DiffuserSettings) -> Tensor:
    """Return discounted returns over the horizon `[N, T - H + 1]`; 0 and 1 are their 1 and 99 percentiles."""
    weights = settings.discount ** torch.arange(settings.horizon)
    returns = (source.rewards.unfold(1, settings.horizon, 1) * weights).sum(dim=-1)
    low, high = np.quantile(returns.numpy(), RETURN_QUANTILES)
    asked = (returns - float(low)) / max(float(high - low), 1e-6)
    return torch.clamp(asked, 0, 1)
