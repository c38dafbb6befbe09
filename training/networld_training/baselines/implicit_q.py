"""Implicit Q-learning (Kostrikov, Nair and Levine, ICLR 2022), every cell on its own.

The value is an upper expectile of the values of logged actions, so no action is ever asked about that
the data does not hold; the policy imitates logged actions, those with an advantage more.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from networld_training.baselines.actions import ActionCode
from networld_training.baselines.cloning import make_actor
from networld_training.baselines.learner import Learner
from networld_training.baselines.networks import Perceptron
from networld_training.baselines.settings import OfflineSettings, discount_of
from networld_training.baselines.trajectories import LoggedData
from networld_training.environments.agent_view import AgentView

INVERSE_TEMPERATURES = {"power": 30.0}
"""Where advantages are small beside what the other cells do to the reward; others have the usual one."""


@dataclass(frozen=True)
class ImplicitQSettings(OfflineSettings):
    """Hyper-parameters of implicit Q-learning.

    Attributes:
        discount: Weight of the next slot.
        expectile: Which expectile of the action values is the value of a state; 0.5 is the mean.
        inverse_temperature: How much an advantage weighs in the policy's imitation.
        largest_weight: Where these weights are clipped.
        target_share: Share of the way that the target networks go towards the others in a step.
    """

    discount: float = 0.9
    expectile: float = 0.8
    inverse_temperature: float = 10.0
    largest_weight: float = 100.0
    target_share: float = 0.005

    def _checks(self) -> list[tuple[str, bool, str]]:
        return [
            *super()._checks(),
            ("discount", 0 <= self.discount < 1, "0 up to, not including, 1"),
            ("expectile", 0 < self.expectile < 1, "between 0 and 1"),
            ("inverse_temperature", self.inverse_temperature >= 0, "0 or more"),
            ("largest_weight", self.largest_weight > 0, "more than 0"),
            ("target_share", 0 < self.target_share <= 1, "above 0, at most 1"),
        ]


def settings_of(task: str) -> ImplicitQSettings:
    """Return the hyper-parameters of a task."""
    settings = ImplicitQSettings(discount=discount_of(task))
    temperature = INVERSE_TEMPERATURES.get(task, settings.inverse_temperature)
    return replace(settings, inverse_temperature=temperature)


class ImplicitQ(Learner):
    """Twin action values with targets, an expectile value, and a policy drawn from both.

    Args:
        data: What is learned from.
        settings: Hyper-parameters.
    """

    def __init__(self, data: LoggedData, settings: ImplicitQSettings) -> None:
        super().__init__()
        self.data, self.settings = data, settings
        spec = data.manifest.spec
        self.code = ActionCode(spec)
        view = AgentView(spec)
        inputs = len(view.features)
        hidden = (settings.width, settings.width)
        self.actor = make_actor(view, settings)
        self.value = Perceptron(inputs, hidden, 1)
        self.twins = nn.ModuleList(Perceptron(inputs + self.code.size, hidden, 1) for _ in range(2))
        self.targets = copy.deepcopy(self.twins).requires_grad_(False)
        self.optimisers = [
            torch.optim.AdamW(
                part.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
            )
            for part in (self.value, self.twins, self.actor)
        ]

    def advance(self, random: torch.Generator) -> Mapping[str, float]:
        """Take one step of value, action values and policy; return their losses."""
        source, settings = self.data.train, self.settings
        row, slot = source.draw(settings.batch, source.slots, random)
        now, later = source.inputs[row, slot], source.inputs[row, slot + 1]
        chosen, reward = source.bins[row, slot], source.rewards[row, slot]
        pair = torch.cat([now, self.code.one_hot(chosen)], dim=-1)

        with torch.no_grad():
            judged = torch.minimum(*(target(pair)[..., 0] for target in self.targets))
        advantage = judged - self.value(now)[..., 0]
        value_loss = expectile_loss(advantage, settings.expectile)

        # Episodes end by truncation alone: what follows has a value.
        with torch.no_grad():
            aim = reward + settings.discount * self.value(later)[..., 0]
        twin_loss = torch.stack([(twin(pair)[..., 0] - aim).square().mean() for twin in self.twins])

        weight = (settings.inverse_temperature * advantage.detach()).exp()
        logits = self.actor(now)
        likelihood = self.code.log_likelihood(logits, chosen, source.mask_at(row, slot))
        actor_loss = -(weight.clamp(max=settings.largest_weight) * likelihood).mean()

        losses = {"value": value_loss, "twins": twin_loss.sum(), "actor": actor_loss}
        for optimiser, loss in zip(self.optimisers, losses.values(), strict=True):
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
        self._follow()
        return {name: loss.item() for name, loss in losses.items()}

    def _follow(self) -> None:
        """Move the target networks towards the twins."""
        pairs = zip(self.targets.parameters(), self.twins.parameters(), strict=True)
        with torch.no_grad():
            for target, present in pairs:
                target.lerp_(present, self.settings.target_share)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """Return the squared differences, weighted by `expectile` where positive, else by the rest to 1."""
    weight = torch.where(difference > 0, expectile, 1 - expectile)
    return (weight * difference.square()).mean()
