"""Situations of a part of a network: neighbours by share, and cells that count more or less."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from networld_runtime.contract import ActionBins, Choice
from networld_training.model.credit import CreditModel, CreditSize, Situation
from networld_training.model.imagination import Imagined, imagined_loss

MODE = Choice("mode", ("a", "b", "c"))
POWER = ActionBins("power_db", -20.0, 0.0, 5, off=-30.0)
NEIGHBOURS = torch.tensor([[1, 2], [0, 2], [3, 0], [1, 2]])
CELLS, NUMBER, FEATURES = 4, 2, 3


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def situation(seed: int = 0, networks: int = 5) -> Situation:
    return Situation(
        torch.randn(networks, CELLS, FEATURES, generator=draws(seed)),
        torch.rand(networks, CELLS, NUMBER, 2, generator=draws(seed + 1)),
        NEIGHBOURS,
    )


def shares() -> Tensor:
    return torch.nn.functional.one_hot(NEIGHBOURS, CELLS).float()


def imagined(action: Choice | ActionBins) -> Imagined:
    torch.manual_seed(0)
    model = CreditModel(FEATURES, (action,), (0.5,) * action.size, (0.1, 0.2), CreditSize(16, 8, 8))
    return Imagined(model, None, (action,))


@settings(deadline=None, max_examples=20)
@drawn(st.lists(st.integers(1, 4), max_size=2))
def test_whole_shares_are_indices(rest: list[int]) -> None:
    plain = situation()
    values = torch.randn(5, CELLS, *rest, generator=draws(3))
    by_share = replace(plain, neighbours=shares()).around(values)
    assert by_share.shape == (5, CELLS, NUMBER, *rest)
    torch.testing.assert_close(by_share, plain.around(values))


def test_an_unknown_neighbour_is_the_mean_of_those_it_is_spread_over() -> None:
    spread = shares()
    spread[0, 1] = torch.tensor([0.0, 0.5, 0.0, 0.5])
    values = torch.arange(8.0).reshape(1, CELLS, 2)
    around = replace(situation(), neighbours=spread).around(values)
    assert around[0, 0].tolist() == [[2.0, 3.0], [4.0, 5.0]]  # cell 1, the mean of cells 1 and 3


@pytest.mark.parametrize("action", [MODE, POWER])
def test_credit_and_loss_do_not_depend_on_how_neighbours_are_given(
    action: Choice | ActionBins,
) -> None:
    judge, plain = imagined(action), situation()
    other = replace(plain, neighbours=shares(), weight=torch.ones(5, CELLS))
    logits = torch.randn(5, CELLS, action.size, generator=draws(4))
    uniform = torch.rand(logits.shape, generator=draws(5))
    first, second = (imagined_loss(judge, given, logits, 0.2, uniform) for given in (plain, other))
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(judge.worth(plain, logits), judge.worth(other, logits))


@pytest.mark.parametrize("action", [MODE, POWER])
def test_cells_without_weight_change_nothing(action: Choice | ActionBins) -> None:
    """A network that is half padding is worth what the other networks are; so is its gradient."""
    judge = imagined(action)
    whole = replace(situation(), neighbours=shares())
    logits = torch.randn(5, CELLS, action.size, generator=draws(4)).requires_grad_()
    uniform = torch.rand(logits.shape, generator=draws(5))
    weight = torch.ones(5, CELLS)
    weight[3:] = 0
    padded = imagined_loss(judge, replace(whole, weight=weight), logits, 0.2, uniform)
    rest = imagined_loss(judge, whole.of(torch.arange(3)), logits[:3], 0.2, uniform[:3])
    torch.testing.assert_close(padded, rest)
    (slope,) = torch.autograd.grad(padded, logits)
    assert slope[:3].abs().sum() > 0
    assert not slope[3:].any()


def test_what_is_worth_to_a_cell_without_weight_is_left_out() -> None:
    judge, plain = imagined(MODE), situation()
    action = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2, 0]] * 5), 3).float()
    credit = judge.credit.expected(plain, action)
    weight = torch.tensor([1.0, 0.5, 0.0, 1.0]).repeat(5, 1)
    found = judge.total(replace(plain, weight=weight), action)
    torch.testing.assert_close(found, credit[:, 0] + 0.5 * credit[:, 1] + credit[:, 3])
    torch.testing.assert_close(judge.total(plain, action), credit.sum(dim=1))


def test_weights_go_where_their_networks_go() -> None:
    weight = torch.arange(20.0).reshape(5, CELLS)
    given = replace(situation(), weight=weight)
    for moved, places in (
        (given.of(torch.tensor([3, 1])), [3, 1]),
        (given.repeated(2), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
    ):
        assert moved.weight is not None
        assert torch.equal(moved.weight, weight[places])


def test_worth_is_that_of_the_likeliest_choices_in_typical_credits() -> None:
    judge, plain = imagined(MODE), situation()
    judge.credit.scale.fill_(4.0)
    logits = torch.randn(5, CELLS, 3, generator=draws(4))
    likeliest = torch.nn.functional.one_hot(logits.argmax(dim=-1), 3).float()
    torch.testing.assert_close(judge.worth(plain, logits), judge.total(plain, likeliest) / 4)
