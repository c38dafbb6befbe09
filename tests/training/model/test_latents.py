"""A latent's two parts: the situation is blind to past behaviour, and only it is told and acted on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networld_training.model.settings import PRESETS
from networld_training.model.world_model import ModelSize, TaskModel, WorldModel
from networld_training.tasks.registry import CONTRACTS, LEARNING

SIZE = ModelSize(width=16, depth=1, heads=2, hidden=32, rank=2)


def model_of(name: str) -> TaskModel:
    """Return a model of random weights, also where they begin at 0."""
    torch.manual_seed(0)
    model = WorldModel({name: CONTRACTS[name]}, SIZE, {name: LEARNING[name].behaviour})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.for_task(name)


MODELS = {name: model_of(name) for name in CONTRACTS}


def shows_behaviour(name: str) -> Tensor:
    return torch.tensor(
        [feature.name in LEARNING[name].behaviour for feature in CONTRACTS[name].features]
    )


def pair(name: str, seed: int) -> tuple[Tensor, Tensor]:
    """Return two observations that differ in every feature of past behaviour and in no other."""
    random = torch.Generator().manual_seed(seed)
    features = CONTRACTS[name].observation_size
    observation = 3 * torch.rand(5, features, generator=random) - 1.5
    others = 3 * torch.rand(5, features, generator=random) - 1.5
    return observation, torch.where(shows_behaviour(name), others, observation)


@pytest.mark.parametrize("name", CONTRACTS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_situation_messages_and_policy_are_blind_to_past_behaviour(name: str, seed: int) -> None:
    model, contract = MODELS[name], CONTRACTS[name]
    first, second = (model.encode(one) for one in pair(name, seed))
    assert first.shape == (5, contract.latent_size)
    situation = contract.latent_size - SIZE.trace
    assert torch.equal(first[:, :situation], second[:, :situation])
    assert contract.message_size <= situation
    field = torch.randn(5, contract.mean_field_size)
    assert torch.equal(model.act(first, field), model.act(second, field))
    # The traces of it are what inverse dynamics and reconstruction need.
    assert not torch.isclose(first[:, situation:], second[:, situation:]).all(dim=-1).any()


@pytest.mark.parametrize("name", CONTRACTS)
def test_situation_shows_every_other_feature(name: str) -> None:
    model, contract = MODELS[name], CONTRACTS[name]
    observation = torch.zeros(contract.observation_size)
    changed = torch.eye(contract.observation_size)
    situation = slice(0, contract.latent_size - SIZE.trace)
    differs = (model.encode(changed) - model.encode(observation))[:, situation].abs().amax(dim=-1)
    assert torch.equal(differs > 1e-4, ~shows_behaviour(name))


@pytest.mark.parametrize("name", CONTRACTS)
def test_policy_and_classifier_do_not_read_the_traces(name: str) -> None:
    model, contract = MODELS[name], CONTRACTS[name]
    latent = torch.rand(2, contract.latent_size, requires_grad=True)
    field = torch.randn(2, contract.mean_field_size)
    action = torch.rand(2, contract.horizon, contract.action_size)
    situation = contract.latent_size - SIZE.trace
    for output in (model.policy(latent, field), model.classifier(latent, field, action)):
        (gradient,) = torch.autograd.grad(output.square().sum(), latent)
        assert (gradient[:, situation:] == 0).all()
        assert (gradient[:, :situation] != 0).any(dim=0).all()


def test_what_is_blind_comes_with_the_weights() -> None:
    """Whoever loads a model needs no list of features."""
    name = "power"
    torch.manual_seed(1)
    trained = WorldModel({name: CONTRACTS[name]}, SIZE, {name: LEARNING[name].behaviour})
    loaded = WorldModel({name: CONTRACTS[name]}, SIZE)
    first, second = pair(name, 0)
    before = loaded.for_task(name)
    assert not torch.allclose(before.encode(first)[:, :8], before.encode(second)[:, :8])
    loaded.load_state_dict(trained.state_dict())
    after = loaded.for_task(name)
    assert torch.equal(after.encode(first)[:, :8], after.encode(second)[:, :8])


@pytest.mark.parametrize("preset", PRESETS)
def test_messages_fit_into_the_situation(preset: str) -> None:
    for contract in CONTRACTS.values():
        assert contract.message_size <= contract.latent_size - PRESETS[preset].size.trace


@pytest.mark.parametrize("name", CONTRACTS)
def test_latents_stay_within_their_range(name: str) -> None:
    latent = MODELS[name].encode(100 * torch.randn(50, CONTRACTS[name].observation_size))
    assert latent.abs().max() <= 1
