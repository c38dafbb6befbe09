"""Our own plans in torch, as training has them: what the graphs of a bundle are compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from networld_export.bench.others import Plan
from networld_export.plan_graphs import FusedPlan
from networld_runtime.contract import Contract
from networld_runtime.levels import level_grid
from networld_runtime.solver import dpm_solver
from networld_runtime.step_inputs import step_inputs
from networld_training.distillation.settings import DistillationSettings
from networld_training.distillation.student import PlanShape, Student
from networld_training.model.world_model import ModelSize, TaskModel, WorldModel


def distilled_plan(contract: Contract, steps: int, candidates: int, compiled: bool) -> Plan:
    """Return what the graph of a whole plan does, eager or compiled by torch; weights are random."""
    model, student = _networks(contract)
    module = FusedPlan(model, student).eval().requires_grad_(False)
    grid = dpm_solver(level_grid(steps))
    features, *factors = map(torch.from_numpy, step_inputs(grid, 0.3).values())
    given = (features, *_situation(contract), *factors)
    run: Callable[..., tuple[Tensor, ...]] = torch.compile(module) if compiled else module
    noise = torch.randn(
        candidates, contract.horizon * contract.latent_size
    )  # ours is drawn before, too

    def plan() -> Tensor:
        with torch.no_grad():
            _, returns, actions = run(noise, *given)
            return actions[returns.argmax(), : contract.action_size]

    return plan


def guided_plan(contract: Contract, steps: int, candidates: int) -> Plan:
    """Return a plan by the full denoiser with the classifier's gradient in every step, eager."""
    model, _ = _networks(contract)
    grid = dpm_solver(level_grid(steps))
    latent, field = (one.expand(candidates, -1) for one in _situation(contract))
    scale = torch.full((candidates,), 0.3)
    shape = (candidates, contract.horizon, contract.latent_size)

    def plan() -> Tensor:
        with torch.no_grad():
            plans, previous = torch.randn(shape), torch.zeros(shape)
            for step in grid:
                level = torch.full((candidates,), step.level)
                clean = model.guided(plans, level, latent, field, scale)
                plans = step.noisy * plans + step.clean * clean + step.previous * previous
                previous = clean
            best = model.expected_return(plans, latent, field).argmax()
            return model.actions(plans, latent)[best, 0]

    return plan


def _networks(contract: Contract) -> tuple[TaskModel, Student]:
    torch.manual_seed(0)
    model = WorldModel({contract.task: contract}, ModelSize()).eval().requires_grad_(False)
    student = Student((contract.task,), PlanShape.of(contract), DistillationSettings().hidden)
    return model.for_task(contract.task), student.eval().requires_grad_(False)


def _situation(contract: Contract) -> tuple[Tensor, Tensor]:
    return torch.zeros(1, contract.latent_size), torch.zeros(1, contract.mean_field_size)
