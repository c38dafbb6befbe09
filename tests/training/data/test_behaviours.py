"""Who acts in logged data: each cell by its own rule, disturbed as promised, always validly."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from networld_runtime.contract import ActionBins
from networld_training.data.behaviours import (
    OFF_SHARE,
    BehaviourPolicy,
    jittered,
    random_values,
)
from networld_training.data.qualities import QUALITIES, Behaviour, Quality, qualities_of
from networld_training.tasks.base import Task
from networld_training.tasks.power import OFF_DB, PowerNetwork, PowerTask
from networld_training.tasks.power.heuristics import POWER_HEURISTICS
from networld_training.tasks.registry import TASKS, find_task
from networld_training.tasks.spec import Action, Choice, Information, allowed

SHAPE = (5, 7)
BINS = st.builds(
    ActionBins,
    name=st.just("bins"),
    low=st.floats(-50, 0),
    high=st.floats(1, 50),
    count=st.integers(2, 40),
    off=st.none() | st.floats(-100, -51),
)
CHOICES = st.builds(
    Choice,
    name=st.just("choice"),
    labels=st.integers(1, 9).map(lambda size: tuple("abcdefghi"[:size])),
    masked=st.booleans(),
)


class Constant:
    """Always says the same."""

    name = "constant"
    information: Information = "none"

    def __init__(self, value: float) -> None:
        self.value = value

    def reset(self) -> None:
        """Do nothing: there is no state."""

    def act(self, task: Task) -> np.ndarray[Any, Any]:
        """Return the value for every cell."""
        return np.full(task.shape, self.value)


class NeverAsked(Constant):
    """Fails the test when it is asked."""

    def act(self, task: Task) -> np.ndarray[Any, Any]:
        """Raise an error."""
        raise AssertionError(task)


def power_task(episodes: int) -> PowerTask:
    task = PowerTask(PowerNetwork(slots=3, warm_up_slots=1), list(range(episodes)))
    task.reset()
    return task


@given(st.one_of(BINS, CHOICES), st.integers(0, 2**32), st.data())
def test_random_values_are_always_allowed(
    component: Action, seed: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    mask = None
    if isinstance(component, Choice):
        mask = random.random((*SHAPE, component.size)) < data.draw(st.floats(0, 1))
        only = random.integers(component.size, size=SHAPE)
        np.put_along_axis(mask, only[..., None], True, axis=-1)
    valid, expected = allowed(component, random_values(component, SHAPE, random, mask), mask)
    assert valid.all(), expected


@given(BINS, st.floats(0, 1), st.integers(0, 2**32))
def test_jittered_values_are_allowed_and_off_stays_off(
    bins: ActionBins, spread: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random_values(bins, SHAPE, random)
    moved = jittered(values, bins, spread, random)
    assert allowed(bins, moved)[0].all()
    off = values < bins.low
    assert (moved[off] == values[off]).all()
    np.testing.assert_array_equal(jittered(values, bins, 0.0, random), values)


@given(BINS, st.integers(0, 2**32))
def test_jitter_is_in_lengths_of_the_range(bins: ActionBins, seed: int) -> None:
    assume(bins.high - bins.low > 5)
    middle = np.full(400, (bins.low + bins.high) / 2)
    moved = jittered(middle, bins, 0.05, np.random.default_rng(seed))
    assert np.std(moved) / (bins.high - bins.low) == pytest.approx(0.05, rel=0.3)


def test_off_has_a_share_of_its_own() -> None:
    bins = ActionBins("power_db", -30.0, 0.0, 31, off=-40.0)
    values = random_values(bins, (100, 100), np.random.default_rng(0))
    assert (values == -40).mean() == pytest.approx(OFF_SHARE, abs=0.02)


def test_every_allowed_choice_is_as_likely() -> None:
    choice = Choice("user", ("1", "2", "3", "mute"), masked=True)
    mask = np.tile([True, False, True, True], (100, 100, 1))
    values = random_values(choice, (100, 100), np.random.default_rng(0), mask)
    shares = np.bincount(values.ravel(), minlength=4) / values.size
    np.testing.assert_allclose(shares, [1 / 3, 0, 1 / 3, 1 / 3], atol=0.02)


def test_each_cell_follows_its_own_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POWER_HEURISTICS, "ten", lambda: Constant(-10.0))
    monkeypatch.setitem(POWER_HEURISTICS, "twenty", lambda: Constant(-20.0))
    quality = Quality("two", (Behaviour("ten", 0.25, False), Behaviour("twenty", 0.75, False)))
    task = power_task(60)
    policy = BehaviourPolicy(quality, task, np.random.default_rng(0))
    assert (policy.behaviours == 0).mean() == pytest.approx(0.25, abs=0.06)
    assert len({tuple(episode) for episode in policy.behaviours}) > 10
    followed = np.where(policy.behaviours == 0, -10.0, -20.0)
    expected = np.where(task.measured.active, followed, OFF_DB)
    np.testing.assert_array_equal(policy.act(task)[..., 0], expected)


def test_all_cells_of_some_episodes_follow_the_same_rule() -> None:
    quality = Quality(
        "both", (Behaviour("full", 0.25, False), Behaviour("reuse-3", 0.75, False)), together=0.4
    )
    policy = BehaviourPolicy(quality, power_task(400), np.random.default_rng(0))
    alike = (policy.behaviours == policy.behaviours[:, :1]).all(axis=-1)
    # Of seven cells that draw for themselves all are alike in 13 % of the episodes.
    by_chance = 0.25**7 + 0.75**7
    assert alike.mean() == pytest.approx(0.4 + 0.6 * by_chance, abs=0.06)
    # Which rule it is goes by weight, too.
    rare = (policy.behaviours == 0).all(axis=-1)
    assert rare.mean() == pytest.approx(0.4 * 0.25, abs=0.04)
    assert (policy.behaviours == 0).mean() == pytest.approx(0.25, abs=0.04)


def test_nobody_together_draws_nothing_more() -> None:
    """Data sets of tasks without it are those of before, bit for bit."""
    quality, task = QUALITIES["power"]["mixed"], power_task(3)
    policy = BehaviourPolicy(quality, task, np.random.default_rng(0))
    random = np.random.default_rng(0)
    drawn = random.choice(len(quality.behaviours), size=task.shape, p=quality.weights)
    random.choice(quality.jitters, size=task.shape)
    random.choice(quality.random_shares, size=task.shape)
    assert quality.together == 0
    np.testing.assert_array_equal(policy.behaviours, drawn)
    assert policy.random.random() == random.random()


@pytest.mark.parametrize("task", TASKS)
def test_qualities_survive_json(task: str) -> None:
    for quality in qualities_of(task).values():
        data = json.loads(json.dumps(asdict(quality)))
        assert Quality.from_json(data) == quality
        # Sets made before there was `together` can still be read.
        del data["together"]
        assert Quality.from_json(data) == replace(quality, together=0.0)


def test_sleep_is_mixed_together_where_sets_matter() -> None:
    together = {name: one.together for name, one in QUALITIES["sleep"].items() if one.together}
    assert together == {"random": 0.5, "mixed": 0.5}
    assert "random-set" in QUALITIES["sleep"]["mixed"].rules
    assert all(one.together == 0 for task in ("power", "sched") for one in QUALITIES[task].values())


def test_rule_that_nobody_follows_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POWER_HEURISTICS, "never", lambda: NeverAsked(0.0))
    quality = Quality("one", (Behaviour("never", 0.0, False), Behaviour("full", 1.0, False)))
    task = power_task(2)
    BehaviourPolicy(quality, task, np.random.default_rng(0)).act(task)


def test_only_disturbed_behaviours_are_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(POWER_HEURISTICS, "ten", lambda: Constant(-10.0))
    quality = Quality("both", (Behaviour("ten", 0.5, False), Behaviour("ten", 0.5, True)))
    task = power_task(150)
    policy = BehaviourPolicy(quality, task, np.random.default_rng(0))
    same = policy.act(task)[..., 0] == -10
    active = task.measured.active
    assert same[active & (policy.behaviours == 0)].all()
    share = same[active & (policy.behaviours == 1)].mean()
    calm = quality.jitters.count(0.0) / len(quality.jitters)
    assert share == pytest.approx(calm * (1 - np.mean(quality.random_shares)), abs=0.07)


@pytest.mark.parametrize("task", TASKS)
def test_qualities_are_mixtures_of_rules_that_exist(task: str) -> None:
    qualities, entry = qualities_of(task), find_task(task)
    assert set(qualities) == {"random", "medium", "expert", "medium-expert", "mixed"}
    for name, quality in qualities.items():
        assert quality.name == name
        assert set(quality.rules) <= set(entry.heuristics)
        assert sum(quality.weights) == pytest.approx(1)
    assert qualities["expert"].rules == (entry.spec.expert,)
    medium, both = qualities["medium"], qualities["medium-expert"]
    assert both.rules == (*medium.rules, entry.spec.expert)
    assert both.weights == (*(weight / 2 for weight in medium.weights), 0.5)


def test_task_that_is_not_listed_has_qualities_made_from_its_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(QUALITIES, "power")
    qualities = qualities_of("power")
    realisable = ("random-bins", "full", "reuse-3", "price-own", "price-mean", "price-each")
    assert qualities["random"].rules == ("random",)
    assert qualities["expert"].rules == ("wmmse-pf",)
    assert qualities["medium"].rules == realisable
    assert qualities["mixed"].rules == ("random", *realisable, "wmmse-pf")
    assert qualities["mixed"].weights == (1 / 8,) * 8


def test_task_with_no_other_rules_mixes_random_and_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(QUALITIES, "power")
    for name in set(POWER_HEURISTICS) - {"random", "wmmse-pf"}:
        monkeypatch.delitem(POWER_HEURISTICS, name)
    medium = qualities_of("power")["medium"]
    assert (medium.rules, medium.weights) == (("random", "wmmse-pf"), (0.5, 0.5))
