"""Each offline method on a problem whose right answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from networld_training.baselines.actions import ActionCode
from networld_training.baselines.cloning import Cloning, CloningSettings
from networld_training.baselines.diffuser import Diffuser, DiffuserActor, DiffuserSettings
from networld_training.baselines.implicit_q import ImplicitQ, ImplicitQSettings, expectile_loss
from networld_training.baselines.learner import Learner
from networld_training.baselines.trajectories import LoggedData

MakeData = Callable[[Tensor, Tensor, Tensor], LoggedData]
LEFT, RIGHT = 0, 1
TRAJECTORIES, SLOTS = 400, 8


def train(learner: Learner, steps: int) -> None:
    for step in range(steps):
        learner.advance(torch.Generator().manual_seed(step))


def sides(learner: Learner, seen: Tensor) -> Tensor:
    """Return the most probable side for each row that is seen."""
    code = ActionCode(learner.data.manifest.spec)  # type: ignore[union-attr,arg-type]
    with torch.no_grad():
        logits = learner.actor(seen[None], lambda count: torch.zeros(1, len(seen), count))
    return code.best(logits, torch.tensor([True, True, False]))[0, :, 0]


def choices(make: MakeData, entry: int) -> tuple[LoggedData, Tensor]:
    """Return data in which a side is right that one entry tells and 4 of 5 chose the other; and probes."""
    random = torch.Generator().manual_seed(0)
    seen = 2 * torch.rand(TRAJECTORIES, SLOTS + 1, 3, generator=random) - 1
    right = (seen[:, :-1, entry] > 0).long()
    wrong = torch.rand(right.shape, generator=random) < 0.8
    chosen = torch.where(wrong, 1 - right, right)
    noise = 0.3 * torch.randn(right.shape, generator=random)
    probes = torch.zeros(2, 3)
    probes[:, entry] = torch.tensor([-0.7, 0.7])
    return make(seen, chosen, (chosen == right) + noise), probes


@pytest.mark.parametrize("entry", [0, 2], ids=["observed", "told"])
def test_cloning_copies_what_most_did(logged: MakeData, entry: int) -> None:
    data, probes = choices(logged, entry)
    learner = Cloning(data, CloningSettings(width=32, batch=64, learning_rate=3e-3))
    train(learner, 150)
    assert sides(learner, probes).tolist() == [RIGHT, LEFT]
    # 0.50 where one of two sides is taken four times of five; a coin has 0.69.
    assert 0.48 < learner.held_out_loss() < 0.6


@pytest.mark.parametrize("entry", [0, 2], ids=["observed", "told"])
def test_implicit_q_learning_finds_what_is_better(logged: MakeData, entry: int) -> None:
    data, probes = choices(logged, entry)
    settings = ImplicitQSettings(width=32, batch=64, learning_rate=3e-3, target_share=0.05)
    learner = ImplicitQ(data, settings)
    train(learner, 250)
    assert sides(learner, probes).tolist() == [LEFT, RIGHT]


@pytest.mark.parametrize(("discount", "better"), [(0.0, LEFT), (0.9, RIGHT)])
def test_implicit_q_learning_sees_as_far_as_the_discount(
    logged: MakeData, discount: float, better: int
) -> None:
    """Left pays a little now; right leads to where much is paid, whatever is done there."""
    random = torch.Generator().manual_seed(0)
    chosen = (torch.rand(TRAJECTORIES, SLOTS, generator=random) < 0.5).long()
    seen = torch.zeros(TRAJECTORIES, SLOTS + 1, 3)
    seen[:, 1:, 0] = chosen.float()
    reward = 0.3 * (chosen == LEFT) + 1.0 * (seen[:, :-1, 0] == 1)
    settings = ImplicitQSettings(
        width=32, batch=64, learning_rate=3e-3, target_share=0.05, discount=discount
    )
    learner = ImplicitQ(logged(seen, chosen, reward), settings)
    train(learner, 250)
    probes = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert sides(learner, probes).tolist() == [better, better]


def test_the_expectile_loss_weighs_what_is_above() -> None:
    assert float(expectile_loss(torch.tensor([2.0, -1.0]), 0.8)) == pytest.approx(
        (0.8 * 4 + 0.2 * 1) / 2
    )


@pytest.fixture(scope="module")
def diffuser(logged: MakeData) -> Diffuser:
    """Trained where right leads up and pays, left leads down and does not; 4 of 5 went left."""
    random = torch.Generator().manual_seed(0)
    chosen = (torch.rand(TRAJECTORIES, 1, generator=random) < 0.2).long().expand(-1, SLOTS)
    seen = torch.zeros(TRAJECTORIES, SLOTS + 1, 3)
    seen[:, 1:, 0] = torch.where(chosen == RIGHT, 0.8, -0.8)
    seen[..., 1] = 0.2 * torch.randn(seen.shape[:2], generator=random)
    settings = DiffuserSettings(
        width=64, batch=128, horizon=4, learning_rate=2e-3, average=0.98, target_return=1.0
    )
    learner = Diffuser(logged(seen, chosen, chosen.float()), settings)
    train(learner, 500)
    return learner


@pytest.mark.parametrize(("wanted", "side"), [(1.0, RIGHT), (0.0, LEFT)])
def test_the_diffuser_goes_where_the_return_is_that_it_is_asked_for(
    diffuser: Diffuser, wanted: float, side: int
) -> None:
    settings = DiffuserSettings(width=64, horizon=4, target_return=wanted)
    actor = DiffuserActor(diffuser.data.manifest.spec, settings)
    actor.load_state_dict(diffuser.actor.state_dict())
    random = torch.Generator().manual_seed(1)
    now = torch.zeros(1, 32, 2)
    with torch.no_grad():
        logits = actor(now, lambda count: torch.randn(1, 32, count, generator=random))
        plan = actor.plan(now[0], 0.5 * torch.randn(32, 4, 2, generator=random))
    chosen = ActionCode(diffuser.data.manifest.spec).best(logits, None)[0, :, 0]
    assert (chosen == side).float().mean() > 0.9
    assert torch.equal(plan[:, 0], now[0])
    ahead = plan[:, 1:, 0].mean()
    assert float(ahead) == pytest.approx(0.8 if side == RIGHT else -0.8, abs=0.2)


def test_the_returns_that_are_asked_for_look_ahead_and_are_discounted(logged: MakeData) -> None:
    rewards = torch.zeros(10, 6)
    rewards[0] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 2.0])
    inputs, chosen = torch.zeros(10, 7, 3), torch.zeros(10, 6, dtype=torch.long)
    data = logged(inputs, chosen, rewards)
    learner = Diffuser(data, DiffuserSettings(width=8, horizon=3, discount=0.5))
    assert learner.returns.shape == (9, 4)
    assert not learner.returns[1:].any()  # nothing paid; also the first percentile
    assert float(learner.returns.max()) == 1
    # 0.25, 0.5, 1 and 0.5, the 2 being two slots away, over the 99th percentile of all 36.
    scale = float(np.quantile([0.25, 0.5, 1, 0.5] + 32 * [0], 0.99))
    expected = [0.25 / scale, 0.5 / scale, 1.0, 0.5 / scale]
    assert learner.returns[0].tolist() == pytest.approx(expected, abs=1e-4)
