"""The credit model: bins and targets, what it reads of neighbours, and a game that it learns."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from networld_runtime.contract import Action, ActionBins, Choice
from networld_training.model.credit import BINS, CreditModel, CreditSize, Situation
from networld_training.tasks.learning import bin_activity, choice_activity

MODE = Choice("mode", ("on", "off"))
POWER = ActionBins("power_db", -20.0, 0.0, 5, off=-30.0)
FEATURES = 3
SMALL = CreditSize(hidden=32, burden=8)


def ring(cells: int) -> Tensor:
    """Every other cell is a neighbour, the next one first."""
    ahead = torch.arange(1, cells)
    return (torch.arange(cells)[:, None] + ahead) % cells


def model_of(
    actions: tuple[Action, ...], activity: tuple[float, ...], couplings: int = 1
) -> CreditModel:
    torch.manual_seed(0)
    return CreditModel(FEATURES, actions, activity, (0.5,) * couplings, SMALL)


def situation(networks: int, cells: int, couplings: int = 1, seed: int = 0) -> Situation:
    random = torch.Generator().manual_seed(seed)
    return Situation(
        torch.randn(networks, cells, FEATURES, generator=random),
        3 * torch.rand(networks, cells, cells - 1, couplings, generator=random),
        ring(cells),
    )


def choices(networks: int, cells: int, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    drawn = torch.randint(2, (networks, cells), generator=random)
    return torch.nn.functional.one_hot(drawn, 2).float()


@pytest.fixture
def fitted() -> CreditModel:
    """A model with the bins of credits from about -300 to 40, half of them within 2 of 0."""
    model = model_of((MODE,), (1.0, 0.0))
    random = torch.Generator().manual_seed(1)
    credit = torch.randn(20, 10, 7, generator=random) ** 3 - 1.0
    model.fit(credit, torch.rand(20, 10, 7, 6, 1, generator=random))
    return model


def test_bins_are_even_in_the_symmetric_logarithm(fitted: CreditModel) -> None:
    values, scale = fitted.values.double(), fitted.scale.double()
    compressed = values.sign() * torch.log1p(values.abs() / scale)
    steps = compressed.diff()
    assert len(values) == BINS
    assert (steps > 0).all()
    assert torch.allclose(steps, steps.mean(), rtol=1e-3)
    widths = values.diff()
    near = int(values.abs().argmin())
    assert widths[0] > 3 * widths[near]
    assert widths[-1] > 2 * widths[near]


def test_bins_span_all_but_the_hundredth_at_either_end() -> None:
    model = model_of((MODE,), (1.0, 0.0))
    credit = torch.arange(-500.0, 501.0)[torch.randperm(1001)].reshape(7, 11, 13)
    model.fit(credit, torch.rand(7, 11, 13, 6, 1))
    assert model.scale == 250  # the median of 1, 1, 2, 2, ..., 500, 500
    assert model.values[0].item() == pytest.approx(-490, rel=1e-4)
    assert model.values[-1].item() == pytest.approx(490, rel=1e-4)


def test_couplings_are_standardised_in_the_logarithm_of_their_sum(fitted: CreditModel) -> None:
    coupling = torch.rand(20, 10, 7, 6, 1) * torch.tensor(7.0)
    fitted.fit(torch.randn(20, 10, 7), coupling)
    level = fitted._level(coupling.sum(dim=-2))
    assert level.mean().item() == pytest.approx(0, abs=1e-4)
    assert level.std().item() == pytest.approx(1, rel=1e-3)


@given(share=st.floats(0, 1))
def test_target_adds_up_to_one_and_gives_back_what_lies_within_the_bins(share: float) -> None:
    model = model_of((MODE,), (1.0, 0.0))
    model.scale.fill_(3.0)
    model.bounds.copy_(torch.tensor([-4.0, 2.5]))
    values = model.values
    credit = values[0] + share * (values[-1] - values[0])
    target = model._two_hot(credit)
    assert target.sum().item() == pytest.approx(1, abs=1e-5)
    assert (target > 0).sum() <= 2
    compressed = model._compressed(values)
    found = (target @ compressed).item()
    assert found == pytest.approx(model._compressed(credit).item(), abs=1e-4)
    # Between two bins the expectation is off by less than an eighth of a step's square.
    step = (compressed[1] - compressed[0]).item()
    error = abs((target @ values).item() - credit.item())
    assert error <= 1.1 * step**2 / 8 * (abs(credit.item()) + 3.0) + 1e-3


@pytest.mark.parametrize(("credit", "bin_"), [(-1e6, 0), (1e6, BINS - 1)])
def test_values_beyond_the_bins_count_as_the_nearest(
    fitted: CreditModel, credit: float, bin_: int
) -> None:
    target = fitted._two_hot(torch.tensor([credit]))
    assert target[0, bin_] == 1
    assert target.sum() == 1


def test_numbers_are_read_as_place_and_off_and_choices_as_they_are() -> None:
    model = model_of((MODE, POWER), (1.0, 0.0, *(0.0 for _ in range(6))))
    expected = [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 0, -1, 1],
        [0, 0, -1, 0],
        [0, 0, -0.5, 0],
        [0, 0, 0, 0],
        [0, 0, 0.5, 0],
        [0, 0, 1, 0],
    ]
    assert torch.allclose(model.read, torch.tensor(expected))


def own_inputs(model: CreditModel, given: Situation, action: Tensor) -> Tensor:
    """Return what the model reads for each cell before it asks for burdens."""
    seen: list[Tensor] = []
    handle = model.burden.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(given, action)
    handle.remove()
    return seen[0]


def test_what_is_read_of_neighbours_by_hand() -> None:
    """Three cells; the power of the second is 0.01, the third is off."""
    model = model_of((POWER,), bin_activity(POWER))
    model.centre.fill_(0.25)
    model.spread.fill_(2.0)
    coupling = torch.tensor([[2.0, 5.0], [3.0, 7.0], [4.0, 9.0]])[None, :, :, None]
    given = Situation(torch.zeros(1, 3, FEATURES), coupling, ring(3))
    action = torch.zeros(1, 3, 6)
    action[0, 0, 5] = action[0, 1, 1] = action[0, 2, 0] = 1  # 0 dB, -20 dB, off
    own = own_inputs(model, given, action)[0, :, FEATURES:]
    activity = np.array([1.0, 0.01, 0.0])
    for cell in range(3):
        neighbours = [(cell + 1) % 3, (cell + 2) % 3]
        around, strength = activity[neighbours], coupling[0, cell, :, 0].numpy()
        reaching = (np.log((strength * around).sum() + 0.5) - 0.25) / 2
        resting = (np.log((strength * (1 - around)).sum() + 0.5) - 0.25) / 2
        place, off = [(1, 0), (-1, 0), (-1, 1)][cell]
        expected = [place, off, reaching, resting, around.mean()]
        assert own[cell].detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_what_is_made_together_is_averaged_plainly_and_by_each_coupling() -> None:
    """Each pair makes the number of the neighbour; the first cell's neighbours are the second and third."""
    model = model_of((MODE,), (1.0, 0.0), couplings=2)
    coupling = torch.tensor([[2.5, 0.0], [0.5, 3.0]])[None, None].repeat(1, 3, 1, 1)
    given = Situation(torch.tensor([[[1.0], [2.0], [6.0]]]), coupling, ring(3))
    own = given.observation
    model.shown, model.pair = torch.nn.Identity(), torch.nn.Identity()  # type: ignore[assignment]
    plain, *by_coupling = model._together(given, own, torch.ones(1, 3, 2, 1))
    # What is shown by both, the standardised logarithms of both couplings, and whether it is active.
    logarithms = np.log(np.array([[3.0, 0.5], [1.0, 3.5]]))
    made = np.concatenate([[[1, 2], [1, 6]], logarithms, [[1], [1]]], axis=1)
    assert plain[0, 0].numpy() == pytest.approx(made.mean(axis=0), rel=1e-5)
    for found, weight in zip(by_coupling, ((3, 1), (0.5, 3.5)), strict=True):
        expected = np.average(made, axis=0, weights=weight)
        assert found[0, 0].numpy() == pytest.approx(expected, rel=1e-5)


