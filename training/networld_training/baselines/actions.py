"""Actions of any task as categorical distributions, one for each component.

A number is the nearest of its bins, "off" a bin of its own; a choice is one of its labels, as far as the
action mask allows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from networld_runtime.contract import ActionBins
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.tasks.spec import Action, Choice, TaskSpec

FORBIDDEN = -1e9
"""Logit of a choice that the mask forbids; finite, so that its product with a probability of 0 is 0."""


class ActionCode:
    """Turns native actions into bins and logits into native actions.

    Args:
        spec: The task.

    Attributes:
        sizes: Bins of each component.
        size: Logits of an action, those of its components side by side.
    """

    def __init__(self, spec: TaskSpec) -> None:
        self.spec = spec
        self.sizes = tuple(action.size for action in spec.actions)
        self.size = sum(self.sizes)

    def bins(self, native: npt.NDArray[np.floating]) -> Tensor:
        """Return the bins `[..., C]` that are nearest to native actions `[..., C]`."""
        found = [_bin(action, native[..., i]) for i, action in enumerate(self.spec.actions)]
        return torch.from_numpy(np.stack(found, axis=-1))

    def native(self, bins: Tensor) -> FloatArray:
        """Return the native actions `[..., C]` of bins `[..., C]`."""
        found = [_value(action, bins[..., i].numpy()) for i, action in enumerate(self.spec.actions)]
        return np.stack(found, axis=-1)

    def allowed(self, logits: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Split logits `[..., size]` by component; what the mask `[..., A]` forbids gets `FORBIDDEN`."""
        parts = list(torch.split(logits, list(self.sizes), dim=-1))
        if mask is not None:
            for index, action in enumerate(self.spec.actions):
                if isinstance(action, Choice) and action.masked:
                    parts[index] = parts[index].masked_fill(~mask, FORBIDDEN)
        return parts

    def log_likelihood(self, logits: Tensor, bins: Tensor, mask: Tensor | None) -> Tensor:
        """Return the logarithm of the probability `[...]` of actions `[..., C]` under logits."""
        parts = self.allowed(logits, mask)
        each = [
            part.log_softmax(dim=-1).gather(-1, bins[..., index, None])[..., 0]
            for index, part in enumerate(parts)
        ]
        return torch.stack(each).sum(dim=0)

    def best(self, logits: Tensor, mask: Tensor | None) -> Tensor:
        """Return the most probable bins `[..., C]` that are allowed."""
        return torch.stack([part.argmax(dim=-1) for part in self.allowed(logits, mask)], dim=-1)

    def one_hot(self, bins: Tensor) -> Tensor:
        """Return actions `[..., C]` as zeros and ones `[..., size]`."""
        parts = [
            torch.nn.functional.one_hot(bins[..., index], size)
            for index, size in enumerate(self.sizes)
        ]
        return torch.cat(parts, dim=-1).float()


def _bin(action: Action, native: npt.NDArray[np.floating]) -> IntArray:
    if isinstance(action, Choice):
        return np.asarray(native, dtype=np.int64)
    nearest = np.rint((native - action.low) / _step(action)).astype(np.int64)
    ordered: IntArray = np.clip(nearest, 0, action.count - 1)
    if action.off is None:
        return ordered
    return np.asarray(np.where(native < action.low, 0, ordered + 1))


def _value(action: Action, bins: IntArray) -> FloatArray:
    if isinstance(action, Choice):
        return bins.astype(np.float64)
    ordered = bins if action.off is None else bins - 1
    values: FloatArray = action.low + ordered.astype(np.float64) * _step(action)
    return values if action.off is None else np.where(bins == 0, action.off, values)


def _step(action: ActionBins) -> float:
    return (action.high - action.low) / max(action.count - 1, 1)
