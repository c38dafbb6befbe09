"""The graphs of a task, as torch functions of their inputs with static shapes.

Inputs and outputs are those of `networld_runtime.bundle.graph_signature`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from networld_export.imagined_gradient import imagined_gradient
from networld_export.plan_graphs import DistilledStep, FusedPlan, Head
from networld_runtime.bundle import FUSED_STEPS, graph_signature
from networld_runtime.contract import Action, mask_size
from networld_runtime.levels import level_grid
from networld_runtime.sessions import Shape
from networld_runtime.solver import dpm_solver
from networld_runtime.step_inputs import step_inputs
from networld_runtime.two_hot import encode_mask
from networld_training.distillation.student import Student
from networld_training.model.imagination import Imagined
from networld_training.model.world_model import TaskModel

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class GraphSource:
    """A graph before export.

    Attributes:
        name: One of `networld_runtime.bundle.GRAPHS`.
        function: Takes the inputs in order and returns the outputs in order. A module where a dimension
            may have any size.
        inputs: Names and shapes.
        outputs: Names and shapes.
        actions: Components of the task's actions.
        jumps: Whether it draws choices: rounding may then decide a tie, so that all of a sample differs.
    """

    name: str
    function: Function
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    actions: tuple[Action, ...]
    jumps: bool = False

    def example(self, seed: int) -> tuple[Tensor, ...]:
        """Draw inputs of plausible values: within [-1, 1], levels, couplings, masks, shares, weights."""
        generator = torch.Generator().manual_seed(seed)
        any_size = 2 + seed % 7
        return tuple(
            _draw(
                name,
                tuple(any_size if isinstance(size, str) else size for size in shape),
                generator,
                self.actions,
            )
            for name, shape in self.inputs.items()
        )


def graph_sources(
    model: TaskModel,
    judge: Imagined,
    temperature: float,
    candidates: int,
    adaptation_batch: int,
    student: Student | None,
) -> tuple[GraphSource, ...]:
    """Return the graphs of one task.

    Args:
        model: The task's networks.
        judge: What the policy was trained by, and its adapter is.
        temperature: As in `imagined_loss`.
        candidates: Plans that the full denoiser takes.
        adaptation_batch: Slots in a batch of the gradient graph.
        student: The distilled denoiser; None leaves out its graphs.
    """
    functions: dict[str, Function] = {
        "encoder": lambda observation: (model.encode(observation),),
        "denoiser": _denoiser(model),
        "head": Head(model),
        "policy": lambda latent, field, adapter: (model.act(latent, field, adapter),),
        "gradient": imagined_gradient(model, judge, temperature),
    }
    if student is not None:
        functions["distilled"] = DistilledStep(model, student)
        functions |= {f"plan_{steps}": FusedPlan(model, student) for steps in FUSED_STEPS}
    sources = []
    for name, function in functions.items():
        inputs, outputs = graph_signature(
            name,
            model.contract,
            candidates,
            model.adapter_size,
            adaptation_batch,
            len(judge.credit.floors),
        )
        sources.append(
            GraphSource(
                name,
                function,
                inputs,
                outputs,
                model.contract.actions,
                jumps=name == "gradient",
            )
        )
    return tuple(sources)


def _denoiser(model: TaskModel) -> Function:
    def denoiser(
        plan: Tensor, level: Tensor, latent: Tensor, field: Tensor, scale: Tensor
    ) -> tuple[Tensor, ...]:
        rows = plan.shape[0]
        return (
            model.guided(
                plan,
                level.expand(rows),
                latent.expand(rows, -1),
                field.expand(rows, -1),
                scale.expand(rows),
            ),
        )

    return denoiser


def _draw(
    name: str, shape: tuple[int, ...], generator: torch.Generator, actions: tuple[Action, ...]
) -> Tensor:
    uniform = torch.rand(shape, generator=generator)
    normal = torch.randn(shape, generator=generator)
    special = {
        "in_level": 0.05 + 0.9 * uniform,
        "in_weight": 0.05 + 0.9 * uniform,
        "in_uniform": 0.05 + 0.9 * uniform,
        "in_guidance_scale": torch.full(shape, 0.3),
        "in_adapter": 0.05 * normal,
        "in_plan": normal.clamp(-3, 3),
        "in_coupling": torch.exp(3 * normal),
    }
    if name == "in_around":
        return torch.softmax(4 * normal, dim=-1)
    if name in ("in_step", "in_factors"):
        count = shape[0] if name == "in_step" else shape[0] // 3 + 1
        return torch.from_numpy(step_inputs(dpm_solver(level_grid(count)), 0.3)[name])
    if name == "in_asked":
        return torch.eye(shape[-1])[uniform.argsort(dim=-1)[..., 0]]
    if name == "in_mask":
        return torch.maximum((uniform < 0.7).float(), _always(actions))
    return special.get(name, 2 * uniform - 1)


def _always(actions: tuple[Action, ...]) -> Tensor:
    """Return 1 for the entries of a coded action that every example allows, `[A]`."""
    masked = mask_size(actions)
    return torch.from_numpy(encode_mask(np.arange(masked) == masked - 1, actions))
