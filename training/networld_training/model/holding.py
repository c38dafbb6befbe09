"""States that last: what a cell's features show of them, and how orders to rest are judged."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from networld_runtime.contract import Contract
from networld_training.model.credit import Situation
from networld_training.tasks.learning import DEEP_REST, REST, SERVE, Holding

SHOWN = 1.0
HIDDEN = -1.0


class Held(nn.Module):
    """A task's `Holding` on normalised observations and coded actions.

    Whether a cell serves is judged as if every rest were a light one, which ends at once: what a slot in
    which it wakes up would cost is no reason to sleep on. How deeply it rests follows from how long it has.

    Args:
        holding: What holds.
        contract: The task's contract.
    """

    features: Tensor
    shows: Tensor

    def __init__(self, holding: Holding, contract: Contract) -> None:
        super().__init__()
        place = {feature.name: index for index, feature in enumerate(contract.features)}
        shown = torch.tensor([place[name] for name in holding.states])
        self.register_buffer("features", shown)
        self.register_buffer("shows", torch.eye(len(place))[shown])
        self.turn_feature = place[holding.turn]
        self.since_feature = place[holding.since]
        since = contract.features[self.since_feature]
        # Half a slot less, so that rounding does not matter.
        share = (holding.patience_slots - 0.5 - since.low) / (since.high - since.low)
        self.patience = 2 * share - 1

    def state(self, observation: Tensor) -> Tensor:
        """Return the state of each cell, one-hot `[..., 3]`; serving where none is shown."""
        shown = (observation[..., self.features] > 0).to(observation)
        none = 1 - shown[..., 1:].sum(dim=-1, keepdim=True)
        return torch.cat([none, shown[..., 1:]], dim=-1)

    def turn(self, observation: Tensor) -> Tensor:
        """Return 1 for cells that may change their state now, else 0 `[...]`."""
        return (observation[..., self.turn_feature] > 0).to(observation)

    def rest(self, observation: Tensor) -> Tensor:
        """Return the order by which each cell would rest now, one-hot `[..., 3]`: light first, deep later."""
        state = self.state(observation)
        rested = (observation[..., self.since_feature] > self.patience).to(observation)
        deep = state[..., DEEP_REST] + state[..., REST] * rested
        return torch.stack([torch.zeros_like(deep), 1 - deep, deep], dim=-1)

    def kept(self, observation: Tensor) -> Tensor:
        """Return the order that goes on with what each cell does, one-hot `[..., 3]`."""
        serving = self.state(observation)[..., SERVE, None]
        serve = torch.eye(3, device=serving.device)[SERVE]
        return torch.where(serving > 0, serve, self.rest(observation))

    def judged(self, given: Situation, order: Tensor) -> tuple[Situation, Tensor]:
        """Return situation and orders `[B, K, 3]` with every rest a light one."""
        observation = given.observation
        rests = 1 - self.state(observation)[..., SERVE, None]
        observation = torch.where(rests * self.shows[REST] > 0, SHOWN, observation)
        observation = torch.where(rests * self.shows[DEEP_REST] > 0, HIDDEN, observation)
        serves = order[..., SERVE]
        order = torch.stack([serves, 1 - serves, torch.zeros_like(serves)], dim=-1)
        return replace(given, observation=observation), order
