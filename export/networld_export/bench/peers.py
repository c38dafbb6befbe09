"""Other planners, as large as published and built here from their figures: only their time means anything.

Sizes: Diffuser (Janner et al. 2022) and Decision Diffuser (Ajay et al. 2023) as CleanDiffuser (Dong et al.
2024) ships them, Diffusion Veteran (Lu et al. 2025), TD-MPC2 (Hansen et al. 2024).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

STATE, ACTION = 17, 6
"""Entries of a state and an action of HalfCheetah, on which their figures were published."""


class Transformer(nn.Module):
    """A diffusion transformer over states (adaLN-zero, Peebles and Xie 2023).

    Args:
        width: Width of a token.
        depth: Blocks.
        heads: Heads of attention.
    """

    def __init__(self, width: int, depth: int, heads: int = 4) -> None:
        super().__init__()
        self.width = width
        self.embed, self.read = nn.Linear(STATE, width), nn.Linear(width, STATE)
        self.time = nn.Sequential(nn.Linear(width, width), nn.Mish(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)

    def forward(self, plan: Tensor, time: Tensor) -> Tensor:
        """Return what is predicted `[N, H, STATE]` of noisy plans at times `[N]`."""
        condition = self.time(_waves(time, self.width))
        tokens = self.embed(plan) + _waves(torch.arange(plan.shape[1]).float(), self.width)
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        predicted: Tensor = self.read(self.norm(tokens) * (1 + scale) + shift)
        return predicted


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width)
        )
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition)[
            :, None
        ].chunk(6, dim=-1)
        x = self.norms[0](tokens) * (1 + scale_a) + shift_a
        tokens = tokens + gate_a * self.attention(x, x, x, need_weights=False)[0]
        x = self.norms[1](tokens) * (1 + scale_f) + shift_f
        result: Tensor = tokens + gate_f * self.feed(x)
        return result


class _Residual(nn.Module):
    """Two convolutions over time, with the noise level between them."""

    def __init__(self, before: int, after: int, embedding: int, width: int = 5) -> None:
        super().__init__()

        def convolution(inputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv1d(inputs, after, width, padding=width // 2),
                nn.GroupNorm(8, after),
                nn.Mish(),
            )

        self.first, self.second = convolution(before), convolution(after)
        self.time = nn.Sequential(nn.Mish(), nn.Linear(embedding, after))
        self.past = nn.Conv1d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x) + self.time(embedding)[..., None]) + self.past(x)
        return result


class UNet(nn.Module):
    """Diffuser's temporal U-Net over states and actions.

    Args:
        channels: Channels of the levels, from the finest.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128, 256)) -> None:
        super().__init__()
        size, embedding = STATE + ACTION, channels[0]
        self.embedding = embedding
        self.time = nn.Sequential(
            nn.Linear(embedding, 4 * embedding), nn.Mish(), nn.Linear(4 * embedding, embedding)
        )
        pairs = list(pairwise((size, *channels)))
        self.down = nn.ModuleList(_Pair(before, after, embedding) for before, after in pairs)
        self.narrow = nn.ModuleList(
            nn.Conv1d(width, width, 3, stride=2, padding=1) for width in channels[:-1]
        )
        last = channels[-1]
        self.middle = _Pair(last, last, embedding)
        self.up = nn.ModuleList(
            _Pair(2 * after, before, embedding) for before, after in reversed(pairs[1:])
        )
        self.widen = nn.ModuleList(
            nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)
            for width in reversed(channels[:-1])
        )
        self.read = nn.Conv1d(channels[0], size, 1)

    def forward(self, plan: Tensor, time: Tensor) -> Tensor:
        """Return what is predicted `[N, H, STATE + ACTION]` of noisy plans at times `[N]`."""
        embedding = self.time(_waves(time, self.embedding))
        x, seen = plan.transpose(1, 2), []
        for level, block in enumerate(self.down):
            x = block(x, embedding)
            seen.append(x)
            if level < len(self.narrow):
                x = self.narrow[level](x)
        x = self.middle(x, embedding)
        for block, widen in zip(self.up, self.widen, strict=True):
            x = widen(block(torch.cat([x, seen.pop()], dim=1), embedding))
        predicted: Tensor = self.read(x).transpose(1, 2)
        return predicted


class Value(nn.Module):
    """Diffuser's value network: the way down of its U-Net, and a number at the end.

    Args:
        channels: Channels of the levels.
        horizon: States of a plan.
    """

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128, 200), horizon: int = 32) -> None:
        super().__init__()
        embedding = channels[0]
        self.embedding = embedding
        self.time = nn.Sequential(
            nn.Linear(embedding, 4 * embedding), nn.Mish(), nn.Linear(4 * embedding, embedding)
        )
        self.down = nn.ModuleList(
            _Pair(before, after, embedding)
            for before, after in pairwise((STATE + ACTION, *channels))
        )
        self.narrow = nn.ModuleList(
            nn.Conv1d(width, width, 3, stride=2, padding=1) for width in channels
        )
        left = channels[-1] * (horizon >> len(channels))
        self.read = nn.Sequential(
            nn.Linear(left + embedding, left // 2), nn.Mish(), nn.Linear(left // 2, 1)
        )

    def forward(self, plan: Tensor, time: Tensor) -> Tensor:
        """Return the values `[N]` of noisy plans at times `[N]`."""
        embedding = self.time(_waves(time, self.embedding))
        x = plan.transpose(1, 2)
        for block, narrow in zip(self.down, self.narrow, strict=True):
            x = narrow(block(x, embedding))
        value: Tensor = self.read(torch.cat([x.flatten(1), embedding], dim=1))[:, 0]
        return value


class _Pair(nn.Module):
    def __init__(self, before: int, after: int, embedding: int) -> None:
        super().__init__()
        self.first = _Residual(before, after, embedding)
        self.second = _Residual(after, after, embedding)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        result: Tensor = self.second(self.first(x, embedding), embedding)
        return result


def perceptron(*sizes: int) -> nn.Sequential:
    """Return linear layers with layer norm and Mish between them, as TD-MPC2 has them."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.Mish()]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


def size_of(*modules: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(one.numel() for module in modules for one in module.parameters())


def _waves(values: Tensor, width: int) -> Tensor:
    """Return sines and cosines `[N, width]` of values `[N]`."""
    rates = torch.exp(torch.linspace(0.0, -math.log(10_000.0), width // 2))
    angles = values[:, None] * rates
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
