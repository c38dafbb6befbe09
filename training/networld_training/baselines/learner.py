"""What the training loop asks of an offline method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Draw = Callable[[int], Tensor]
"""Standard normal numbers `[E, K, count]`, from the episodes' own streams."""


class Learner(nn.Module, ABC):
    """Networks and optimisers of an offline method; its state is that of a training run.

    Attributes:
        actor: What is saved as the policy.
        optimisers: All that have a state.
    """

    actor: nn.Module
    optimisers: Sequence[Optimizer]

    @abstractmethod
    def advance(self, random: torch.Generator) -> Mapping[str, float]:
        """Take one step on a batch that depends on `random` alone; return the losses."""

    def held_out_loss(self) -> float | None:
        """Return the loss on held-out episodes that early stopping heeds; None takes the last weights."""
        return None
