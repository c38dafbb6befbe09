"""The gradient graph: how an adapter of the policy should change, asked of the credit model."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from networld_training.model.credit import Situation
from networld_training.model.imagination import Imagined, imagined_loss, masked_logits
from networld_training.model.world_model import TaskModel


def imagined_gradient(
    model: TaskModel, judge: Imagined, temperature: float
) -> Callable[..., tuple[Tensor, ...]]:
    """Return loss, worth of each slot and the loss's gradient as a function of stars and an adapter.

    The policy decides for all cells of a star by the messages that they would have sent, as in training.
    Encoder and credit model are as they are; of the adapter only the policy's part is read, so the
    gradient of all else is zero. Messages are not rounded to int8: half a step is below what the policy
    tells apart, and a graph that jumps wherever a value is rounded cannot be compared with torch.
    """

    def gradient(
        observation: Tensor,
        before: Tensor,
        coupling: Tensor,
        around: Tensor,
        mask: Tensor,
        uniform: Tensor,
        weight: Tensor,
        asked: Tensor,
        adapter: Tensor,
    ) -> tuple[Tensor, ...]:
        given = Situation(observation, coupling, around, weight)
        latent = model.encode(observation)
        told = model.encode(before)[..., : model.contract.message_size]
        heard = given.around(told).mean(dim=2)
        field = torch.cat([heard, torch.ones_like(heard[..., :1])], dim=-1)

        def logits(vector: Tensor) -> Tensor:
            return masked_logits(model.policy(latent, field, vector), mask)

        def loss(vector: Tensor) -> Tensor:
            return imagined_loss(judge, given, logits(vector), temperature, uniform, asked)

        slope, value = torch.func.grad_and_value(loss)(adapter)
        return value.reshape(1), judge.worth(given, logits(adapter)), slope

    return gradient
