"""States that last: what a cell's features show after an order, and who may give a new one."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from networld_runtime.contract import Contract
from networld_training.model.credit import Situation
from networld_training.tasks.learning import Holding

SHOWN = 1.0
HIDDEN = -1.0


class Held(nn.Module):
    """A task's `Holding` on normalised observations and coded actions.

    Choices are those of the first component, `c` of them.

    Args:
        holding: What holds.
        contract: The task's contract.
    """

    features: Tensor
    cleared: Tensor
    stuck: Tensor

    def __init__(self, holding: Holding, contract: Contract) -> None:
        super().__init__()
        place = {feature.name: index for index, feature in enumerate(contract.features)}
        self.register_buffer("features", torch.tensor([place[name] for name in holding.states]))
        self.register_buffer("cleared", torch.tensor([place[name] for name in holding.cleared]))
        stuck = torch.zeros(len(holding.states), len(holding.states))
        for state, order in holding.stuck:
            stuck[state, order] = 1.0
        self.register_buffer("stuck", stuck)
        self.turn_feature = place[holding.turn]
        self.weight = sum(holding.discount**ahead for ahead in range(1, holding.slots))

    def state(self, observation: Tensor) -> Tensor:
        """Return the state of each cell, one-hot `[..., c]`; the first one where none is shown."""
        shown = (observation[..., self.features] > 0).to(observation)
        none = 1 - shown[..., 1:].sum(dim=-1, keepdim=True)
        return torch.cat([none, shown[..., 1:]], dim=-1)

    def turn(self, observation: Tensor) -> Tensor:
        """Return 1 for cells that may change their state now, else 0 `[...]`."""
        return (observation[..., self.turn_feature] > 0).to(observation)

    def effective(self, state: Tensor, order: Tensor) -> Tensor:
        """Return orders `[..., c]` as they take effect in states `[..., c]`, all one-hot."""
        stays = ((state @ self.stuck) * order).sum(dim=-1, keepdim=True)
        return (1 - stays) * order + stays * state

    def after(self, given: Situation, order: Tensor) -> Situation:
        """Return what cells observe once orders `[B, K, c]` have been held for a slot, all else the same."""
        observation = given.observation.clone()
        observation[..., self.features] = torch.where(order > 0, SHOWN, HIDDEN)
        observation[..., self.cleared] = HIDDEN
        return replace(given, observation=observation)
