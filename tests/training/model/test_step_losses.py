"""The losses of a step: who learns what, when, and from which slots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from networld_runtime.contract import Choice
from networld_training.data.windows import WindowBatch
from networld_training.model import step_losses as module
from networld_training.model.credit import CreditModel, CreditSize, Situation
from networld_training.model.holding import Held
from networld_training.model.imagination import Imagined
from networld_training.model.losses import cross_entropy, denoising_error
from networld_training.model.mean_field import mean_field
from networld_training.model.settings import TrainingSettings
from networld_training.model.step_losses import (
    WEIGHTS,
    Learner,
    StepLosses,
    credit_loss,
    step_losses,
)
from networld_training.model.world_model import ModelSize, WorldModel
from networld_training.tasks.registry import CONTRACTS, LEARNING

SETTINGS = TrainingSettings(
    windows=3,
    starts=2,
    plans=20,
    imagined=6,
    ranked=2,
    message_loss=0.0,
    size=ModelSize(width=16, depth=1, heads=2, hidden=32, rank=2),
    credit=CreditSize(hidden=16, burden=8),
)
CELLS = 4
NEIGHBOURS = torch.tensor([[1, 2, 3], [2, 3, 0], [3, 0, 1], [0, 1, 2]])


def learner_of(name: str) -> tuple[WorldModel, Learner]:
    """Return a model of random weights, also where they begin at 0."""
    torch.manual_seed(0)
    contract, learning = CONTRACTS[name], LEARNING[name]
    model = WorldModel({name: contract}, SETTINGS.size, {name: learning.behaviour})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    credit = CreditModel(
        contract.observation_size,
        contract.actions,
        learning.activity,
        learning.floors,
        SETTINGS.credit,
    )
    held = None if learning.holding is None else Held(learning.holding, contract)
    imagined = Imagined(credit, held, contract.actions)
    return model, Learner(model.for_task(name), imagined)


def window_of(name: str, windows: int = SETTINGS.windows) -> WindowBatch:
    """Return windows of random observations and actions; one of the masked choices is not valid."""
    random = torch.Generator().manual_seed(1)
    contract, starts = CONTRACTS[name], SETTINGS.starts
    slots = starts + contract.horizon - 1
    mask = torch.ones(windows, slots, CELLS, contract.action_size)
    coded, first = [], 0
    for component in contract.actions:
        lots = torch.rand(windows, slots, CELLS, component.size, generator=random)
        if isinstance(component, Choice) and component.masked:
            mask[..., first + 1] = 0
        lots = lots * mask[..., first : first + component.size]
        coded.append(torch.nn.functional.one_hot(lots.argmax(dim=-1), component.size).float())
        first += component.size
    couplings = len(LEARNING[name].floors)
    observation = torch.randn(
        windows, slots + 2, CELLS, contract.observation_size, generator=random
    ).clamp(-1, 1)
    holding = LEARNING[name].holding
    if holding is not None:
        names = [feature.name for feature in contract.features]
        flags = [names.index(state) for state in holding.states]
        state = torch.rand(windows, slots + 2, CELLS, len(flags), generator=random).argmax(dim=-1)
        observation[..., flags] = 2.0 * torch.nn.functional.one_hot(state, len(flags)) - 1
    return WindowBatch(
        observation=observation,
        action=torch.cat(coded, dim=-1),
        neighbours=NEIGHBOURS,
        credit=torch.randn(windows, slots, CELLS, generator=random),
        coupling=torch.rand(windows, slots, CELLS, 3, couplings, generator=random),
        mask=mask,
        starts=starts,
    )


def losses_of(name: str) -> tuple[WorldModel, StepLosses]:
    model, learner = learner_of(name)
    generator = torch.Generator().manual_seed(2)
    return model, step_losses(learner, window_of(name), SETTINGS, generator)


def touched(model: WorldModel, loss: Tensor) -> set[str]:
    """Return the networks that a loss has a gradient for."""
    model.zero_grad(set_to_none=True)
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    return {
        name.split(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


@pytest.mark.parametrize("name", CONTRACTS)
def test_who_learns_from_which_loss(name: str) -> None:
    model, losses = losses_of(name)
    assert all(torch.isfinite(value) for value in losses.values(name).values())
    # The latents are detached: none of them may become easier to predict by saying less.
    assert touched(model, losses.denoising) == {"denoiser", "task"}
    assert touched(model, losses.inverse) == {"encoders", "inverse"}
    assert touched(model, losses.reconstruction) == {"encoders"}
    assert touched(model, losses.classifier) == {"encoders", "classifiers"}
    assert touched(model, losses.imagined) == {"encoders", "policies"}


def test_a_batch_asks_for_so_many_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A power or none are two, a user or nobody nine, a mode three."""
    asked = []

    def spied(_: Imagined, given: Situation, logits: Tensor, *__: Any) -> Tensor:
        asked.append((len(given.observation), len(logits)))
        return logits.sum()

    monkeypatch.setattr(module, "imagined_loss", spied)
    for name in ("power", "sched", "sleep"):
        window, generator = window_of(name), torch.Generator().manual_seed(2)
        slots = window.action.shape[0] * window.action.shape[1]
        step_losses(learner_of(name)[1], window, replace(SETTINGS, imagined=18), generator)
        expected = {"power": min(9, slots), "sched": 2, "sleep": 6}[name]
        assert asked.pop() == (expected, expected)


