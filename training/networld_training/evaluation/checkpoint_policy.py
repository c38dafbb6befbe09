"""A checkpoint as a policy of the simulator, in torch: all cells of all episodes plan at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import FloatArray
from networld_runtime.errors import DataError
from networld_runtime.levels import level_grid
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.solver import SOLVERS
from networld_runtime.two_hot import decode_actions
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.mean_field import mean_field
from networld_training.model.world_model import TaskModel
from networld_training.tasks.base import Task
from networld_training.tasks.registry import find_contract
from networld_training.tasks.spec import Information

EXPORTED_SETTINGS = PlannerSettings(steps=2, guidance_scale=0.3)
"""How plans are found in a bundle that `networld export` makes without further options."""

# Plans that are denoised at a time: bounds memory.
PLANS_AT_A_TIME = 8192


def load_task_model(path: Path, task: str) -> TaskModel:
    """Load the averaged model of a checkpoint and check that the simulator speaks its contract.

    Raises:
        DataError: The checkpoint is missing, damaged, without this task or of another contract.
        ConfigError: The world model does not learn this task.
    """
    contract = find_contract(task)
    checkpoint = load_checkpoint(path)
    if task not in checkpoint.contracts:
        known = ", ".join(checkpoint.contracts)
        raise DataError(str(path), f"no task {task!r}; this checkpoint holds: {known}")
    if checkpoint.contracts[task].digest() != contract.digest():
        raise DataError(
            str(path),
            "was trained for another contract of the task than this version simulates; train again",
        )
    return checkpoint.averaged_model().for_task(task)


class CheckpointPolicy:
    """Plans as a base station does, with torch in place of the exported graphs.

    Messages are int8 latents, one slot late. The initial noise comes from the episodes' own streams, so
    that an episode does not depend on the others of its batch.

    Args:
        model: The model of the task.
        settings: How plans are found.

    Raises:
        ValueError: The settings ask for a warm start.
    """

    name = "networld-checkpoint"
    information: Information = "mean-field"

    def __init__(self, model: TaskModel, settings: PlannerSettings = EXPORTED_SETTINGS) -> None:
        self.model = model
        self.settings = settings
        if self.settings.warm_start_level != 0:
            raise ValueError("warm_start_level: plans always start afresh here")
        self._told: Tensor | None = None

    def reset(self) -> None:
        """Forget the last batch of episodes."""
        self._told = None

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot."""
        contract, settings = self.model.contract, self.settings
        with torch.no_grad():
            latent = self.model.encode(torch.from_numpy(contract.normalise(task.observation)))
        field = self._mean_field(latent, task)
        self._told = latent[..., : contract.message_size]
        plan = (task.shape[1], settings.candidates, contract.horizon, contract.latent_size)
        noise = np.stack(
            [stream.policy.standard_normal(plan, dtype=np.float32) for stream in task.streams]
        )
        cells = max(1, PLANS_AT_A_TIME // settings.candidates)
        parts = zip(
            *(
                torch.split(each.flatten(0, 1), cells)
                for each in (latent, field, torch.from_numpy(noise))
            ),
            strict=True,
        )
        chosen = np.concatenate([self._plan(*part) for part in parts])
        probabilities = chosen.reshape(*task.shape, -1)
        return decode_actions(probabilities, contract.actions, task.action_mask)

    def _mean_field(self, latent: Tensor, task: Task) -> Tensor:
        """Return what the cells heard of the slot before `[E, K, M]`; zeros in the first."""
        neighbours = torch.from_numpy(task.neighbours)
        if self._told is None:
            return torch.zeros(*latent.shape[:2], self.model.contract.mean_field_size)
        return mean_field(self._told, neighbours)

    def _plan(self, latent: Tensor, field: Tensor, noise: Tensor) -> FloatArray:
        """Return the action probabilities `[B, A]` of the best plans.

        Args:
            latent: Latents `[B, Z]`.
            field: Mean fields `[B, M]`.
            noise: Where the plans start `[B, N, H, Z]`.
        """
        settings, model = self.settings, self.model
        candidates = settings.candidates
        latent = latent.repeat_interleave(candidates, dim=0)
        field = field.repeat_interleave(candidates, dim=0)
        rows = len(latent)

        def denoise(plan: Tensor, level: float) -> Tensor:
            levels = torch.full((rows,), level)
            scale = torch.full((rows,), settings.guidance_scale)
            return model.guided(plan, levels, latent, field, scale)

        start = noise.flatten(0, 1) * settings.temperature
        with torch.no_grad():
            plans = SOLVERS[settings.solver](denoise, start, level_grid(settings.steps))
            returns = model.expected_return(plans, latent, field).view(-1, candidates)
            actions = model.actions(plans, latent)[:, 0].view(len(returns), candidates, -1)
            best = returns.argmax(dim=1)
            chosen = actions[torch.arange(len(best)), best]
        return np.asarray(chosen.numpy())
