"""All of a policy trained on what a whole network saw, by imagination: what adapters are measured against.

No base station could do this: it has all logs in one place, torch, and the time. The loss is that by which
the policy was trained and by which adapters are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from networld_runtime.contract import Contract
from networld_runtime.episode_log import EpisodeLog
from networld_runtime.two_hot import encode_mask
from networld_training.model.credit import Situation
from networld_training.model.imagination import Imagined, imagined_loss, masked_logits
from networld_training.model.mean_field import mean_field
from networld_training.model.world_model import TaskModel

STEPS = 1000
NETWORKS = 48
"""Slots of a step, each with all cells of an episode."""
MOST_CELLS, WEIGHED_CELLS = 7, 3
"""In networks of more cells, alternatives of so many are weighed in each slot: work grows by the square."""
LEARNING_RATE = 3e-4
LARGEST_GRADIENT = 1.0


def fine_tuned(
    model: TaskModel,
    imagined: Imagined,
    logs: Mapping[str, Sequence[EpisodeLog]],
    temperature: float,
    seed: int = 0,
) -> TaskModel:
    """Return a copy of a model whose policy was trained on the logs of all cells of a network.

    Args:
        model: The model; stays as it is.
        imagined: What its policy is judged by.
        logs: Logs of all cells, in their order.
        temperature: As in `imagined_loss`.
        seed: Draws slots and choices.
    """
    contract = model.contract
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    observation, coupling, mask = _joined(contract, logs)
    names = list(logs)
    neighbours = torch.tensor(
        [[names.index(one) for one in logs[name][0].neighbours] for name in logs]
    )
    parameters = list(model.policy.parameters())
    optimiser = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=0.0)
    episodes, slots = observation.shape[:2]
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 20 * (step + 1) / STEPS) * (1 - step / STEPS)
        episode = torch.randint(episodes, (NETWORKS,), generator=generator)
        slot = torch.randint(1, slots, (NETWORKS,), generator=generator)
        with torch.no_grad():
            latent = model.encode(observation[episode, slot])
            told = model.encode(observation[episode, slot - 1])[..., : contract.message_size]
            field = mean_field(told, neighbours)
        logits = masked_logits(model.policy(latent, field), mask[episode, slot])
        uniform = torch.rand(logits.shape, generator=generator)
        given = Situation(observation[episode, slot], coupling[episode, slot], neighbours)
        asked = _some_cells(len(names), generator)
        loss = imagined_loss(imagined, given, logits, temperature, uniform, asked)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
        optimiser.step()
    return model


def _some_cells(cells: int, generator: torch.Generator) -> Tensor | None:
    """Return which cells' alternatives are weighed in each slot, one-hot `[NETWORKS, m, K]`; None for all."""
    if cells <= MOST_CELLS:
        return None
    order = torch.rand((NETWORKS, cells), generator=generator).argsort(dim=-1)
    return torch.eye(cells)[order[:, :WEIGHED_CELLS]]


def _joined(
    contract: Contract, logs: Mapping[str, Sequence[EpisodeLog]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalised observations `[E, T, K, D]`, couplings and masks of coded actions `[E, T, K, A]`."""
    observation, coupling, mask = (
        np.stack([np.stack([getattr(log, name) for log in cell]) for cell in logs.values()], axis=2)
        for name in ("observation", "coupling", "mask")
    )
    return (
        torch.from_numpy(contract.normalise(observation)),
        torch.from_numpy(coupling),
        torch.from_numpy(encode_mask(mask, contract.actions)),
    )
