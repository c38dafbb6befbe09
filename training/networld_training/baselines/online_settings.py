"""Hyper-parameters of the online methods, and the perceptrons that they train."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from networld_runtime.errors import check_values
from networld_training.baselines.learner import Draw
from networld_training.baselines.settings import discount_of
from networld_training.environments.agent_view import AgentView


@dataclass(frozen=True)
class OnlineSettings:
    """Hyper-parameters of IPPO, MAPPO and QMIX.

    Attributes:
        steps: Environment steps: slots of single cells.
        share: Whether all cells have one policy.
        width: Width of the two hidden layers of all networks.
        episodes: Episodes that are played at the same time, from first to last slot, between two rounds
            of learning.
        learning_rate: Of Adam.
        discount: Weight of the next slot.
        trace: Lambda of generalised advantages; PPO only.
        entropy: Weight of the policy's entropy; PPO only.
        epochs: Passes over what was collected, PPO; optimiser steps after it, QMIX.
        minibatch: Slots, of all cells each, of an optimiser step.
        exploration_share: Share of the steps in which random actions fade out; QMIX only.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    steps: int = 1_050_000
    share: bool = True
    width: int = 128
    episodes: int = 32
    learning_rate: float = 5e-4
    discount: float = 0.9
    trace: float = 0.9
    entropy: float = 0.0
    epochs: int = 10
    minibatch: int = 400
    exploration_share: float = 0.5

    def __post_init__(self) -> None:
        check_values(
            "hyper-parameters",
            self,
            (
                ("steps", self.steps >= 1, "at least 1"),
                ("width", self.width >= 1, "at least 1"),
                ("episodes", self.episodes >= 1, "at least 1"),
                ("learning_rate", 0 < self.learning_rate < 1, "between 0 and 1"),
                ("discount", 0 <= self.discount < 1, "0 up to, not including, 1"),
                ("trace", 0 <= self.trace <= 1, "0 to 1"),
                ("entropy", self.entropy >= 0, "0 or more"),
                ("epochs", self.epochs >= 1, "at least 1"),
                ("minibatch", self.minibatch >= 1, "at least 1"),
                ("exploration_share", 0 <= self.exploration_share <= 1, "0 to 1"),
            ),
        )


VALIDATION_SEED = 2**30
"""First seed of the episodes that a policy is judged on while it learns: above those of training, below
those of data sets and evaluation."""
VALIDATION_EPISODES = 2
"""Such episodes in each network."""

EPISODES = {"power": 20, "sched": 16, "sleep": 32}
"""Episodes at a time, about 3000 slots in all; other tasks have those of `OnlineSettings`."""


def settings_of(algorithm: str, task: str) -> OnlineSettings:
    """Return the hyper-parameters of an algorithm in a task."""
    episodes = EPISODES.get(task, OnlineSettings.episodes)
    settings = OnlineSettings(episodes=episodes, discount=discount_of(task))
    if algorithm == "qmix":
        return replace(settings, epochs=100, minibatch=256)
    return settings


class CellPerceptron(nn.Module):
    """Perceptrons with two hidden layers: one that all cells share, or one for each cell.

    Args:
        inputs: Entries that a cell sees.
        width: Width of the hidden layers.
        outputs: Logits or action values.
        copies: 1, or the number of cells.
    """

    def __init__(self, inputs: int, width: int, outputs: int, copies: int) -> None:
        super().__init__()
        sizes = ((inputs, width), (width, width), (width, outputs))
        self.copies = copies
        self.weights = nn.ParameterList(
            torch.zeros(copies, after, before) for before, after in sizes
        )
        self.biases = nn.ParameterList(torch.zeros(copies, after) for _, after in sizes)

    def forward(self, inputs: Tensor, draw: Draw | None = None) -> Tensor:
        """Return outputs `[E, K, A]` of what cells see `[E, K, D]`; nothing is drawn."""
        del draw
        values = inputs
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if index:
                values = torch.tanh(values)
            values = torch.einsum("ekd,kad->eka", values, weight.expand(inputs.shape[1], -1, -1))
            values = values + bias
        return values


def make_actor(view: AgentView, settings: OnlineSettings, cells: int) -> CellPerceptron:
    """Return the network that acts; one for each of the cells if they do not share it."""
    copies = 1 if settings.share else cells
    return CellPerceptron(len(view.features), settings.width, len(view.table), copies)
