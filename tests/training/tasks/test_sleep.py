"""The sleep task: what orders do and what a slot costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import FloatArray
from networld_training.radio.channel import Channel
from networld_training.radio.energy import ENERGY_TABLES
from networld_training.radio.streams import spawn_streams
from networld_training.tasks.registry import TASKS
from networld_training.tasks.sleep import SleepNetwork, SleepTask
from networld_training.tasks.sleep.contract import SLEEP_SPEC
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, WAKING, state_machine
from networld_training.tasks.spec import ActionError

SHORT = SleepNetwork(slots=12)
INDEX = {feature.name: i for i, feature in enumerate(SLEEP_SPEC.features)}
TOLD = {feature.name: i for i, feature in enumerate(SLEEP_SPEC.message)}


def started(seeds: tuple[int, ...] = (1, 2, 3), network: SleepNetwork = SHORT) -> SleepTask:
    task = SleepTask(network, seeds)
    task.reset()
    return task


def any_action(generator: np.random.Generator, task: SleepTask) -> FloatArray:
    order = generator.integers(3, size=task.shape)
    return np.stack([order, generator.integers(-6, 7, size=task.shape)], axis=-1).astype(float)


def ordered(task: SleepTask, order: int, cells: tuple[int, ...] = ()) -> FloatArray:
    """Actions with this order for some cells, active for the others, no offsets."""
    action = np.zeros(task.action_shape)
    action[:, list(cells), 0] = order
    return action


def test_registry_and_interface() -> None:
    assert TASKS["sleep"].make is SleepTask
    assert [len(SLEEP_SPEC.features), len(SLEEP_SPEC.message), SLEEP_SPEC.mask_size] == [21, 6, 0]
    assert len(INDEX) == 21
    assert all(one.low < one.high for one in SLEEP_SPEC.features + SLEEP_SPEC.message)
    assert SLEEP_SPEC.kpis[0].name == "mean_utility"
    assert SLEEP_SPEC.expert in TASKS["sleep"].heuristics


def test_shapes_types_and_end() -> None:
    task, generator = started(), np.random.default_rng(0)
    assert task.observation.shape == (3, 7, 21)
    for slot in range(1, 13):
        outcome = task.step(any_action(generator, task))
        assert outcome.done == (slot == 12)
        for values in (outcome.observation, outcome.reward, outcome.utility):
            assert values.dtype == np.float32
            assert np.isfinite(values).all()
    metrics = task.metrics()
    assert list(metrics) == [kpi.name for kpi in SLEEP_SPEC.kpis]
    assert all(values.shape == (3,) for values in metrics.values())


# Every sequence begins active. Waking takes the slot after the order; then orders are obeyed again.
SEQUENCES = [
    ([0, 1, 1, 0, 0], [ACTIVE, LIGHT, LIGHT, ACTIVE, ACTIVE]),
    ([2, 2, 0, 0, 0], [DEEP, DEEP, WAKING, ACTIVE, ACTIVE]),
    ([2, 0, 2, 0, 1], [DEEP, WAKING, DEEP, WAKING, LIGHT]),
    ([2, 1, 1, 0, 1], [DEEP, DEEP, DEEP, WAKING, LIGHT]),
    ([1, 2, 0, 0, 1], [LIGHT, DEEP, WAKING, ACTIVE, LIGHT]),
]
# Energy of the transitions, charged on the way down.
CHARGED = [
    [0, 1.088, 0, 0, 0],
    [17, 0, 0, 0, 0],
    [17, 0, 17, 0, 1.088],
    [17, 0, 0, 0, 1.088],
    [1.088, 17 - 1.088, 0, 0, 1.088],
]


@pytest.mark.parametrize(("sequence", "charged"), list(zip(SEQUENCES, CHARGED, strict=True)))
def test_states_and_transitions_by_hand(
    sequence: tuple[list[int], list[int]], charged: list[float]
) -> None:
    task = started()
    for order, state, energy in zip(*sequence, charged, strict=True):
        before = task.state[:, 2].copy()
        outcome = task.step(ordered(task, order, (2,)))
        assert (task.state[:, 2] == state).all()
        assert task.energy.transition[:, 2] == pytest.approx(energy)
        assert (task.energy.transition[:, 3] == 0).all()
        served = (task.serving_cell == 2).any(axis=-1)
        assert served.any() == (state == ACTIVE)
        flags = outcome.observation[:, 2, INDEX["active"] : INDEX["waking"] + 1]
        assert (flags.argmax(axis=-1) == state).all()
        power = {LIGHT: 21.0, DEEP: 10.0, WAKING: 10.0}
        if state != ACTIVE:
            assert outcome.details["energy"][:, 2] == pytest.approx(power[state] + energy)
        else:
            late = 0.64 if (before == LIGHT).any() else 0.0
            load = outcome.details["load"][:, 2]
            expected = late * 2.1 + (10 - late) * 5 + 10 * load * 21
            assert outcome.details["energy"][:, 2] == pytest.approx(expected, rel=1e-5)


def test_waking_from_light_sleep_costs_capacity() -> None:
    hot = SleepNetwork(slots=4, peak_demand_mbit_s=300.0, night_share=1.0)
    task = started(network=hot)
    task.step(ordered(task, LIGHT, (2,)))
    woken = task.step(ordered(task, ACTIVE)).details["load"]
    assert woken[:, 2] == pytest.approx(0.936)
    assert task.step(ordered(task, ACTIVE)).details["load"][:, 2] == pytest.approx(1.0)


def test_category_1_wakes_within_a_slot() -> None:
    machine = state_machine(ENERGY_TABLES["category-1-set-2"], 10.0)
    assert machine.state[DEEP].tolist() == [ACTIVE, DEEP, DEEP]
    assert machine.awake_share[DEEP, 0] == pytest.approx(0.995)
    assert machine.awake_share[LIGHT, 0] == pytest.approx(0.9994)
    assert machine.transition[ACTIVE].tolist() == [0, 0.09, 1.0]


def test_always_on_is_the_closed_form() -> None:
    task = started()
    used, loads = 0.0, []
    for _ in range(12):
        outcome = task.step(np.zeros(task.action_shape))
        loads.append(task.energy.transmission / (10 * 26))
        used = used + outcome.details["energy"].sum(axis=-1)
    mean_load = np.mean(loads, axis=(0, 2))
    metrics = task.metrics()
    assert metrics["power"] == pytest.approx(5 + 21 * mean_load, rel=1e-9)
    assert metrics["power"] == pytest.approx(used / (7 * 12 * 10), rel=1e-5)
    assert (metrics["switches_per_hour"] == 0).all()


def test_energy_is_that_of_the_states_and_each_transition_once() -> None:
    """Counted again from the sequence of states alone, for whole random episodes."""
    network = SleepNetwork(slots=40)
    task, generator = started((5, 6), network), np.random.default_rng(1)
    expected = np.zeros(2)
    down = {LIGHT: 1.088, DEEP: 17.0}
    switches = np.zeros(2)
    for _ in range(40):
        before = task.state.copy()
        action = any_action(generator, task)
        action[..., 0] *= generator.random(task.shape) < 0.3
        load = task.step(action).details["load"].astype(float)
        for e, k in np.ndindex(task.shape):
            old, new = int(before[e, k]), int(task.state[e, k])
            if new == ACTIVE:
                late = 0.64 if old == LIGHT else 0.0
                expected[e] += late * 2.1 + (10 - late - 10 * load[e, k]) * 5 + 260 * load[e, k]
            else:
                expected[e] += 10 * (2.1 if new == LIGHT else 1.0)
            if new in down and new != old:
                expected[e] += down[new] - (down[LIGHT] if old == LIGHT else 0.0)
            switches[e] += (old == ACTIVE) != (new == ACTIVE)
    metrics = task.metrics()
    assert metrics["power"] == pytest.approx(expected / (7 * 400), rel=1e-6)
    assert metrics["switches_per_hour"] == pytest.approx(switches / (7 * 400 / 3600))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_traffic_is_served_or_not_and_nothing_else(seed: int) -> None:
    task = SleepTask(SleepNetwork(slots=6, peak_demand_mbit_s=6.0), [seed, seed + 1])
    task.reset()
    generator = np.random.default_rng(seed)
    offered, unserved = np.zeros(2), np.zeros(2)
    for _ in range(6):
        demand = task.demand_mbit_s()
        details = task.step(any_action(generator, task)).details
        assert details["offered_mbit_s"].sum(axis=-1) == pytest.approx(demand.sum(axis=-1))
        assert (details["unserved_mbit_s"] >= 0).all()
        assert (details["unserved_mbit_s"] <= details["offered_mbit_s"] + 1e-4).all()
        served = task.measured.served_mbit_s.sum(axis=-1)
        lost = details["unserved_mbit_s"].sum(axis=-1)
        assert served + lost == pytest.approx(demand.sum(axis=-1), rel=1e-6)
        offered += demand.sum(axis=-1)
        unserved += lost
        assert np.abs(task.balance()["traffic_mbit"]).max() < 1e-9 * offered.max()
    assert task.metrics()["unserved_share"] == pytest.approx(unserved / offered, rel=1e-5)


def test_utility_and_reward_by_hand() -> None:
    network = SleepNetwork(slots=4, peak_demand_mbit_s=6.0, reference_power=2.0)
    task = started(network=network)
    gain = task.user_gain.copy()
    demand = task.demand_mbit_s()
    outcome = task.step(ordered(task, LIGHT, (0, 1, 2, 3, 4)))
    details = outcome.details
    # 6 users with a mean of 6 (1 + 0.1) / 2 Mbit/s.
    expected = -details["energy"] / 20 - 60 * details["unserved_mbit_s"] / 19.8
    assert outcome.utility == pytest.approx(expected, rel=1e-5)
    assert details["unserved_mbit_s"][:, :5].sum() > 0
    assert outcome.reward == pytest.approx(
        np.broadcast_to(outcome.utility.mean(axis=1, keepdims=True), (3, 7)), rel=1e-5
    )
    # Traffic counts for the cell that its user receives best, whether that one is awake or not.
    by_hand = np.zeros((3, 7))
    for e, u in np.ndindex(demand.shape):
        by_hand[e, gain[e, u].argmax()] += demand[e, u]
    assert details["offered_mbit_s"] == pytest.approx(by_hand, rel=1e-6)


def test_users_go_to_the_best_cell_awake_by_gain_and_offset() -> None:
    task = started()
    gain_db = 10 * np.log10(task.user_gain)
    action = ordered(task, DEEP, (1, 5))
    offset_db = np.array([0.0, 6.0, -3.0, 5.0, 0.0, 6.0, 1.0])
    action[..., 1] = offset_db
    task.step(action)
    reached = gain_db + offset_db
    reached[..., [1, 5]] = -np.inf
    assert (task.serving_cell == reached.argmax(axis=-1)).all()
    assert (task.serving_cell != gain_db.argmax(axis=-1)).any()


def test_all_cells_asleep_serve_nothing() -> None:
    task = started()
    outcome = task.step(ordered(task, DEEP, tuple(range(7))))
    assert (outcome.details["load"] == 0).all()
    assert outcome.details["unserved_mbit_s"] == pytest.approx(outcome.details["offered_mbit_s"])
    assert np.isfinite(outcome.observation).all()
    assert (task.metrics()["unserved_share"] == 1).all()
    task.step(ordered(task, ACTIVE))
    assert np.isnan(task.received[..., TOLD["load"]]).all()
    assert task.received[..., TOLD["awake"]] == pytest.approx(0, abs=0.01)
    assert (task.state == WAKING).all()
    assert task.step(ordered(task, ACTIVE)).details["load"].sum() > 0


@pytest.mark.parametrize(
    ("value", "component", "words"),
    [
        (3, 0, "mode = 3 of cell 1 in episode 0: expected a whole number, 0 to 2"),
        (0.5, 0, "mode = 0.5 .* a whole number"),
        (-6.5, 1, "cell_individual_offset_db = -6.5 .* expected -6 to 6"),
        (np.nan, 1, "cell_individual_offset_db = nan"),
    ],
)
def test_invalid_actions_are_refused(value: float, component: int, words: str) -> None:
    task = started()
    action = np.zeros(task.action_shape)
    action[0, 1, component] = value
    with pytest.raises(ActionError, match=words):
        task.step(action)
    with pytest.raises(ActionError, match="shape"):
        task.step(np.zeros(task.shape))


def test_light_sleep_ordered_in_deep_sleep_counts_as_deep() -> None:
    task = started()
    task.step(ordered(task, DEEP, (1,)))
    action = ordered(task, LIGHT, (0, 1))
    effective = task.effective_action(action)
    assert (effective[:, 0, 0] == LIGHT).all()
    assert (effective[:, 1, 0] == DEEP).all()
    assert (action[:, 1, 0] == LIGHT).all()


def test_no_policy_changes_traffic_or_channel() -> None:
    one, other = started(), started()
    for _ in range(6):
        one.step(np.zeros(one.action_shape))
        other.step(ordered(other, DEEP, (0, 1, 2)))
    assert (one.demand_mbit_s() == other.demand_mbit_s()).all()
    assert (one.user_gain == other.user_gain).all()


def test_users_move_with_the_channel() -> None:
    task = started((4, 5))
    streams = [spawn_streams(seed) for seed in (4, 5)]
    channel = Channel(SHORT.channel_config(fading=False), streams)
    first = task.user_gain
    for _ in range(7):
        assert (task.user_gain == channel.gain * SHORT.full_power_over_noise).all()
        best = task.user_gain.argmax(axis=-1)
        task.step(np.zeros(task.action_shape))
        assert (task.serving_cell == best).all()
        channel.advance()
    assert (task.user_gain != first).all()


def test_larger_layouts() -> None:
    task = started((1, 2), SleepNetwork(cells=19, slots=4))
    outcome = task.step(any_action(np.random.default_rng(0), task))
    assert outcome.observation.shape == (2, 19, 21)
    assert np.isfinite(outcome.observation).all()


def test_every_wrong_key_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        SleepNetwork(
            cells=8, peak_demand_mbit_s=0, night_share=2, energy_table="none", unserved_weight=-1
        )
    assert [problem.split(" = ")[0] for problem in error.value.problems] == [
        "cells",
        "peak_demand_mbit_s",
        "night_share",
        "energy_table",
        "unserved_weight",
    ]
    with pytest.raises(ConfigError, match=r"slot_s = 5.0: expected at least the 10 s that waking"):
        SleepNetwork(slot_s=5.0)
    assert SleepNetwork(slot_s=5.0, energy_table="category-1-set-2").energy.deep == 1
