"""The rules: their order at low and high load, their reach, and what the genies look for."""

from __future__ import annotations

import numpy as np
import pytest

from networld_runtime.errors import ConfigError
from networld_training.environments.rollout import run_policy
from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.tasks.sleep import SleepNetwork, SleepTask
from networld_training.tasks.sleep.genie import (
    exhaustive_search,
    flip_search,
    set_cost,
)
from networld_training.tasks.sleep.heuristics import SLEEP_HEURISTICS
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, PATIENCE_SLOTS, WAKING

SHORT = SleepNetwork(slots=10)
ORDER = ["random-bins", "random", "always-on", "threshold-neighbour", "greedy"]


def utilities(peak_demand_mbit_s: float, names: list[str]) -> dict[str, float]:
    network = SleepNetwork(peak_demand_mbit_s=peak_demand_mbit_s)
    return {
        name: float(
            run_policy(SleepTask(network, range(1000, 1020)), SLEEP_HEURISTICS[name]())[
                "mean_utility"
            ].mean()
        )
        for name in names
    }


@pytest.fixture(scope="module")
def high() -> dict[str, float]:
    return utilities(4.0, [*ORDER, "threshold-own"])


def test_more_information_is_better_at_high_load(high: dict[str, float]) -> None:
    found = [high[name] for name in ORDER]
    assert found == sorted(found)
    assert high["always-on"] < high["threshold-own"] < high["threshold-neighbour"]
    gap = high["greedy"] - high["random"]
    assert high["threshold-neighbour"] > high["always-on"] + 0.08 * gap
    assert high["threshold-neighbour"] < high["greedy"] - 0.08 * gap


def test_more_information_is_better_at_low_load() -> None:
    low = utilities(2.0, ["always-on", "threshold-neighbour", "greedy"])
    gained = low["threshold-neighbour"] - low["always-on"]
    assert 0.45 < gained / (low["greedy"] - low["always-on"]) < 0.85


def test_greedy_is_nearly_exhaustive() -> None:
    network = SleepNetwork(slots=24)
    found = {
        name: run_policy(SleepTask(network, range(6)), SLEEP_HEURISTICS[name]())["mean_utility"]
        for name in ("always-on", "greedy", "exhaustive")
    }
    on, greedy, exhaustive = (values.mean() for values in found.values())
    assert greedy <= exhaustive + 1e-3
    assert greedy - on > 0.9 * (exhaustive - on)


@pytest.mark.parametrize("name", SLEEP_HEURISTICS)
def test_actions_are_allowed_and_repeat_themselves(name: str) -> None:
    rule = SLEEP_HEURISTICS[name]()
    assert rule.name == name
    task = SleepTask(SHORT, range(3))
    first = run_policy(task, rule)
    again = run_policy(task, rule)
    assert all((first[key] == again[key]).all() for key in first)


@pytest.mark.parametrize("name", [name for name in SLEEP_HEURISTICS if name != "exhaustive"])
def test_rules_work_on_larger_networks(name: str) -> None:
    network = SleepNetwork(cells=19, slots=4, users_per_cell=3)
    metrics = run_policy(SleepTask(network, range(2)), SLEEP_HEURISTICS[name]())
    assert np.isfinite(metrics["mean_utility"]).all()


def test_exhaustive_refuses_larger_networks() -> None:
    task = SleepTask(SleepNetwork(cells=19, slots=4, users_per_cell=1), [0])
    with pytest.raises(ConfigError, match=r"19 cells have 2\^19 sets; .* Use greedy"):
        run_policy(task, SLEEP_HEURISTICS["exhaustive"]())


def test_a_random_cell_keeps_its_order_for_a_while() -> None:
    task = SleepTask(SleepNetwork(slots=60), range(20))
    rule = SLEEP_HEURISTICS["random"]()
    task.reset()
    actions = []
    for _ in range(60):
        actions.append(rule.act(task))
        task.step(actions[-1])
    changes = (np.diff(actions, axis=0) != 0).any(axis=-1)
    asleep = np.array(actions)[..., 0] > 0
    # One of four draws anew, and one of thirteen draws the same offset again.
    assert np.mean(changes) == pytest.approx(0.25 * (1 - 0.82 / 13), abs=0.02)
    assert np.mean(asleep) == pytest.approx(0.1, abs=0.02)


