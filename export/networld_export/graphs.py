"""The graphs of a task, as torch functions of their inputs with static shapes.

Inputs and outputs are those of `networld_runtime.bundle.graph_signature`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from networld_runtime.bundle import graph_signature
from networld_runtime.contract import Action
from networld_runtime.sessions import Shape
from networld_training.model.components import action_probabilities
from networld_training.model.losses import Batch, losses
from networld_training.model.world_model import TaskModel

Function = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class GraphSource:
    """A graph before export.

    Attributes:
        name: One of `networld_runtime.bundle.GRAPHS`.
        function: Takes the inputs in order and returns the outputs in order.
        inputs: Names and shapes.
        outputs: Names and shapes.
        actions: Components of the task's actions.
    """

    name: str
    function: Function
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]
    actions: tuple[Action, ...]

    def example(self, seed: int) -> tuple[Tensor, ...]:
        """Draw inputs of plausible values: latents within [-1, 1], levels, probabilities, weights."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(
            _draw(name, shape, generator, self.actions) for name, shape in self.inputs.items()
        )


def graph_sources(
    model: TaskModel, candidates: int, adaptation_batch: int
) -> tuple[GraphSource, ...]:
    """Return the graphs of one task."""
    functions: dict[str, Function] = {
        "encoder": lambda observation: (model.encode(observation),),
        "denoiser": _denoiser(model),
        "head": _head(model),
        "policy": lambda latent, field, adapter: (model.act(latent, field, adapter),),
        "gradient": _gradient(model),
    }
    sources = []
    for name, function in functions.items():
        inputs, outputs = graph_signature(
            name, model.contract, candidates, model.adapter_size, adaptation_batch
        )
        sources.append(GraphSource(name, function, inputs, outputs, model.contract.actions))
    return tuple(sources)


def _denoiser(model: TaskModel) -> Function:
    def denoiser(
        plan: Tensor, level: Tensor, latent: Tensor, field: Tensor, scale: Tensor, adapter: Tensor
    ) -> tuple[Tensor, ...]:
        rows = plan.shape[0]
        return (
            model.guided(
                plan,
                level.expand(rows),
                latent.expand(rows, -1),
                field.expand(rows, -1),
                scale.expand(rows),
                adapter,
            ),
        )

    return denoiser


def _head(model: TaskModel) -> Function:
    def head(plan: Tensor, latent: Tensor, field: Tensor, adapter: Tensor) -> tuple[Tensor, ...]:
        rows = plan.shape[0]
        latent, field = latent.expand(rows, -1), field.expand(rows, -1)
        actions = model.actions(plan, latent, adapter)
        logits = model.classifier(latent, field, actions, adapter)
        return torch.softmax(logits, dim=-1) @ model.centres, actions[:, 0]

    return head


def _gradient(model: TaskModel) -> Function:
    def gradient(
        latent: Tensor,
        plan: Tensor,
        field: Tensor,
        action: Tensor,
        returns: Tensor,
        noise: Tensor,
        level: Tensor,
        weight: Tensor,
        adapter: Tensor,
    ) -> tuple[Tensor, ...]:
        batch = Batch(latent, plan, field, action, returns, noise, level, weight)

        def loss(vector: Tensor) -> Tensor:
            return losses(model, batch, vector).total()

        slope, value = torch.func.grad_and_value(loss)(adapter)
        return value.reshape(1), slope

    return gradient


def _draw(
    name: str, shape: Shape, generator: torch.Generator, actions: tuple[Action, ...]
) -> Tensor:
    if name in {"in_action", "in_return"}:
        logits = 4 * torch.randn(shape, generator=generator)
        one = name == "in_return"
        return torch.softmax(logits, dim=-1) if one else action_probabilities(logits, actions)
    if name in {"in_level", "in_weight"}:
        return 0.05 + 0.9 * torch.rand(shape, generator=generator)
    if name == "in_guidance_scale":
        return torch.full(shape, 0.3)
    if name == "in_adapter":
        return 0.05 * torch.randn(shape, generator=generator)
    if name in {"in_noise", "in_plan"}:
        return torch.randn(shape, generator=generator).clamp(-3, 3)
    return 2 * torch.rand(shape, generator=generator) - 1
