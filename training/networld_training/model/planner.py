"""The planner in torch, batched over cells: what the base station computes, for evaluation at scale.

`networld_runtime.planner` is the deployed one; the two share solver, levels and two-hot decoding.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import FloatArray
from networld_runtime.levels import level_grid
from networld_runtime.planner import PlannerSettings
from networld_runtime.solver import SOLVERS
from networld_runtime.two_hot import decode_action
from networld_training.model.mean_field import mean_field
from networld_training.model.world_model import TaskModel


class TorchPlanner:
    """Plans for `E` episodes of `K` cells at once; a policy for `run_policy`.

    Args:
        model: One task of a world model.
        neighbours: Indices of each cell's neighbours `[K, n]`.
        settings: How a plan is found.
        seed: Seed of the initial noise and of message loss.
        loss: Share of messages that get lost.
    """

    def __init__(
        self,
        model: TaskModel,
        neighbours: np.ndarray[tuple[int, int], np.dtype[np.int64]],
        settings: PlannerSettings,
        seed: int = 0,
        loss: float = 0.0,
    ) -> None:
        self.model = model.eval()
        self.neighbours = torch.from_numpy(neighbours)
        self.settings = settings
        self.loss = loss
        self.generator = torch.Generator().manual_seed(seed)
        self.previous: Tensor | None = None

    def reset(self) -> None:
        """Forget the messages of the slot before."""
        self.previous = None

    @torch.no_grad()
    def decide(self, observation: FloatArray) -> FloatArray:
        """Return native actions `[E, K]` for observations `[E, K, D]` in native units."""
        contract = self.model.contract
        latent = self.model.encode(torch.from_numpy(contract.normalise(observation)))
        episodes, cells, size = latent.shape
        field = torch.zeros(episodes, cells, size + 1)
        if self.previous is not None:
            shape = (episodes, cells, self.neighbours.shape[1])
            heard = (torch.rand(shape, generator=self.generator) >= self.loss).float()
            field = mean_field(self.previous, self.neighbours, heard)
        self.previous = latent
        plan, _ = self.plan(latent.reshape(-1, size), field.reshape(-1, size + 1))
        first = self.model.actions(plan, latent.reshape(-1, size))[:, 0]
        return decode_action(first.numpy(), contract.action).reshape(episodes, cells)

    @torch.no_grad()
    def plan(self, latent: Tensor, field: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best plan `[B, H, Z]` and its expected return `[B]` for latents `[B, Z]`."""
        settings, horizon = self.settings, self.model.contract.horizon
        batch, size = latent.shape
        many = latent.repeat_interleave(settings.candidates, dim=0)
        fields = field.repeat_interleave(settings.candidates, dim=0)
        scale = torch.full((len(many),), settings.guidance_scale)

        def denoise(plan: Tensor, level: float) -> Tensor:
            levels = torch.full((len(many),), level)
            if settings.guidance_scale == 0:
                return self.model.denoise(plan, levels, many, fields)
            return self.model.guided(plan, levels, many, fields, scale)

        start = settings.temperature * torch.randn(
            (len(many), horizon, size), generator=self.generator
        )
        plans = SOLVERS[settings.solver](denoise, start, level_grid(settings.steps))
        returns = self.model.expected_return(plans, many, fields)
        returns = returns.reshape(batch, settings.candidates)
        best = returns.argmax(dim=1)
        plans = plans.reshape(batch, settings.candidates, horizon, size)
        return plans[torch.arange(batch), best], returns[torch.arange(batch), best]
