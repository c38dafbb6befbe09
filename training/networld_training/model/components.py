"""Inverse dynamics' outputs, component by component: what is normalised and compared on its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from networld_runtime.contract import Action


def action_probabilities(logits: Tensor, actions: Sequence[Action]) -> Tensor:
    """Return the probabilities `[..., A]` of logits `[..., A]`; those of each component add up to 1."""
    parts = [torch.softmax(part, dim=-1) for part in split_components(logits, actions)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def action_cross_entropy(logits: Tensor, target: Tensor, actions: Sequence[Action]) -> Tensor:
    """Return the cross-entropies `[...]` with targets `[..., A]`, the sum over the components."""
    parts = [torch.log_softmax(part, dim=-1) for part in split_components(logits, actions)]
    return -(target * torch.cat(parts, dim=-1)).sum(dim=-1)


def split_components(values: Tensor, actions: Sequence[Action]) -> tuple[Tensor, ...]:
    """Return the part of each component of `[..., A]`."""
    if len(actions) == 1:
        return (values,)
    return torch.split(values, [action.size for action in actions], dim=-1)
