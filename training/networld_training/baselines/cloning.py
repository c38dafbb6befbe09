"""Behaviour cloning: the most probable action of the data, given what a cell sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from networld_training.baselines.actions import ActionCode
from networld_training.baselines.learner import Draw, Learner
from networld_training.baselines.networks import Perceptron
from networld_training.baselines.settings import OfflineSettings
from networld_training.baselines.trajectories import LoggedData, Trajectories
from networld_training.environments.agent_view import AgentView

HELD_OUT_SAMPLES = 20_000


@dataclass(frozen=True)
class CloningSettings(OfflineSettings):
    """Hyper-parameters of behaviour cloning.

    Attributes:
        patience: Validations without a better loss on held-out episodes after which training ends.
    """

    patience: int = 10

    def _checks(self) -> list[tuple[str, bool, str]]:
        return [
            *super()._checks(),
            ("patience", self.patience >= 1, "at least 1"),
        ]


class PerceptronActor(nn.Module):
    """A perceptron from what a cell sees to logits of its action."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.network = Perceptron(inputs, (width, width), outputs)

    def forward(self, inputs: Tensor, draw: Draw | None = None) -> Tensor:
        """Return logits `[..., A]`; nothing is drawn."""
        del draw
        logits: Tensor = self.network(inputs)
        return logits


def settings_of(task: str) -> CloningSettings:
    """Return the hyper-parameters of a task, the same for all."""
    del task
    return CloningSettings()


def make_actor(view: AgentView, settings: OfflineSettings, cells: int = 1) -> PerceptronActor:
    """Return a policy network with fresh weights; all cells share it."""
    del cells
    return PerceptronActor(len(view.features), settings.width, ActionCode(view.spec).size)


class Cloning(Learner):
    """Maximises the likelihood of the logged actions.

    Args:
        data: What is learned from.
        settings: Hyper-parameters.
    """

    def __init__(self, data: LoggedData, settings: CloningSettings) -> None:
        super().__init__()
        self.data, self.settings = data, settings
        self.code = ActionCode(data.manifest.spec)
        self.actor = make_actor(AgentView(data.manifest.spec), settings)
        self._optimiser = torch.optim.AdamW(
            self.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.optimisers = [self._optimiser]

    def advance(self, random: torch.Generator) -> Mapping[str, float]:
        """Take one step; return the negative log-likelihood."""
        loss = self._loss(self.data.train, self.settings.batch, random)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return {"loss": loss.item()}

    def held_out_loss(self) -> float:
        """Return the negative log-likelihood of held-out actions."""
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            return self._loss(self.data.held_out, HELD_OUT_SAMPLES, random).item()

    def _loss(self, source: Trajectories, count: int, random: torch.Generator) -> Tensor:
        row, slot = source.draw(count, source.slots, random)
        logits = self.actor(source.inputs[row, slot])
        chosen, mask = source.bins[row, slot], source.mask_at(row, slot)
        return -self.code.log_likelihood(logits, chosen, mask).mean()
