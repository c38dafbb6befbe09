"""The rules: their order, their reach, and that a message arrives one slot late."""

from __future__ import annotations

import numpy as np
import pytest

from networld_training.environments.rollout import run_policy
from networld_training.evaluation.scores import ScoredEpisodes
from networld_training.tasks.power import OFF_DB, PowerNetwork, PowerTask
from networld_training.tasks.power.contract import POWER_SPEC
from networld_training.tasks.power.heuristics import POWER_HEURISTICS, Price
from networld_training.tasks.power.observation import log_price

SHORT = PowerNetwork(warm_up_slots=10, slots=10)


@pytest.fixture(scope="module")
def scores() -> dict[str, float]:
    seeds = range(1000, 1096)
    metrics = {
        name: run_policy(PowerTask(PowerNetwork(), seeds), make())
        for name, make in POWER_HEURISTICS.items()
    }
    estimates = ScoredEpisodes("power", POWER_SPEC, metrics, [0] * len(seeds), seed=0).scores()
    return {name: estimate.value for name, estimate in estimates.items()}


def test_more_information_is_better(scores: dict[str, float]) -> None:
    order = ["reuse-3", "random-bins", "random", "full", "price-mean", "wmmse-pf"]
    assert sorted(order, key=scores.__getitem__) == order
    assert scores["full"] < scores["price-each"] < scores["wmmse-pf"]


def test_scores(scores: dict[str, float]) -> None:
    expected = {"full": 19, "price-mean": 82, "price-each": 81}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=4)


@pytest.mark.parametrize("name", POWER_HEURISTICS)
def test_actions_are_off_or_within_the_range(name: str) -> None:
    heuristic = POWER_HEURISTICS[name]()
    assert heuristic.name == name
    task = PowerTask(SHORT, range(4))
    task.reset()
    heuristic.reset()
    for _ in range(4):
        action = heuristic.act(task)
        assert action.shape == task.shape
        assert ((action == OFF_DB) | ((action >= -30) & (action <= 0))).all()
        task.step(action)


@pytest.mark.parametrize("name", POWER_HEURISTICS)
def test_a_rule_repeats_itself(name: str) -> None:
    task = PowerTask(SHORT, [3, 4])
    policy = POWER_HEURISTICS[name]()
    first = run_policy(task, policy)
    again = run_policy(task, policy)
    assert all((first[key] == again[key]).all() for key in first)


def test_random_policies_leave_the_channel_alone() -> None:
    task = PowerTask(SHORT, [3])
    run_policy(task, POWER_HEURISTICS["random"]())
    after_random = task.user_gain.copy()
    run_policy(task, POWER_HEURISTICS["full"]())
    assert (task.user_gain == after_random).all()


def test_without_a_message_the_price_rule_is_full_power() -> None:
    task = PowerTask(SHORT, range(3))
    task.reset()
    rule = Price("mean-field")
    assert (rule.act(task) == 0).all()
    task.step(np.zeros(task.shape))
    assert (rule.act(task) < 0).any()
    task.reset()
    assert (rule.act(task) == 0).all()


def test_prices_are_quantised_and_those_of_the_slot_before() -> None:
    task = PowerTask(SHORT, range(3))
    task.reset()
    told, active = log_price(task.measured), task.measured.active
    assert np.isnan(task.received).all()
    task.step(np.zeros(task.shape))
    received = task.received[..., 0]
    step = (4.0 - -16.0) / 254
    assert np.abs(received - np.clip(told, -16, 4))[active].max() <= step / 2 + 1e-6
    assert len(np.unique(np.round((received[active] + 16) / step, 3) % 1)) <= 2
    assert np.isnan(received[~active]).all()
    assert not np.allclose(log_price(task.measured), told)


def test_genie_is_at_least_full_power_in_a_slot() -> None:
    genie, full = PowerTask(SHORT, range(20)), PowerTask(SHORT, range(20))
    genie.reset()
    full.reset()
    weight = genie.measured.weight * genie.measured.active
    best = genie.step(POWER_HEURISTICS["wmmse-pf"]().act(genie)).details["spectral_efficiency"]
    plain = full.step(np.zeros(full.shape)).details["spectral_efficiency"]
    assert (weight * best).sum() > (weight * plain).sum()