def test_total_weighs_the_parts() -> None:
    _, losses = losses_of("sched")
    values = {name: value.item() for name, value in losses.values("sched").items()}
    assert WEIGHTS == {"denoising": 10.0}
    expected = sum(values.values()) + 9 * values["sched/denoising"]
    assert losses.total().item() == pytest.approx(expected, rel=1e-5)


def test_denoiser_learns_plans_that_follow_their_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Tensor, ...]] = []

    def spied(*arguments: Any) -> Tensor:
        asked.append(arguments[1:])
        return denoising_error(*arguments)

    monkeypatch.setattr(module, "denoising_error", spied)
    _, learner = learner_of("power")
    window = window_of("power")
    step_losses(learner, window, SETTINGS, torch.Generator().manual_seed(2))
    now, plan, field, noise, level = asked[0]
    assert now.shape[0] == SETTINGS.plans
    latent = learner.model.encode(window.observation).detach()
    horizon, seen = learner.model.contract.horizon, set()
    for index in range(SETTINGS.plans):
        same = (latent[:, 1:] == now[index]).all(dim=-1).nonzero()
        batch, start, cell = same[0].tolist()
        assert start < SETTINGS.starts
        assert torch.equal(plan[index], latent[batch, start + 2 : start + 2 + horizon, cell])
        told = latent[batch, start, :, : learner.model.contract.message_size]
        assert torch.equal(field[index], mean_field(told[None], NEIGHBOURS)[0, cell])
        seen.add((batch, start, cell))
    assert len(seen) == SETTINGS.plans
    assert ((level > 0) & (level <= 1)).all()
    assert noise.std().item() == pytest.approx(1, abs=0.05)


class OwnActivity(CreditModel):
    """Every cell earns its own activity, whatever the others do."""

    def expected(self, given: Situation, action: Tensor) -> Tensor:
        del given
        return action @ self.activity


def test_classifier_learns_what_logged_plans_gain_over_the_policy() -> None:
    """Sure of itself, the policy never transmits; a cell gains what it transmits, discounted."""
    name = "power"
    contract, learning = CONTRACTS[name], LEARNING[name]
    _, plain = learner_of(name)
    credit = OwnActivity(28, contract.actions, learning.activity, learning.floors, SETTINGS.credit)
    credit.scale.fill_(0.5)
    learner = replace(plain, imagined=Imagined(credit, None, contract.actions))
    with torch.no_grad():
        learner.model.policy.net.last.base.weight.zero_()
        learner.model.policy.net.last.base.bias.zero_()
        learner.model.policy.net.last.base.bias[0] = 50.0  # off
    window = window_of(name)
    found = step_losses(learner, window, SETTINGS, torch.Generator().manual_seed(2))
    model, horizon = learner.model, contract.horizon
    latent = model.encode(window.observation)
    message = latent[..., : contract.message_size]
    expected = []
    for batch in range(SETTINGS.ranked):
        for start in range(SETTINGS.starts):
            field = mean_field(message[batch, start][None], NEIGHBOURS)[0]
            plan = window.action[batch, start : start + horizon]  # h k n
            gain = (plan @ torch.tensor(learning.activity)) / 0.5
            returns = sum(contract.discount**ahead * gain[ahead] for ahead in range(horizon))
            assert isinstance(returns, Tensor)
            target = model.two_hot_return(returns)
            logits = model.classifier(latent[batch, start + 1], field, plan.transpose(0, 1))
            expected.append(cross_entropy(logits, target))
    assert found.classifier.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


@pytest.mark.parametrize("name", CONTRACTS)
def test_credit_loss_is_of_the_slots_that_act(name: str) -> None:
    _, learner = learner_of(name)
    window, credit = window_of(name), learner.imagined.credit
    expected = []
    for slot in range(window.action.shape[1]):
        given = Situation(window.observation[:, slot + 1], window.coupling[:, slot], NEIGHBOURS)
        expected.append(credit.loss(given, window.action[:, slot], window.credit[:, slot]))
    found = credit_loss(credit, window)
    assert found.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-4)


def test_lost_messages_change_what_is_learned() -> None:
    _, learner = learner_of("sched")
    window = window_of("sched")
    without, with_loss = (
        step_losses(
            learner,
            window,
            replace(SETTINGS, message_loss=share),
            torch.Generator().manual_seed(2),
        ).imagined
        for share in (0.0, 1.0)
    )
    assert without != with_loss
