"""The network of a ceiling: a learned message and a policy, shared by all cells."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from networld_training.model.mean_field import mean_field

LATENT_SIZE = 16
MESSAGE_WIDTH = 64
POLICY_WIDTH = 192


class CeilingModel(nn.Module):
    """Observations of two slots -> what every cell does now.

    It is told the network: one policy for all of them does worse in some than one of their own.

    Args:
        observation_size: Features of an observation.
        networks: Number of networks.
        output_size: Numbers that the task's objective turns into an action.
    """

    def __init__(self, observation_size: int, networks: int, output_size: int) -> None:
        super().__init__()
        self.networks = networks
        seen = observation_size + networks
        self.message = _perceptron(seen, MESSAGE_WIDTH, LATENT_SIZE)
        self.policy = _perceptron(seen + LATENT_SIZE + 1, POLICY_WIDTH, POLICY_WIDTH)
        self.output = nn.Linear(POLICY_WIDTH, output_size)
        nn.init.normal_(self.output.weight, std=0.01)

    def forward(
        self, observation: Tensor, before: Tensor | None, neighbours: Tensor, network: int
    ) -> Tensor:
        """Return outputs `[E, K, O]`.

        Args:
            observation: Normalised observations of this slot `[E, K, D]`.
            before: Those of the slot before, which the messages heard now are made of; None if this is
                the first slot, in which nothing was heard.
            neighbours: Neighbours of each cell `[K, n]`.
            network: Number of the network.
        """
        told = observation.new_zeros(*observation.shape[:2], self.networks)
        told[..., network] = 1
        if before is None:
            heard = observation.new_zeros(*observation.shape[:2], LATENT_SIZE + 1)
        else:
            latent = torch.tanh(self.message(torch.cat([before, told], dim=-1)))
            heard = mean_field(latent, neighbours)
        hidden = nn.functional.silu(self.policy(torch.cat([observation, told, heard], dim=-1)))
        return torch.as_tensor(self.output(hidden))


def _perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        nn.Linear(width, outputs),
    )