def test_a_neighbour_at_rest_reaches_as_little_as_one_without_coupling() -> None:
    model = model_of((MODE,), (1.0, 0.0), couplings=2)
    given, action = situation(1, 4, couplings=2), torch.zeros(1, 4, 2)
    action[..., 0] = 1
    reaching = slice(FEATURES + 2, FEATURES + 4)
    all_active = own_inputs(model, given, action)[0, 0, reaching]
    rests = action.clone()
    rests[0, 2] = torch.tensor([0.0, 1.0])
    by_rest = own_inputs(model, given, rests)[0, 0, reaching]
    uncoupled = given.coupling.clone()
    uncoupled[0, 0, 1] = 0  # the second neighbour of cell 0 is cell 2
    far = Situation(given.observation, uncoupled, given.neighbours)
    by_distance = own_inputs(model, far, action)[0, 0, reaching]
    assert torch.equal(by_rest, by_distance)
    assert (by_rest < all_active).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), networks=st.integers(1, 3))
def test_the_order_of_neighbours_does_not_matter(seed: int, networks: int) -> None:
    model = model_of((MODE,), (1.0, 0.0), couplings=2)
    given, action = situation(networks, 5, 2, seed), choices(networks, 5, seed)
    random = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(4, generator=random) for _ in range(5)])
    shuffled = Situation(
        given.observation,
        given.coupling.gather(2, order[None, :, :, None].expand(networks, 5, 4, 2)),
        given.neighbours.gather(1, order),
    )
    assert torch.allclose(model(given, action), model(shuffled, action), atol=1e-5)


