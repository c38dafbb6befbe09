"""A checkpoint as a policy of the simulator, in torch: all cells of all episodes plan at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from networld_runtime.bundle import file_digest
from networld_runtime.contract import FloatArray
from networld_runtime.errors import ConfigError, DataError
from networld_runtime.plan_start import plan_start
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.solver import SOLVERS, solve
from networld_runtime.two_hot import decode_actions
from networld_training.distillation.student import STUDENT, Student, load_student
from networld_training.evaluation.conditions import Conditions
from networld_training.evaluation.mailbox import Mailbox
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.world_model import TaskModel
from networld_training.tasks.base import Task
from networld_training.tasks.registry import find_contract
from networld_training.tasks.spec import Information

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


def load_policy(
    path: Path,
    task: str,
    settings: PlannerSettings | None = None,
    messages: Conditions | None = None,
) -> CheckpointPolicy:
    """Load a checkpoint as a policy, and the distilled denoiser beside it where the settings ask for it.

    Raises:
        DataError: The checkpoint or the distilled denoiser is missing, damaged or of something else.
        ConfigError: The world model does not learn this task, or settings ask for a denoiser that only
            bundles have.
    """
    if settings is not None and (settings.precision or settings.anytime):
        asked = "anytime" if settings.anytime else f"denoiser = {settings.denoiser!r}"
        raise ConfigError("planner settings", f"{asked}: only bundles have it; export first")
    model = load_task_model(path, task)
    student = None
    if settings is not None and settings.needs_distilled:
        teacher, contracts = file_digest(path), {task: model.contract}
        student = load_student(path.with_name(STUDENT), teacher, contracts)
    return CheckpointPolicy(model, settings, messages, student)


class CheckpointPolicy:
    """Decides as a base station does, with torch in place of the exported graphs.

    Messages are int8 values, one slot late. The initial noise comes from the episodes' own streams, so
    that an episode does not depend on the others of its batch.

    Args:
        model: The model of the task.
        settings: How actions are chosen; None takes the defaults, which `networld export` has as well.
        messages: How messages arrive; None if all do.
        student: The distilled denoiser, for settings that plan with it.
    """

    name = "networld-checkpoint"
    information: Information = "mean-field"

    def __init__(
        self,
        model: TaskModel,
        settings: PlannerSettings | None = None,
        messages: Conditions | None = None,
        student: Student | None = None,
    ) -> None:
        self.model = model
        self._student = student
        self._mailbox = Mailbox(messages or Conditions())
        self.settings = settings or PlannerSettings()
        self._told: Tensor | None = None
        self._last: FloatArray | None = None

    def reset(self) -> None:
        """Forget the last batch of episodes."""
        self._mailbox.reset()
        self._told = self._last = None

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot."""
        contract, model = self.model.contract, self.model
        with torch.no_grad():
            latent = model.encode(torch.from_numpy(contract.normalise(task.observation)))
            field = self._mean_field(latent, task)
            self._told = latent[..., : contract.message_size]
            latent, field = latent.flatten(0, 1), field.flatten(0, 1)
            if self.settings.mode == "policy":
                chosen = self._policy(latent, field)
            else:
                chosen = self._plan_all(latent, field, task)
        probabilities = chosen.view(*task.shape, -1).numpy()
        return decode_actions(probabilities, contract.actions, task.action_mask)

    def _policy(self, latent: Tensor, field: Tensor) -> Tensor:
        """Return the action probabilities `[E K, A]` of the policy."""
        return self.model.act(latent, field)

    def _mean_field(self, latent: Tensor, task: Task) -> Tensor:
        """Return what the cells heard of the slot before `[E, K, M]`; zeros in the first."""
        if self._told is None:
            return torch.zeros(*latent.shape[:2], self.model.contract.mean_field_size)
        return self._mailbox.receive(self._told, task)

    def _plan_all(self, latent: Tensor, field: Tensor, task: Task) -> Tensor:
        """Return the action probabilities `[E K, A]` of the plans taken, and remember the plans."""
        contract, settings = self.model.contract, self.settings
        episodes, cells = task.shape
        shape = (cells, settings.plans, contract.horizon, contract.latent_size)
        draw = [stream.policy.standard_normal(shape, dtype=np.float32) for stream in task.streams]
        start, levels = plan_start(settings, np.stack(draw), self._last)
        inputs = (latent, field, torch.from_numpy(start).flatten(0, 1))
        at_a_time = max(1, PLANS_AT_A_TIME // settings.plans)
        parts = zip(*(torch.split(one, at_a_time) for one in inputs), strict=True)
        taken = [self._plan(now, heard, noisy, levels) for now, heard, noisy in parts]
        plans, probabilities = zip(*taken, strict=True)
        self._last = torch.cat(plans).view(episodes, cells, *shape[2:]).numpy()
        return torch.cat(probabilities)

    def _plan(
        self, latent: Tensor, field: Tensor, start: Tensor, levels: list[float]
    ) -> tuple[Tensor, Tensor]:
        """Return the plans taken `[B, H, Z]` and the probabilities of their first actions `[B, A]`.

        Args:
            latent: Latents `[B, Z]`.
            field: Mean fields `[B, M]`.
            start: Where the plans start `[B, N, H, Z]`.
            levels: Levels to go through.
        """
        settings, model = self.settings, self.model
        latent = latent.repeat_interleave(settings.plans, dim=0)
        field = field.repeat_interleave(settings.plans, dim=0)
        rows = len(latent)

        scale = torch.full((rows,), settings.guidance_scale if settings.guides else 0.0)

        def denoise(plan: Tensor, level: float) -> Tensor:
            levels = torch.full((rows,), level)
            if self._student is not None:
                clean: Tensor = self._student(
                    model.contract.task, plan, levels, latent, field, scale
                )
                return clean
            if not settings.guides:
                return model.denoise(plan, levels, latent, field)
            return model.guided(plan, levels, latent, field, scale)

        plans = solve(denoise, start.flatten(0, 1), SOLVERS[settings.solver](levels))
        returns = model.expected_return(plans, latent, field).view(-1, settings.plans)
        best = returns.argmax(dim=1) + settings.plans * torch.arange(len(returns))
        return plans[best], model.actions(plans[best], latent[best])[:, 0]
