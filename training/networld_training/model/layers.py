"""Building blocks whose forward and backward decompose into exportable operators.

Attention is written as plain matrix products and SiLU as `x * sigmoid(x)`: the gradient of a fused kernel
has no ONNX form.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn


def silu(x: Tensor) -> Tensor:
    """Return `x * sigmoid(x)` (Elfwing et al. 2018)."""
    return x * torch.sigmoid(x)


class AdaptedLinear(nn.Module):
    """A linear layer with a low-rank branch whose output matrix lives in the adapter vector.

    `y = W x + b + D (A x)` with a frozen random `A [rank, inputs]` and `D [outputs, rank]` read from the
    adapter (LoRA-FA, Zhang et al. 2023). A zero adapter is exactly the base layer.

    Attributes:
        offset: Where this layer's matrix starts in the adapter vector; set by `assign_offsets`.
    """

    projection: Tensor

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs)
        self.register_buffer("projection", torch.randn(inputs, rank) / math.sqrt(inputs))
        self.rank = rank
        self.outputs = outputs
        self.offset = -1

    @property
    def adapter_size(self) -> int:
        """Entries of the adapter vector that belong to this layer."""
        return self.rank * self.outputs

    def forward(self, x: Tensor, adapter: Tensor | None = None) -> Tensor:
        """Map `x [..., inputs]` to `[..., outputs]`; `adapter [P]` or None for the base layer."""
        y: Tensor = self.base(x)
        if adapter is None:
            return y
        delta = adapter[self.offset : self.offset + self.adapter_size]
        return y + (x @ self.projection) @ delta.reshape(self.rank, self.outputs)


def assign_offsets(module: nn.Module) -> int:
    """Give every adapted layer of a module its place in the adapter; return the adapter's size."""
    offset = 0
    for layer in module.modules():
        if isinstance(layer, AdaptedLinear):
            layer.offset = offset
            offset += layer.adapter_size
    return offset


class AdaptedPerceptron(nn.Module):
    """Adapted linear layers with layer norm and SiLU between them."""

    def __init__(self, inputs: int, hidden: int, outputs: int, rank: int, depth: int = 2) -> None:
        super().__init__()
        sizes = [inputs] + [hidden] * depth
        self.layers = nn.ModuleList(
            AdaptedLinear(before, after, rank) for before, after in pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(depth))
        self.last = AdaptedLinear(hidden, outputs, rank)

    def forward(self, x: Tensor, adapter: Tensor | None = None) -> Tensor:
        """Map `x [..., inputs]` to `[..., outputs]`."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = silu(norm(layer(x, adapter)))
        y: Tensor = self.last(x, adapter)
        return y


def plain_perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return two hidden layers with layer norm and SiLU, and a linear one; no adapter."""
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.LayerNorm(hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.LayerNorm(hidden),
        nn.SiLU(),
        nn.Linear(hidden, outputs),
    )


class Block(nn.Module):
    """A transformer block, modulated by a condition (adaLN-zero, Peebles and Xie 2023)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_feed = nn.LayerNorm(width, elementwise_affine=False)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Map `tokens [N, T, width]` under `condition [N, width]`."""
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (
            self.modulation(silu(condition)).unsqueeze(1).chunk(6, dim=-1)
        )
        x = self.norm_attention(tokens) * (1 + scale_a) + shift_a
        attended: Tensor = self.merge(self._attend(x))
        tokens = tokens + gate_a * attended
        x = self.norm_feed(tokens) * (1 + scale_f) + shift_f
        fed: Tensor = self.contract(silu(self.expand(x)))
        result: Tensor = tokens + gate_f * fed
        return result

    def _attend(self, x: Tensor) -> Tensor:
        plans, length, width = x.shape
        depth = width // self.heads
        # n t (3 h d) -> 3 x n h t d
        packed = self.query_key_value(x).reshape(plans, length, 3, self.heads, depth)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(depth), dim=-1)
        mixed: Tensor = weights @ value
        return mixed.permute(0, 2, 1, 3).reshape(plans, length, width)


def level_features(level: Tensor, width: int) -> Tensor:
    """Return sinusoidal features `[N, width]` of noise levels `[N]` in [0, 1]."""
    frequencies = torch.exp(
        torch.linspace(0.0, math.log(1000.0), width // 2, device=level.device, dtype=level.dtype)
    )
    angles = level[:, None] * frequencies[None, :]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
