"""The rules: their order, their reach, and that a message arrives one slot late."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_training.environments.rollout import run_policy
from networld_training.radio.arrays import FloatArray
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.sched import MUTE, SchedNetwork, SchedTask
from networld_training.tasks.sched.coordination import coordinated
from networld_training.tasks.sched.heuristics import LOSS_BORNE, OTHERS_ACTIVE, SCHED_HEURISTICS
from networld_training.tasks.sched.observation import sched_message

SHORT = SchedNetwork(slots=12, offered_mbit_s=28.8)


@pytest.fixture(scope="module")
def delays() -> dict[str, FloatArray]:
    network = SchedNetwork(offered_mbit_s=28.8)
    names = ["random", "round-robin", "pf", "maxweight", "mute-mean", "coordinated"]
    return {
        name: run_policy(SchedTask(network, range(1000, 1064)), SCHED_HEURISTICS[name]())[
            "mean_delay_s"
        ]
        for name in names
    }


def test_more_information_is_better_beyond_doubt(delays: dict[str, FloatArray]) -> None:
    random = delays["random"]
    gap = (delays["coordinated"] - random).mean()
    intervals = []
    for name in ["round-robin", "pf", "maxweight", "mute-mean", "coordinated"]:
        score = 100 * (delays[name] - random) / gap
        half = 1.96 * score.std(ddof=1) / np.sqrt(len(score))
        intervals.append((score.mean() - half, score.mean() + half))
    assert intervals[0][0] > 0
    assert all(worse[1] < better[0] for worse, better in pairwise(intervals))


def test_scores(delays: dict[str, FloatArray]) -> None:
    random, expert = delays["random"].mean(), delays["coordinated"].mean()
    expected = {"round-robin": 12, "pf": 51, "maxweight": 59, "mute-mean": 74}
    for name, score in expected.items():
        found = 100 * (delays[name].mean() - random) / (expert - random)
        assert found == pytest.approx(score, abs=4), name


@pytest.mark.parametrize("name", SCHED_HEURISTICS)
def test_actions_are_valid_and_work_is_conserved(name: str) -> None:
    task = SchedTask(SHORT, range(4))
    task.reset()
    rule = SCHED_HEURISTICS[name]()
    assert rule.name == name
    rule.reset()
    silent = False
    for _ in range(12):
        action = rule.act(task)
        assert action.shape == task.shape
        silent |= bool((task.measured.waiting & (action == MUTE)).any())
        task.step(action)  # raises for an action that the mask forbids
    # Only these leave a cell silent that has backlog.
    assert silent == (name.startswith(("random", "mute")) or name == "coordinated")


@pytest.mark.parametrize("name", SCHED_HEURISTICS)
def test_a_rule_repeats_itself(name: str) -> None:
    task = SchedTask(SHORT, [3, 4])
    policy = SCHED_HEURISTICS[name]()
    once = run_policy(task, policy)
    again = run_policy(task, policy)
    assert all((once[key] == again[key]).all() for key in once)


def test_random_policies_leave_channel_and_traffic_alone() -> None:
    task = SchedTask(SHORT, [3])
    run_policy(task, SCHED_HEURISTICS["random"]())
    gain, arrived = task.user_gain.copy(), task.queues.arrived_files.copy()
    run_policy(task, SCHED_HEURISTICS["maxweight"]())
    assert (task.user_gain == gain).all()
    assert (task.queues.arrived_files == arrived).all()


def test_proportional_fair_against_a_plain_reference() -> None:
    """A scheduler of its own, over users, with its own average rates."""
    task = SchedTask(SchedNetwork(slots=30, offered_mbit_s=24.0), range(3))
    task.reset()
    rule = SCHED_HEURISTICS["pf"]()
    average = task.average_rate.copy()
    picks = 0
    for _ in range(30):
        action = rule.act(task)
        served = np.zeros_like(average)
        chosen = []
        for episode in range(3):
            for cell in range(7):
                best, best_ratio = -1, -1.0
                for user in range(28):
                    if task.serving_cell[episode, user] != cell:
                        continue
                    if task.queues.bits[episode, user] == 0:
                        continue
                    snr = task.user_gain[episode, user, cell]
                    rate = float(spectral_efficiency(snr / task.user_interference[episode, user]))
                    ratio = max(rate, 1e-2) / average[episode, user]
                    if ratio > best_ratio:
                        best, best_ratio = user, ratio
                place = int(action[episode, cell])
                picked = -1 if place == MUTE else task.measured.user[episode, cell, place]
                assert picked == best
                picks += best >= 0
                if best >= 0:
                    chosen.append((episode, cell, best))
        efficiency = task.step(action).details["spectral_efficiency"]
        for episode, cell, user in chosen:
            served[episode, user] = efficiency[episode, cell]
        average = np.maximum(0.95 * average + 0.05 * served, 1e-2)
        assert np.allclose(average, task.average_rate, rtol=1e-5)
    assert picks > 300


def test_round_robin_takes_turns() -> None:
    """With long queues every user of a cell is served once before any is served twice."""
    task = SchedTask(SchedNetwork(slots=12, waiting_files=500.0, buffer_files=500), range(3))
    task.reset()
    rule = SCHED_HEURISTICS["round-robin"]()
    rule.reset()
    served: list[list[list[int]]] = [[[] for _ in range(7)] for _ in range(3)]
    for _ in range(8):
        action = rule.act(task)
        for episode, cell in np.argwhere(action != MUTE):
            place = int(action[episode, cell])
            served[episode][cell].append(int(task.measured.user[episode, cell, place]))
        task.step(action)
    compared = 0
    for episode in range(3):
        for cell in range(7):
            users = int(task.measured.attached[episode, cell])
            turns = served[episode][cell]
            if 2 <= users <= 4 and task.queues.bits[episode].min() > 0:
                assert len(set(turns[:users])) == users
                assert turns[users : 2 * users] == turns[:users][: 8 - users]
                compared += 1
    assert compared > 5


def test_max_rate_and_maxweight_pick_the_largest() -> None:
    task = SchedTask(SHORT, range(5))
    task.reset()
    for _ in range(5):
        measured = task.measured
        waits = measured.backlog_bits > 0
        rate = np.where(waits, measured.rate, -1)
        for name, key in (
            ("max-rate", rate),
            ("maxweight", np.where(waits, measured.backlog_bits * np.maximum(rate, 1e-2), -1)),
        ):
            action = SCHED_HEURISTICS[name]().act(task)
            assert ((action == MUTE) == ~measured.waiting).all()
            place = np.where(action == MUTE, 0, action).astype(int)
            picked = np.take_along_axis(key, place[..., None], axis=-1)[..., 0]
            assert (picked == key.max(axis=-1))[measured.waiting].all()
        task.step(SCHED_HEURISTICS["maxweight"]().act(task))


@pytest.mark.parametrize(("offered_mbit_s", "stable"), [(9.6, True), (60.0, False)])
def test_maxweight_is_stable_below_capacity_only(offered_mbit_s: float, stable: bool) -> None:
    network = SchedNetwork(
        slots=500,
        offered_mbit_s=offered_mbit_s,
        waiting_files=0.0,
        buffer_files=400,
        users_per_cell=2,
    )
    task = SchedTask(network, range(5))
    task.reset()
    rule = SCHED_HEURISTICS["maxweight"]()
    backlog = []
    for _ in range(500):
        backlog.append(task.queues.bits.sum(axis=-1).mean())
        task.step(rule.act(task))
    assert task.queues.dropped_files.sum() == 0
    assert (np.mean(backlog[300:]) < 1.5 * np.mean(backlog[100:300])) == stable
    served = task.metrics()["served_mbit_s"].mean()
    assert (served > 0.95 * offered_mbit_s) == stable


def test_without_a_message_the_muting_rule_is_maxweight() -> None:
    task = SchedTask(SHORT, range(8))
    task.reset()
    rule, plain = SCHED_HEURISTICS["mute-mean"](), SCHED_HEURISTICS["maxweight"]()
    assert (rule.act(task) == plain.act(task)).all()
    task.step(plain.act(task))
    assert (rule.act(task) != plain.act(task)).any()
    task.reset()
    assert (rule.act(task) == plain.act(task)).all()


@pytest.mark.parametrize("name", ["mute-own", "mute-mean", "mute-each", "mute-root"])
def test_muting_against_a_plain_reference(name: str) -> None:
    task = SchedTask(SHORT, range(6))
    task.reset()
    rule, exponent = SCHED_HEURISTICS[name](), 0.5 if name == "mute-root" else 1.0
    silences = 0
    for _ in range(5):
        task.step(SCHED_HEURISTICS["maxweight"]().act(task))
        action, measured = rule.act(task), task.measured
        own = sched_message(measured, task.last)
        for episode, cell in np.ndindex(6, 7):
            if not measured.waiting[episode, cell]:
                assert action[episode, cell] == MUTE
                continue
            loss = 0.0
            for number, neighbour in enumerate(task.neighbours[cell]):
                told = {
                    "mute-own": own[episode, cell],
                    "mute-mean": task.mean_field[episode, cell],
                    "mute-root": task.mean_field[episode, cell],
                    "mute-each": task.received[episode, neighbour],
                }[name]
                if np.isnan(told[0]):
                    continue
                signal, incoming = 10 ** (float(told[1]) / 10), 10 ** (float(told[2]) / 10)
                leaked = measured.leakage[episode, cell, number]
                without = spectral_efficiency(signal / (OTHERS_ACTIVE * incoming + 1))
                beside = spectral_efficiency(signal / (OTHERS_ACTIVE * incoming + 1 + leaked))
                loss += float(np.expm1(told[0]) ** exponent * (without - beside))
            backlog = measured.backlog_bits[episode, cell, 0]
            interference = OTHERS_ACTIVE * measured.incoming[episode, cell] + 1
            rate = spectral_efficiency(measured.signal[episode, cell] / interference)
            gain = (backlog / 1e6) ** exponent * min(float(rate), backlog / 1e5)
            if loss != pytest.approx(LOSS_BORNE * gain, rel=1e-4):
                assert (action[episode, cell] == MUTE) == (loss > LOSS_BORNE * gain)
                silences += loss > LOSS_BORNE * gain
            if action[episode, cell] != MUTE:
                bits = measured.backlog_bits[episode, cell]
                rates = np.minimum(measured.rate[episode, cell], bits / 1e5)
                best = 0 if exponent == 1 else np.argmax(bits**exponent * rates)
                assert action[episode, cell] == best
    assert silences > 10


def plain_coordination(gain: FloatArray, backlog: FloatArray) -> list[int]:
    """Greedy removal in one episode, from gains `[K, N, K]` and backlogs `[K, N]`."""
    cells, users = backlog.shape

    def value(cell: int, user: int, active: set[int]) -> float:
        others = sum(gain[cell, user, other] for other in active - {cell})
        rate = spectral_efficiency(gain[cell, user, cell] / (others + 1))
        return float(backlog[cell, user] * min(float(rate), backlog[cell, user]))

    def left(choice: list[int]) -> set[int]:
        def total(active: set[int]) -> float:
            return sum(value(cell, choice[cell], active) for cell in active)

        active = {cell for cell in range(cells) if backlog[cell].max() > 0}
        while active:
            fewer = max((active - {cell} for cell in sorted(active)), key=total)
            if total(fewer) <= total(active) + 1e-12:
                break
            active = fewer
        return active

    beside = left([0] * cells)
    best = [
        int(np.argmax([value(cell, user, beside) for user in range(users)]))
        for cell in range(cells)
    ]
    active = left(best)
    return [best[cell] if cell in active else -1 for cell in range(cells)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_coordination_against_a_plain_reference(seed: int) -> None:
    generator = np.random.default_rng(seed)
    gain = 10 ** generator.uniform(-1, 4, (2, 5, 3, 5))
    waits = generator.random((2, 5, 3)) < 0.8
    backlog = np.where(waits, generator.uniform(0, 6, (2, 5, 3)), 0.0)
    found = coordinated(gain, backlog)
    for episode in range(2):
        assert found[episode].tolist() == plain_coordination(gain[episode], backlog[episode])


def test_all_gains_alike_the_weakest_pair_is_silent() -> None:
    """Two cells that drown each other: only the one with more backlog transmits."""
    gain = np.full((1, 2, 1, 2), 100.0)
    backlog = np.array([[[5.0], [8.0]]])
    assert coordinated(gain, backlog).tolist() == [[-1, 0]]
    apart = gain * np.eye(2)[None, :, None, :]
    assert coordinated(apart, backlog).tolist() == [[0, 0]]
    assert coordinated(apart, backlog * [[[1.0], [0.0]]]).tolist() == [[0, -1]]


def test_the_genie_raises_the_weighted_rate_of_a_slot() -> None:
    genie, plain = SchedTask(SHORT, range(20)), SchedTask(SHORT, range(20))
    values = []
    for task, name in ((genie, "coordinated"), (plain, "maxweight")):
        task.reset()
        queued = task.queues.bits.copy()
        task.step(SCHED_HEURISTICS[name]().act(task))
        values.append((queued * task.queues.served_bits).sum(axis=-1).astype(float))
    assert (values[0] >= values[1] * (1 - 1e-6)).mean() > 0.9
    assert values[0].sum() > 1.02 * values[1].sum()
