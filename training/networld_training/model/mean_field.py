"""The mean field in training: what quantised, lost and averaged messages leave of the latents."""

from __future__ import annotations

import torch
from torch import Tensor

from networld_runtime.mesh.message import STEPS


def quantise(values: Tensor, steps: int = STEPS) -> Tensor:
    """Round values in [-1, 1] to the steps of a message; the gradient passes straight through."""
    rounded = torch.round(values * steps) / steps
    return values + (rounded - values).detach()


def mean_field(message: Tensor, neighbours: Tensor, heard: Tensor | None = None) -> Tensor:
    """Average the neighbours' quantised latents.

    Args:
        message: What the cells told in the slot before, the first entries of their latents `[B, K, M]`.
        neighbours: Indices of each cell's neighbours `[K, n]`.
        heard: 1 where a message arrived `[B, K, n]`; None if all did.

    Returns:
        Mean over the messages heard, then the share of neighbours heard `[B, K, M + 1]`; zeros with
        share 0 where none was heard.
    """
    received = quantise(message)[:, neighbours]
    if heard is None:
        heard = torch.ones(received.shape[:3], device=message.device)
    return average(received, heard)


def average(received: Tensor, heard: Tensor, weight: Tensor | None = None) -> Tensor:
    """Average what each cell has of its neighbours.

    Args:
        received: Messages `[B, K, n, M]`.
        heard: 1 where a message counts, else 0 `[B, K, n]`.
        weight: How much it counts, above 0 `[B, K, n]`; None weighs all alike.

    Returns:
        As `mean_field`.
    """
    count = heard.sum(dim=2)
    weighed = heard if weight is None else heard * weight
    whole = torch.where(count > 0, weighed.sum(dim=2), 1.0)
    mean = (received * weighed.unsqueeze(-1)).sum(dim=2) / whole.unsqueeze(-1)
    return torch.cat([mean, (count / heard.shape[2]).unsqueeze(-1)], dim=-1)


def lose_messages(shape: tuple[int, ...], share: float, generator: torch.Generator) -> Tensor:
    """Draw which messages arrive, `shape = (B, K, n)`.

    In a share of the cells a loss rate is drawn uniformly; in the others every message arrives.
    """
    cells = shape[:2]
    rate = torch.rand(cells, generator=generator)
    rate = rate * (torch.rand(cells, generator=generator) < share)
    return (torch.rand(shape, generator=generator) >= rate.unsqueeze(-1)).float()