def test_random_sets_last_and_their_size_is_one_for_the_episode() -> None:
    task = SleepTask(SleepNetwork(slots=60), range(20))
    rule = SLEEP_HEURISTICS["random-set"]()
    task.reset()
    rule.reset()
    actions, states = [], [task.state]
    for _ in range(60):
        actions.append(rule.act(task))
        task.step(actions[-1])
        states.append(task.state)
    order, state = np.array(actions)[..., 0], np.array(states)
    assert (np.array(actions)[..., 1] == 0).all()
    # One of five draws anew, and what differs from its state is a change.
    share = (order == ACTIVE).mean(axis=(0, 2))
    left, right = order[:-1] == ACTIVE, order[1:] == ACTIVE
    changes = (left != right).mean(axis=(0, 2))
    assert changes == pytest.approx(0.2 * 2 * share * (1 - share), abs=0.05)
    assert share.mean() == pytest.approx(0.55, abs=0.15)
    assert share.min() < 0.25
    assert share.max() > 0.85
    fell = (state[:-1] == ACTIVE) & (order != ACTIVE)
    assert (order[fell] == LIGHT).mean() == pytest.approx(0.5, abs=0.06)
    # From the first slot, and many cells at once for three slots in a row: what no other rule does.
    assert 0.2 < (order[0] != ACTIVE).mean() < 0.7
    few = (state == ACTIVE).sum(axis=-1) <= 2
    assert (few[:-2] & few[1:-1] & few[2:]).any(axis=0).sum() >= 5


def test_a_lonely_threshold_cell_wakes_up_and_a_first_slot_is_awake() -> None:
    task = SleepTask(SHORT, range(4))
    task.reset()
    rule = SLEEP_HEURISTICS["threshold-neighbour"]()
    assert (rule.act(task)[..., 0] == ACTIVE).all()
    asleep = np.zeros(task.action_shape)
    asleep[..., 0] = LIGHT
    task.step(asleep)
    task.step(asleep)  # now every cell knows that no other is awake
    assert (rule.act(task)[..., 0] == ACTIVE).all()


def test_only_a_third_of_the_cells_falls_asleep_at_once() -> None:
    quiet = SleepNetwork(slots=10, peak_demand_mbit_s=0.3)
    task = SleepTask(quiet, range(8))
    task.reset()
    rule = SLEEP_HEURISTICS["threshold-neighbour"]()
    went = 0
    for _ in range(6):
        awake = task.state == ACTIVE
        turn = task.layout.reuse_colour == task.slot % 3
        down = awake & (rule.act(task)[..., 0] == LIGHT)
        assert not down[:, ~turn].any()
        went += int(down.sum())
        task.step(rule.act(task))
    assert went > 8


def test_cells_go_deep_after_some_slots_in_light_sleep() -> None:
    quiet = SleepNetwork(slots=10, peak_demand_mbit_s=0.3)
    task = SleepTask(quiet, range(4))
    task.reset()
    rule = SLEEP_HEURISTICS["greedy"]()
    states = []
    for _ in range(6):
        task.step(rule.act(task))
        states.append(task.state.copy())
    assert (states[0] != DEEP).all()
    slept = (states[0] == LIGHT) & (states[1] == LIGHT)
    assert PATIENCE_SLOTS == 2
    assert slept.mean() > 0.3
    assert (states[2][slept] == DEEP).mean() > 0.8


def test_the_genie_wakes_deep_cells_for_the_slot_to_come() -> None:
    busy = SleepNetwork(slots=10, peak_demand_mbit_s=5.0, night_share=1.0)
    task = SleepTask(busy, range(4))
    task.reset()
    deep = np.zeros(task.action_shape)
    deep[..., 0] = DEEP
    task.step(deep)
    rule = SLEEP_HEURISTICS["greedy"]()
    order = rule.act(task)
    task.step(order)
    assert (task.state == WAKING).any(axis=-1).all()
    task.step(rule.act(task))
    assert (task.state == ACTIVE).any(axis=-1).all()


def test_the_cost_of_a_set_is_what_the_slot_costs() -> None:
    task = SleepTask(SleepNetwork(slots=4, peak_demand_mbit_s=5.0), range(6))
    task.reset()
    generator = np.random.default_rng(0)
    awake = generator.random(task.shape) < 0.6
    awake[:, 0] = True
    cost = set_cost(task, 0, awake)(np.arange(6), awake)
    action = np.zeros(task.action_shape)
    action[..., 0] = np.where(awake, ACTIVE, LIGHT)
    outcome = task.step(action)
    # The first light sleep charges its transition in the slot.
    charged = (~awake).sum(axis=-1) * 1.088 / 10
    assert -outcome.utility.sum(axis=-1) == pytest.approx(cost + charged, rel=1e-3)


def test_searches_on_a_cost_known_by_hand() -> None:
    """The cost counts how far a set is from cells 1 and 3: one flip at a time leads there."""
    wanted = np.array([False, True, False, True, False])

    def cost(_: IntArray, awake: BoolArray) -> FloatArray:
        return np.asarray((awake != wanted).sum(axis=-1), dtype=np.float64)

    start = np.array([[True] * 5, [False] * 5])
    free = np.ones((2, 5), dtype=np.bool_)
    for search in (flip_search, exhaustive_search):
        assert (search(cost, start, free) == wanted).all()
        allowed = free.copy()
        allowed[1, 3] = False
        assert (search(cost, start, allowed)[1] == [False, True, False, False, False]).all()
