"""The world model of one or several tasks: its networks, what they are asked, and the guided denoiser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from networld_runtime.contract import Contract
from networld_training.model.components import action_probabilities
from networld_training.model.layers import assign_offsets
from networld_training.model.networks import (
    Classifier,
    Denoiser,
    Encoder,
    InverseDynamics,
    Policy,
)

FAINT_GRADIENT = 0.01
"""Root mean square of a gradient of the return, below what is seen on any plan of a trained model."""


@dataclass(frozen=True)
class ModelSize:
    """Widths of the networks.

    Attributes:
        width: Token width of the denoiser.
        depth: Blocks of the denoiser.
        heads: Attention heads; divides `width`.
        hidden: Hidden width of encoder, inverse dynamics, classifier and policy.
        rank: Rank of the branches of the policy that an adapter holds.
        trace: Entries of a latent that may show past behaviour.
    """

    width: int = 64
    depth: int = 2
    heads: int = 4
    hidden: int = 256
    rank: int = 4
    trace: int = 8


class WorldModel(nn.Module):
    """One denoiser for all tasks; encoder, inverse dynamics, classifier and policy for each.

    Attributes:
        contracts: What each task's observations, actions and returns look like.
        size: Widths of the networks.

    Args:
        contracts: As above.
        size: As above.
        behaviour: Features of each task that show past behaviour; weights that are loaded bring their own.
    """

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        size: ModelSize,
        behaviour: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.contracts = dict(contracts)
        self.size = size
        shared = next(iter(self.contracts.values()))
        latent_size, horizon = shared.latent_size, shared.horizon
        field_size, situation = shared.mean_field_size, latent_size - size.trace
        self.denoiser = Denoiser(
            latent_size, field_size, horizon, size.width, size.depth, size.heads
        )
        self.task = nn.ParameterDict(
            {name: nn.Parameter(0.1 * torch.randn(size.width)) for name in self.contracts}
        )
        self.encoders = nn.ModuleDict()
        self.inverse = nn.ModuleDict()
        self.classifiers = nn.ModuleDict()
        self.policies = nn.ModuleDict()
        for name, contract in self.contracts.items():
            actions, returns = contract.action_size, contract.returns.count
            shown = behaviour.get(name, ())
            flags = [float(feature.name in shown) for feature in contract.features]
            self.encoders[name] = Encoder(
                contract.observation_size, situation, size.trace, size.hidden, flags
            )
            self.inverse[name] = InverseDynamics(latent_size, actions, size.hidden // 2)
            self.classifiers[name] = Classifier(
                situation, field_size, horizon, actions, returns, size.hidden
            )
            self.policies[name] = Policy(situation, field_size, actions, size.hidden, size.rank)

    def for_task(self, name: str) -> TaskModel:
        """Return the view of one task, with its adapter layout assigned."""
        return TaskModel(self, name)


class TaskModel(nn.Module):
    """One task of a world model: the functions that planning, adaptation and export need.

    Attributes:
        contract: The task's contract.
        adapter_size: Entries of the adapter vector; the policy alone adapts.
    """

    centres: Tensor

    def __init__(self, model: WorldModel, name: str) -> None:
        super().__init__()
        self.contract = model.contracts[name]
        self.encoder = cast(Encoder, model.encoders[name])
        self.denoiser = model.denoiser
        self.inverse = cast(InverseDynamics, model.inverse[name])
        self.classifier = cast(Classifier, model.classifiers[name])
        self.policy = cast(Policy, model.policies[name])
        self.task = model.task[name]
        returns = self.contract.returns
        self.register_buffer("centres", torch.linspace(returns.low, returns.high, returns.count))
        self.adapter_size = assign_offsets(self.policy)

    def encode(self, observation: Tensor) -> Tensor:
        """Map normalised observations `[..., D]` to latents `[..., Z]`."""
        latent: Tensor = self.encoder(observation)
        return latent

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Map latents `[..., Z]` back to normalised observations `[..., D]`."""
        observation: Tensor = self.encoder.reconstruct(latent)
        return observation

    def denoise(
        self,
        plan: Tensor,
        level: Tensor,
        latent: Tensor,
        mean_field: Tensor,
    ) -> Tensor:
        """Return the clean plan `[N, H, Z]` without guidance; arguments as in `Denoiser.forward`."""
        clean: Tensor = self.denoiser(plan, level, latent, mean_field, self.task)
        return clean

    def actions(self, plan: Tensor, latent: Tensor) -> Tensor:
        """Return the action probabilities `[N, H, A]` that inverse dynamics reads from plans."""
        before = torch.cat([latent.unsqueeze(1), plan[:, :-1]], dim=1)
        return action_probabilities(self.inverse(before, plan), self.contract.actions)

    def act(self, latent: Tensor, mean_field: Tensor, adapter: Tensor | None = None) -> Tensor:
        """Return the policy's action probabilities `[N, A]` for `[N, Z]` and `[N, M]`."""
        return action_probabilities(self.policy(latent, mean_field, adapter), self.contract.actions)

    def expected_return(self, plan: Tensor, latent: Tensor, mean_field: Tensor) -> Tensor:
        """Return the classifier's expected return `[N]` of plans `[N, H, Z]`."""
        logits = self.classifier(latent, mean_field, self.actions(plan, latent))
        return torch.softmax(logits, dim=-1) @ self.centres

    def two_hot_return(self, returns: Tensor) -> Tensor:
        """Return the two-hot target `[..., R]` of returns; those beyond the bins count as the nearest."""
        returns = returns.clamp(float(self.centres[0]), float(self.centres[-1])).unsqueeze(-1)
        step = self.centres[1] - self.centres[0]
        return torch.clamp(1 - (returns - self.centres).abs() / step, min=0)

    def guided(
        self,
        plan: Tensor,
        level: Tensor,
        latent: Tensor,
        mean_field: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Return the clean plan, moved along the classifier's gradient at that clean plan.

        The step is `scale * noise(level)**2 * g / rms(g)` for each plan: its length does not depend on the
        units of the return, and it fades as the plan becomes clean. It fades as well where the gradient
        is below `FAINT_GRADIENT`: there its direction is rounding error.
        """
        clean = self.denoise(plan, level, latent, mean_field)

        def total(candidate: Tensor) -> Tensor:
            return self.expected_return(candidate, latent, mean_field).sum()

        gradient = torch.func.grad(total)(clean)
        square = (gradient * gradient).mean(dim=(1, 2), keepdim=True)
        rms = torch.sqrt(square + FAINT_GRADIENT * FAINT_GRADIENT)
        noise = torch.sin(0.5 * math.pi * level)
        step = (scale * noise * noise)[:, None, None] * gradient / rms
        return torch.clamp(clean + step, -1.0, 1.0)
