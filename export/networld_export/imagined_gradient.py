"""The gradient graph: how an adapter of the policy should change, asked of the credit model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from networld_training.model.checkpoint import Checkpoint
from networld_training.model.credit import CreditModel, Situation
from networld_training.model.holding import Held
from networld_training.model.imagination import Imagined, imagined_loss, masked_logits
from networld_training.model.world_model import TaskModel
from networld_training.tasks.registry import LEARNING


@dataclass(frozen=True)
class Judge:
    """What an adapter is trained by.

    Attributes:
        imagined: The credit model with what lasts.
        temperature: As in `imagined_loss`.
        couplings: Numbers that say how strongly one cell acts on another.
    """

    imagined: Imagined
    temperature: float
    couplings: int


def checkpoint_judge(checkpoint: Checkpoint, task: str) -> Judge:
    """Return what a checkpoint's policy was trained by."""
    contract, learning = checkpoint.contracts[task], LEARNING[task]
    credit = CreditModel(
        contract.observation_size,
        contract.actions,
        learning.activity,
        learning.floors,
        checkpoint.settings.credit,
    )
    credit.load_state_dict(
        {
            name.removeprefix(f"{task}."): value
            for name, value in checkpoint.part("credit").items()
            if name.startswith(f"{task}.")
        }
    )
    held = None if learning.holding is None else Held(learning.holding, contract)
    imagined = Imagined(credit.eval(), held, contract.actions)
    return Judge(imagined, checkpoint.settings.temperature, len(learning.floors))


def imagined_gradient(model: TaskModel, judge: Judge) -> Callable[..., tuple[Tensor, ...]]:
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
            return imagined_loss(judge.imagined, given, logits(vector), judge.temperature, uniform)

        slope, value = torch.func.grad_and_value(loss)(adapter)
        return value.reshape(1), judge.imagined.worth(given, logits(adapter)), slope

    return gradient
