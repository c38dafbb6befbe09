"""The five networks of the world model. They know shapes, not wireless and not diffusion."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from networld_training.model.layers import (
    AdaptedPerceptron,
    Block,
    level_features,
    plain_perceptron,
    silu,
)


class Encoder(nn.Module):
    """Observation to latent in [-1, 1], and back for the reconstruction loss.

    A latent begins with the situation that a cell is in and ends with traces of what was done about it.
    The situation is blind to the features that show past behaviour: a policy that saw those would learn
    how the logged rules went on, and mistake its own past for theirs.

    Args:
        observation_size: Features `D`.
        situation_size: Entries of the situation.
        trace_size: Entries of the traces.
        hidden: Hidden width.
        behaviour: 1 for features that show past behaviour, 0 for others `[D]`.
    """

    behaviour: Tensor

    def __init__(
        self,
        observation_size: int,
        situation_size: int,
        trace_size: int,
        hidden: int,
        behaviour: Sequence[float],
    ) -> None:
        super().__init__()
        self.register_buffer("behaviour", torch.tensor(behaviour, dtype=torch.float32))
        self.situation = plain_perceptron(observation_size, hidden, situation_size)
        self.traces = plain_perceptron(observation_size, hidden // 2, trace_size)
        self.decode = nn.Sequential(
            nn.Linear(situation_size + trace_size, hidden),
            nn.SiLU(),
            nn.Linear(hidden, observation_size),
        )

    def forward(self, observation: Tensor) -> Tensor:
        """Map normalised observations `[..., D]` to latents `[..., Z]`."""
        situation = self.situation(observation * (1 - self.behaviour))
        return torch.tanh(torch.cat([situation, self.traces(observation)], dim=-1))

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Map latents `[..., Z]` back to normalised observations `[..., D]`."""
        observation: Tensor = self.decode(latent)
        return observation


class Denoiser(nn.Module):
    """Predicts the clean plan from a noisy one, its level, the current latent and the mean field."""

    def __init__(
        self,
        latent_size: int,
        mean_field_size: int,
        horizon: int,
        width: int,
        depth: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.width = width
        self.embed = nn.Linear(latent_size, width)
        self.position = nn.Parameter(0.02 * torch.randn(horizon + 1, width))
        self.level = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.condition = nn.Linear(latent_size + mean_field_size, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, latent_size)
        for layer in (self.modulation, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        plan: Tensor,
        level: Tensor,
        latent: Tensor,
        mean_field: Tensor,
        task: Tensor,
    ) -> Tensor:
        """Return the clean plan `[N, H, Z]`.

        Args:
            plan: Noisy plan `[N, H, Z]`.
            level: Noise level `[N]`.
            latent: Current latent `[N, Z]`, token 0.
            mean_field: `[N, M]`.
            task: Task embedding `[width]`.
        """
        tokens = torch.cat([latent.unsqueeze(1), plan], dim=1)
        tokens = self.embed(tokens) + self.position
        condition = self.level(level_features(level, self.width)) + task
        condition = condition + self.condition(torch.cat([latent, mean_field], dim=-1))
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(silu(condition)).unsqueeze(1).chunk(2, dim=-1)
        tokens = self.norm(tokens[:, 1:]) * (1 + scale) + shift
        clean: Tensor = self.last(tokens)
        return torch.clamp(clean, -1.0, 1.0)


class InverseDynamics(nn.Module):
    """Reads the action between two consecutive latents, as logits over bins and choices."""

    def __init__(self, latent_size: int, action_size: int, hidden: int) -> None:
        super().__init__()
        self.net = plain_perceptron(2 * latent_size, hidden, action_size)

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Map latents `[..., Z]` and `[..., Z]` to logits `[..., A]`."""
        logits: Tensor = self.net(torch.cat([before, after], dim=-1))
        return logits


class Policy(nn.Module):
    """Chooses an action in one pass, as logits over bins and choices, from situation and mean field."""

    def __init__(
        self, situation_size: int, mean_field_size: int, action_size: int, hidden: int, rank: int
    ) -> None:
        super().__init__()
        self.situation_size = situation_size
        self.net = AdaptedPerceptron(situation_size + mean_field_size, hidden, action_size, rank)

    def forward(self, latent: Tensor, mean_field: Tensor, adapter: Tensor | None = None) -> Tensor:
        """Map latents `[..., Z]` and mean fields `[..., M]` to logits `[..., A]`."""
        situation = latent[..., : self.situation_size]
        logits: Tensor = self.net(torch.cat([situation, mean_field], dim=-1), adapter)
        return logits


class Classifier(nn.Module):
    """Predicts the two-hot distribution of a plan's return from what the plan does.

    Its inputs are the situation that the present latent shows, the mean field and the action probabilities
    that inverse dynamics reads from the plan, never the later latents themselves: those also hold luck, and
    a classifier that sees luck prefers plans that hope for it.
    """

    def __init__(
        self,
        situation_size: int,
        mean_field_size: int,
        horizon: int,
        action_size: int,
        return_size: int,
        hidden: int,
    ) -> None:
        super().__init__()
        self.situation_size = situation_size
        inputs = situation_size + mean_field_size + horizon * action_size
        self.net = plain_perceptron(inputs, hidden, return_size)

    def forward(self, latent: Tensor, mean_field: Tensor, actions: Tensor) -> Tensor:
        """Map `[N, Z]`, `[N, M]` and `[N, H, A]` to return logits `[N, R]`."""
        situation = latent[..., : self.situation_size]
        x = torch.cat([situation, mean_field, actions.flatten(1)], dim=-1)
        logits: Tensor = self.net(x)
        return logits
