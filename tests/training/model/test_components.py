"""Components of an action are normalised and compared each on its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from networld_runtime.contract import Action, ActionBins, Choice
from networld_runtime.two_hot import encode_actions
from networld_training.model.components import action_cross_entropy, action_probabilities
from networld_training.model.settings import PRESETS
from networld_training.model.world_model import TaskModel, WorldModel
from networld_training.tasks.registry import CONTRACTS

ACTIONS: tuple[Action, ...] = (
    Choice("user", ("first", "second", "mute"), masked=True),
    ActionBins("power_db", -2.0, 0.0, 3, off=-9.0),
)


def logits_of(*probabilities: float) -> Tensor:
    return torch.log(torch.tensor(probabilities))


def test_every_component_adds_up_to_one() -> None:
    logits = 5 * torch.randn(4, 6, 7, generator=torch.Generator().manual_seed(0))
    probabilities = action_probabilities(logits, ACTIONS)
    assert torch.allclose(probabilities[..., :3], torch.softmax(logits[..., :3], dim=-1))
    assert torch.allclose(probabilities[..., 3:], torch.softmax(logits[..., 3:], dim=-1))


def test_one_component_does_not_move_the_other() -> None:
    logits = torch.zeros(7)
    moved = logits.clone()
    moved[1] = 3.0
    before, after = (action_probabilities(one, ACTIONS) for one in (logits, moved))
    assert torch.equal(before[3:], after[3:])
    assert not torch.equal(before[:3], after[:3])


def test_cross_entropy_is_the_sum_over_the_components() -> None:
    logits = torch.cat([logits_of(0.2, 0.5, 0.3) + 4, logits_of(0.1, 0.2, 0.3, 0.4) - 7])
    target = torch.from_numpy(encode_actions([1.0, -0.5], ACTIONS))
    expected = -math.log(0.5) - 0.5 * math.log(0.3) - 0.5 * math.log(0.4)
    assert action_cross_entropy(logits, target, ACTIONS).item() == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_least_where_the_probabilities_are_the_targets() -> None:
    target = torch.tensor([0.2, 0.5, 0.3, 0.1, 0.2, 0.3, 0.4])
    logits = torch.log(target).requires_grad_()
    action_cross_entropy(logits, target, ACTIONS).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-6


@pytest.mark.parametrize("name", CONTRACTS)
def test_plans_of_every_task_mean_one_action_in_every_slot(name: str) -> None:
    torch.manual_seed(0)
    contract = CONTRACTS[name]
    model: TaskModel = WorldModel({name: contract}, PRESETS["tiny"].size).for_task(name)
    probabilities = model.actions(
        torch.randn(5, 7, contract.latent_size), torch.randn(5, contract.latent_size)
    )
    assert probabilities.shape == (5, 7, contract.action_size)
    sizes = [action.size for action in contract.actions]
    for part in torch.split(probabilities, sizes, dim=-1):
        assert torch.allclose(part.sum(dim=-1), torch.ones(5, 7), atol=1e-5)
    latent, field = torch.randn(5, contract.latent_size), torch.randn(5, contract.mean_field_size)
    for part in torch.split(model.act(latent, field), sizes, dim=-1):
        assert torch.allclose(part.sum(dim=-1), torch.ones(5), atol=1e-5)
