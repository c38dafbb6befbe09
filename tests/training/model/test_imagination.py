"""Imagined decisions: what choices lose, what plans gain, and where all cells end up together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from networld_runtime.contract import Action, ActionBins, Choice
from networld_training.model.credit import BINS, CreditModel, CreditSize, Situation
from networld_training.model.holding import Held
from networld_training.model.imagination import (
    FORBIDDEN,
    LARGEST_REGRET,
    OUT_OF_TURN,
    Imagined,
    _decoded,
    _regret,
    advantages,
    imagined_loss,
    masked_logits,
)
from networld_training.tasks.sleep.contract import SLEEP_CONTRACT, SLEEP_LEARNING

ON = Choice("mode", ("on", "off"))
BRANCH = Choice("branch", ("a", "b", "c"))
POWER = ActionBins("power_db", -20.0, 0.0, 5, off=-30.0)
OFFSET = ActionBins("offset_db", -6.0, 6.0, 13)
HALF = torch.full((1,), 0.5)
PLACE = {feature.name: index for index, feature in enumerate(SLEEP_CONTRACT.features)}
assert SLEEP_LEARNING.holding is not None
HELD = Held(SLEEP_LEARNING.holding, SLEEP_CONTRACT)

Worth = Callable[[Tensor, Tensor], Tensor]


class Game(CreditModel):
    """A credit model that knows: `worth` maps observations and coded actions to credits `[B, K]`."""

    def __init__(self, actions: tuple[Action, ...], worth: Worth, scale: float = 1.0) -> None:
        size = sum(action.size for action in actions)
        super().__init__(1, actions, (1.0,) * size, (1.0,), CreditSize(8, 8))
        self.worth = worth
        self.scale.fill_(scale)
        self.bounds.copy_(torch.tensor([-5.0, 5.0]))
        self.factor = torch.nn.Parameter(torch.ones(()))

    def expected(self, given: Situation, action: Tensor) -> Tensor:
        return self.factor * self.worth(given.observation, action)

    def forward(self, given: Situation, action: Tensor) -> Tensor:
        """Put weights on the first and the last bin that have the known mean."""
        low, high = self.values[0], self.values[-1]
        share = (self.expected(given, action) - low) / (high - low)
        between = torch.full((*share.shape, BINS - 2), -1e4)
        return torch.cat([torch.log1p(-share)[..., None], between, torch.log(share)[..., None]], -1)


def imagined_of(
    actions: tuple[Action, ...], worth: Worth, scale: float = 1.0, held: Held | None = None
) -> Imagined:
    return Imagined(Game(actions, worth, scale), held, actions)


def situation(networks: int, cells: int, features: int = 1) -> Situation:
    others = (torch.arange(cells)[:, None] + torch.arange(1, cells)) % cells
    return Situation(
        torch.zeros(networks, cells, features), torch.ones(networks, cells, cells - 1, 1), others
    )


def uniform(logits: Tensor, seed: int = 0) -> Tensor:
    """Return what draws the choices of logits."""
    return torch.rand(logits.shape, generator=draws(seed))


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def hot(*choices: int, of: int = 2) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor([choices]), of).float()


def every(networks: int, cells: int, choices: int) -> Tensor:
    """Return the codes of all choices for each cell."""
    return torch.eye(choices).expand(networks, cells, choices, choices)


def quota(_: Tensor, action: Tensor) -> Tensor:
    """Two cells should be on, in all: minus the square of what is too many or too few."""
    on = action[..., 0]
    return -((on.sum(dim=1, keepdim=True) - 2) ** 2) / on.shape[1] * torch.ones_like(on)


def test_regret_is_that_of_asking_for_every_joint_action() -> None:
    """Against plain loops, in a game whose credits depend on everything at once."""
    table = 0.5 * torch.randn(3, 3, 3, 13, generator=draws(1))

    def worth(observation: Tensor, action: Tensor) -> Tensor:
        first, second, third = action[..., :3].argmax(dim=-1).T
        total = table[first, second, third, action[:, 1, 3:].argmax(dim=-1)]
        return total[:, None] * observation[..., 0] * torch.tensor([0.5, 0.3, 0.2])

    imagined = imagined_of((BRANCH, OFFSET), worth, scale=2.0)
    chosen = torch.randint(3, (4, 3), generator=draws(2))
    offset = torch.randint(13, (4, 3), generator=draws(3))
    coded = [
        torch.nn.functional.one_hot(chosen, 3).float(),
        torch.nn.functional.one_hot(offset, 13).float(),
    ]
    given = situation(4, 3)
    given.observation[:] = torch.tensor([0.5, 1.0, 2.0, 3.0])[:, None, None]
    found = _regret(imagined, given, coded, every(4, 3, 3), torch.tensor(True))
    for network, cell in product(range(4), range(3)):
        asked = []
        for choice in range(3):
            joint = chosen[network].tolist()
            joint[cell] = choice
            worth_here = table[(*joint, offset[network, 1])] * given.observation[network, 0, 0]
            asked.append(worth_here.item() / 2)
        expected = [max(asked) - one for one in asked]
        assert found[network, cell].tolist() == pytest.approx(expected, abs=1e-5)


def test_regret_is_bounded() -> None:
    imagined = imagined_of((ON,), lambda _, action: 1000 * action[..., 0])
    regret = _regret(imagined, situation(1, 2), [hot(0, 0)], every(1, 2, 2), torch.tensor(True))
    assert regret.tolist() == [[[0.0, LARGEST_REGRET]] * 2]


def test_a_forbidden_choice_is_no_measure_of_the_others() -> None:
    """A choice that nobody could have logged may look like anything to the credit model."""
    value = torch.tensor([0.0, 1.0, 1000.0])
    imagined = imagined_of((BRANCH,), lambda _, action: action @ value)
    raw = torch.zeros(1, 2, 3, requires_grad=True)
    logits = masked_logits(raw, torch.tensor([1.0, 1.0, 0.0]))
    imagined_loss(imagined, situation(1, 2), logits, 1.0, uniform(logits)).backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    # The slope of the square of what the first one loses, the mean of two cells; of 1000 it would be -1.
    assert raw.grad[0, 0].tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-5)


def test_loss_by_hand() -> None:
    """Off loses 3 and 1, in typical credits of 2; the logits say 0.2 and 1.5 at a temperature of 0.1."""
    logits = torch.tensor([[[0.0, -2.0], [0.0, -15.0]]])
    imagined = imagined_of((ON,), lambda _, action: action[..., 0] * torch.tensor([3.0, 1.0]), 2.0)
    loss = imagined_loss(imagined, situation(1, 2), logits, 0.1, uniform(logits))
    assert loss.item() == pytest.approx((1.3**2 + 1.0**2) / 2, rel=1e-5)


def test_a_sure_policy_still_learns() -> None:
    """The chance of a choice vanishes with its gradient; what it is said to lose does not."""
    imagined = imagined_of((ON,), lambda _, action: -3 * action[..., 0])
    logits = torch.tensor([[[60.0, 0.0]]], requires_grad=True)
    imagined_loss(imagined, situation(1, 1), logits, 0.1, uniform(logits)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, 0, 0] > 1


def minimised(imagined: Imagined, start: Tensor, steps: int, mask: Tensor | None = None) -> Tensor:
    """Return logits `[K, A]` after steps down the imagined loss, in 16 copies of one network."""
    logits = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.1)
    given, generator = situation(16, len(start)), draws()
    for _ in range(steps):
        copies = masked_logits(logits, torch.ones(()) if mask is None else mask).expand(16, -1, -1)
        drawn = torch.rand(copies.shape, generator=generator)
        loss = imagined_loss(imagined, given, copies, 0.1, drawn)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return logits.detach()


def test_cells_share_a_quota_that_answers_to_the_log_overshoot() -> None:
    imagined, cells = imagined_of((ON,), quota), 4
    given = situation(1, cells)
    for logged, overshot in ((1, 0), (0, 1)):  # all off, all on
        before = hot(*[logged] * cells)
        regret = _regret(imagined, given, [before], every(1, cells, 2), torch.tensor(True))
        answer = regret.argmin(dim=-1)
        assert answer.tolist() == [[overshot] * cells]
        assert imagined.total(given, hot(*answer[0].tolist())).item() == -4
    found = minimised(imagined, 0.1 * torch.randn(cells, 2, generator=draws(1)), 150)
    decided = found.argmax(dim=-1)
    assert imagined.total(given, hot(*decided.tolist())).item() == 0
    assert torch.softmax(found, dim=-1).amax(dim=-1).min() > 0.9


def test_cells_that_may_not_leave_the_others_to_fill_the_quota() -> None:
    mask = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    found = minimised(imagined_of((ON,), quota), torch.zeros(4, 2), 80, mask)
    assert torch.softmax(masked_logits(found, mask), dim=-1).argmax(dim=-1).tolist() == [1, 0, 1, 0]


def test_numbers_meet_a_sum_that_answers_to_the_log_overshoot() -> None:
    """The places of three cells should add up to 6 of 12; each alone would go all the way to 4."""
    actions = (ActionBins("power_db", -20.0, 0.0, 5),)
    places = torch.arange(5.0)

    def worth(_: Tensor, action: Tensor) -> Tensor:
        total = (action @ places).sum(dim=1, keepdim=True)
        return -((total - 6) ** 2).expand(-1, 3) / 36

    imagined = imagined_of(actions, worth)
    found = minimised(imagined, 0.1 * torch.randn(3, 5, generator=draws(1)), 150)
    decided = _decoded(found, actions[0], HALF) @ places
    assert decided.sum().item() == pytest.approx(6, abs=0.05)
    everything = hot(4, 4, 4, of=5)
    others = hot(0, 0, of=5)
    alone = [
        imagined.total(situation(1, 3), torch.cat([hot(place, of=5), others], dim=1)).item()
        for place in range(5)
    ]
    assert np.argmax(alone) == 4
    decided_worth = imagined.total(situation(1, 3), _decoded(found, actions[0], HALF)[None]).item()
    assert decided_worth > -0.01 > -0.5 > imagined.total(situation(1, 3), everything).item()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_numbers_turn_off_if_that_pays(sign: float) -> None:
    imagined = imagined_of((POWER,), lambda _, action: sign * action[..., 0])
    found = minimised(
        imagined, torch.full((2, 6), 0.0) + sign * torch.tensor([-1.0, 0, 0, 0, 0, 0]), 60
    )
    off = torch.softmax(found, dim=-1)[:, 0]
    assert ((off > 0.5) == (sign > 0)).all()


def test_what_the_policy_does_anyway_has_no_advantage() -> None:
    actions = (ON, OFFSET)
    worth = torch.randn(15, generator=draws(1))

    def game(_: Tensor, action: Tensor) -> Tensor:
        return quota(_, action) + action @ worth

    imagined = imagined_of(actions, game)
    chosen = torch.randint(2, (5, 4), generator=draws(2))
    logits = torch.cat(
        [
            200.0 * torch.nn.functional.one_hot(chosen, 2),
            torch.randn(5, 4, 13, generator=draws(3)),
        ],
        dim=-1,
    )
    action = torch.cat(
        [torch.nn.functional.one_hot(chosen, 2).float(), _decoded(logits[..., 2:], OFFSET, HALF)],
        dim=-1,
    )
    gain = advantages(imagined, situation(5, 4), logits, action, uniform(logits))
    assert gain.abs().max() < 1e-5
    other = torch.cat([1 - action[..., :2], action[..., 2:]], dim=-1)
    assert advantages(imagined, situation(5, 4), logits, other, uniform(logits)).abs().min() > 1e-3


def test_advantages_by_hand() -> None:
    """The policy has one cell of three on; a typical credit is 2; all counts tenfold in one network."""

    def weighed(observation: Tensor, action: Tensor) -> Tensor:
        return observation[..., 0] * quota(observation, action)

    imagined = imagined_of((ON,), weighed, scale=2.0)
    given = situation(2, 3)
    given.observation[:] = torch.tensor([1.0, 10.0])[:, None, None]
    logits = 200 * hot(0, 1, 1).repeat(2, 1, 1)
    action = torch.cat([hot(1, 1, 0), hot(0, 0, 0)])
    gain = advantages(imagined, given, logits, action, uniform(logits))
    # Off instead of on leaves none: -4 instead of -1. A second one on is right: 0. Others do as always.
    assert gain[0].tolist() == pytest.approx([-1.5, 0.0, 0.5], abs=1e-5)
    assert gain[1].tolist() == pytest.approx([0.0, 5.0, 5.0], abs=1e-5)


def observed(*cells: tuple[int, bool]) -> Tensor:
    """Return normalised observations `[1, K, D]` of the sleep task: state and turn of each cell."""
    observation = torch.full((1, len(cells), SLEEP_CONTRACT.observation_size), 0.25)
    for cell, (state, turn) in enumerate(cells):
        for index, name in enumerate(("active", "light", "deep")):
            observation[0, cell, PLACE[name]] = 1.0 if index == state else -1.0
        observation[0, cell, PLACE["waking"]] = -1.0
        observation[0, cell, PLACE["turn"]] = 1.0 if turn else -1.0
    return observation


def awake_and_changed(observation: Tensor, action: Tensor) -> Tensor:
    """A cell earns 1 awake, and pays 4 in the slot in which its order is another than its state."""
    state = HELD.state(observation)
    changes = 1 - (state * action[..., :3]).sum(dim=-1)
    return action[..., 0] - 4 * changes


def sleep_situation(*cells: tuple[int, bool]) -> Situation:
    plain = situation(1, len(cells))
    return Situation(observed(*cells), plain.coupling, plain.neighbours)


def test_deep_rest_is_worth_what_a_light_one_is() -> None:
    imagined = imagined_of(SLEEP_CONTRACT.actions, awake_and_changed, held=HELD)
    given = sleep_situation((0, True), (2, True))
    offset = torch.zeros(1, 2, 13)
    for orders, expected in (((0, 2), 1.0), ((1, 2), -4.0), ((2, 1), -4.0), ((0, 0), -2.0)):
        action = torch.cat([hot(*orders, of=3), offset], dim=-1)
        assert imagined.total(given, action).item() == pytest.approx(expected, abs=1e-5)


def test_cells_out_of_turn_learn_to_go_on_and_the_others_at_which_depth() -> None:
    imagined = imagined_of(SLEEP_CONTRACT.actions, awake_and_changed, held=HELD)
    # Features are 0.25 where nothing else is said: long enough in light rest to go deeper.
    given = sleep_situation((2, False), (1, True), (1, False), (0, False), (2, True))
    logits = torch.zeros(1, 5, 16, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for _ in range(80):
        loss = imagined_loss(imagined, given, logits, 0.3, uniform(logits))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    chance = torch.softmax(logits.detach()[0, :, :3], dim=-1)
    # Waking costs 4 and earns 1: nobody wakes up.
    assert chance.argmax(dim=-1).tolist() == [2, 2, 2, 0, 2]
    assert chance.amax(dim=-1).min() > 0.9


def test_loss_out_of_turn_by_hand() -> None:
    imagined = imagined_of(SLEEP_CONTRACT.actions[:1], awake_and_changed, held=HELD)
    logits = torch.log(torch.tensor([[[0.5, 0.2, 0.3]]]))
    given = Situation(
        observed((1, False)), torch.ones(1, 1, 1, 1), torch.zeros(1, 1, dtype=torch.long)
    )
    loss = imagined_loss(imagined, given, logits, 0.5, uniform(logits))
    assert loss.item() == pytest.approx(-math.log(0.3), rel=1e-5)


def test_numbers_beside_a_choice_follow_the_credit() -> None:
    """Every dB of an offset is worth something to whoever serves."""
    decibels = torch.arange(13.0) - 6

    def lured(_: Tensor, action: Tensor) -> Tensor:
        return action[..., 0] * (action[..., 2:] @ decibels) / 6

    imagined = imagined_of((ON, OFFSET), lured)
    logits = torch.zeros(1, 2, 15, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.2)
    for step in range(60):
        loss = imagined_loss(imagined, situation(1, 2), logits, 0.1, uniform(logits, step))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    offset = _decoded(logits.detach()[..., 2:], OFFSET, HALF) @ decibels
    assert offset.min() > 4


def test_others_out_of_turn_are_imagined_to_hold_theirs() -> None:
    """The policy would wake everybody, but only the third cell may give an order."""

    def crowd(_: Tensor, action: Tensor) -> Tensor:
        return action[..., 0].sum(dim=1, keepdim=True).expand(action.shape[:2]) ** 2

    imagined = imagined_of(SLEEP_CONTRACT.actions, crowd, held=HELD)
    given = sleep_situation((2, False), (1, False), (0, True))
    logits = torch.zeros(1, 3, 16)
    logits[..., 0] = 200.0
    stays = torch.cat([hot(2, 1, 0, of=3), torch.zeros(1, 3, 13)], dim=-1)
    assert advantages(imagined, given, logits, stays, uniform(logits))[0].tolist() == [0, 0, 0]
    wakes = torch.cat([hot(0, 0, 1, of=3), torch.zeros(1, 3, 13)], dim=-1)
    gain = advantages(imagined, given, logits, wakes, uniform(logits))[0]
    # Three cells earn the square of those awake: 2 or 0 instead of 1; a change out of turn costs extra.
    assert gain.tolist() == pytest.approx([9 - OUT_OF_TURN, 9 - OUT_OF_TURN, -3.0])


def test_another_depth_is_no_change_out_of_turn() -> None:
    imagined = imagined_of(SLEEP_CONTRACT.actions, awake_and_changed, held=HELD)
    given = sleep_situation((2, False), (1, False))
    logits = torch.zeros(1, 2, 16)
    light = torch.cat([hot(1, 2, of=3), torch.zeros(1, 2, 13)], dim=-1)
    assert advantages(imagined, given, logits, light, uniform(logits))[0].tolist() == [0, 0]


@pytest.mark.parametrize("action", [BRANCH, POWER])
def test_each_cell_asked_alone_leads_on_average_where_all_do(action: Action) -> None:
    imagined = imagined_of(
        (action,), lambda _, coded: coded[..., :1].sum(dim=1).square() + coded[..., 1]
    )
    given = situation(4, 3)
    given = replace(given, weight=torch.tensor([1.0, 1.0, 1.0]).repeat(4, 1))
    logits = torch.randn(4, 3, action.size, generator=draws(1))
    logits[0, 0, 1] = FORBIDDEN
    logits.requires_grad_()
    drawn = uniform(logits)

    def slope(asked: Tensor | None) -> Tensor:
        loss = imagined_loss(imagined, given, logits, 0.1, drawn, asked)
        found: Tensor = torch.autograd.grad(loss, logits)[0]
        return found

    alone = [slope(torch.eye(3)[cell].expand(4, 1, 3)) for cell in range(3)]
    assert not torch.allclose(alone[0], alone[1])
    torch.testing.assert_close(torch.stack(alone).mean(dim=0), slope(None))
    pair = torch.eye(3)[[2, 0]].expand(4, 2, 3)
    torch.testing.assert_close(slope(pair), (alone[0] + alone[2]) / 2)