def test_which_neighbour_is_coupled_how_strongly_does_matter() -> None:
    model = model_of((MODE,), (1.0, 0.0))
    given, action = situation(1, 3), torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    moved = Situation(given.observation, given.coupling.flip(2), given.neighbours)
    difference = (model(given, action) - model(moved, action)).abs().amax(dim=-1)[0]
    assert (difference > 1e-3).tolist() == [True, True, True]


def test_networks_of_a_batch_do_not_see_each_other() -> None:
    model = model_of((MODE,), (1.0, 0.0))
    given, action = situation(6, 4), choices(6, 4)
    together = model.expected(given, action)
    for index in range(6):
        some = torch.tensor([index])
        alone = model.expected(given.of(some), action[some])
        assert torch.allclose(alone, together[some], atol=1e-5)


def test_repeated_networks_stand_one_after_the_other() -> None:
    given = situation(2, 4)
    repeated = given.repeated(3)
    assert torch.equal(repeated.observation, given.observation[[0, 0, 0, 1, 1, 1]])
    assert torch.equal(repeated.coupling, given.coupling[[0, 0, 0, 1, 1, 1]])


def test_expected_credit_is_the_mean_of_the_bins(fitted: CreditModel) -> None:
    given, action = situation(2, 4), choices(2, 4)
    chance = torch.softmax(fitted(given, action), dim=-1).detach()
    expected = (chance * fitted.values).sum(dim=-1)
    assert torch.allclose(fitted.expected(given, action), expected, rtol=1e-4)


def test_loss_is_least_where_the_distribution_is_the_target(fitted: CreditModel) -> None:
    given, action = situation(1, 2), choices(1, 2)
    credit = torch.tensor([[-3.0, 0.7]])
    target = fitted._two_hot(credit)
    logits = torch.log_softmax(fitted(given, action), dim=-1)
    expected = -(target * logits).sum(dim=-1).mean()
    assert fitted.loss(given, action, credit).item() == pytest.approx(expected.item(), rel=1e-5)


def test_learns_to_rank_what_several_cells_do_at_once() -> None:
    """A cell earns its activity less what the active ones around it disturb."""
    cells, model = 4, model_of((MODE,), choice_activity((MODE,), 0, (0,)))
    random = torch.Generator().manual_seed(2)

    def game(networks: int) -> Situation:
        coupling = torch.exp(torch.randn(networks, cells, cells - 1, 1, generator=random) - 1.3)
        return Situation(torch.zeros(networks, cells, FEATURES), coupling, ring(cells))

    def earned(given: Situation, action: Tensor) -> Tensor:
        around = action[..., 0][:, given.neighbours]
        return action[..., 0] - (given.coupling[..., 0] * around).sum(dim=-1)

    logged, done = game(4000), choices(4000, cells, seed=3)
    credit = earned(logged, done)
    model.fit(credit[:, None], logged.coupling[:, None])
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(250):
        some = torch.arange(200 * step, 200 * (step + 1)) % 4000
        loss = model.loss(logged.of(some), done[some], credit[some])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    asked = game(50)
    every = torch.tensor(list(product([0, 1], repeat=cells)))
    joint = torch.nn.functional.one_hot(every, 2).float()
    repeated = asked.repeated(len(joint))
    action = joint.repeat(50, 1, 1)
    with torch.no_grad():
        found = model.expected(repeated, action).sum(dim=1).view(50, -1)
    true = earned(repeated, action).sum(dim=1).view(50, -1)
    correlation = [
        np.corrcoef(f, t)[0, 1] for f, t in zip(found.numpy(), true.numpy(), strict=True)
    ]
    assert np.median(correlation) > 0.98
    chosen = true.gather(1, found.argmax(dim=1, keepdim=True))[:, 0]
    best, mean = true.max(dim=1).values, true.mean(dim=1)
    assert ((best - chosen).mean() / (best - mean).mean()).item() < 0.05
