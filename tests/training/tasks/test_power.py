"""The power task: what a slot does, what it is worth and what a cell sees."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from networld_runtime.errors import ConfigError
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.power import OFF_DB, PowerNetwork, PowerTask
from networld_training.tasks.power.contract import POWER_CONTRACT
from networld_training.tasks.registry import TASKS
from networld_training.tasks.spec import ActionError

SHORT = PowerNetwork(warm_up_slots=10, slots=12)
INDEX = {feature.name: i for i, feature in enumerate(POWER_CONTRACT.features)}


def started(seeds: tuple[int, ...] = (1, 2, 3), scenario: PowerNetwork = SHORT) -> PowerTask:
    task = PowerTask(scenario, seeds)
    task.reset()
    return task


def test_registry_and_contract() -> None:
    assert TASKS["power"].make is PowerTask
    contract = PowerTask.contract
    assert contract.observation_size == 28
    assert (contract.horizon, contract.discount) == (7, 0.25)
    assert (contract.latent_size, contract.message_size) == (32, 16)
    assert contract.action_size == 32
    assert contract.returns.count == 51
    assert len({feature.name for feature in contract.features}) == 28
    assert all(feature.low < feature.high for feature in contract.features)


def test_shapes_types_and_end() -> None:
    task = started()
    assert task.observation.shape == (3, 7, 28)
    for slot in range(1, 13):
        outcome = task.step(np.zeros((3, 7)))
        assert outcome.done == (slot == 12)
    for values in (outcome.observation, outcome.reward, outcome.utility):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert outcome.reward.shape == (3, 7)
    assert {name: value.shape for name, value in task.metrics().items()} == {
        "mean_log_rate": (3,),
        "user_rate_p5": (3,),
        "cell_spectral_efficiency": (3,),
        "jain": (3,),
    }


def test_rate_utility_and_reward_by_hand() -> None:
    task = started()
    measured = copy.deepcopy(task.measured)
    action = np.random.default_rng(0).uniform(-40, 0, (3, 7))
    outcome = task.step(action)
    power = np.where(action < -30, 0, 10 ** (np.minimum(action, 0) / 10)) * measured.active
    for episode in range(3):
        for cell in range(7):
            received = measured.gain[episode, cell] * power[episode]
            interference = received.sum() - received[cell] + 1
            rate = spectral_efficiency(received[cell] / interference)
            assert outcome.details["spectral_efficiency"][episode, cell] == pytest.approx(
                rate, rel=1e-5
            )
            growth = 0.95 + 0.05 * rate * measured.weight[episode, cell]
            utility = np.log(growth) / 0.05
            assert outcome.utility[episode, cell] == pytest.approx(utility, rel=1e-4, abs=1e-5)
    # Seven cells are all neighbours of each other.
    expected = outcome.utility.mean(axis=1, keepdims=True).repeat(7, axis=1)
    assert np.allclose(outcome.reward, expected, atol=1e-5)


def test_reward_is_of_the_cell_and_its_six_neighbours() -> None:
    task = started((4,), PowerNetwork(cells=19, warm_up_slots=5, slots=5))
    outcome = task.step(np.random.default_rng(0).uniform(-30, 0, (1, 19)))
    for cell in range(19):
        around = [cell, *task.neighbours[cell]]
        assert outcome.reward[0, cell] == pytest.approx(outcome.utility[0, around].mean(), rel=1e-5)


def test_utility_adds_up_to_the_growth_of_logarithmic_rates() -> None:
    task = started()
    averages = []
    for _ in range(2):
        averages.append(task.average_rate.copy())
        outcome = task.step(np.zeros((3, 7)))
    growth = np.log(averages[1] / averages[0]).sum(axis=-1)
    decay = np.log(0.95)
    unscheduled = averages[0].shape[1] - task.measured.active.sum(axis=-1)
    assert not np.isclose(growth, 0).any()
    task.reset()
    outcome = task.step(np.zeros((3, 7)))
    expected = 0.05 * outcome.utility.sum(axis=-1) + unscheduled * decay
    assert np.allclose(growth, expected, atol=1e-4)


def test_scheduler_against_a_plain_reference() -> None:
    task = started()
    for _ in range(4):
        gain, average = task.user_gain, task.average_rate
        for episode in range(3):
            for cell in range(7):
                users = np.flatnonzero(task.serving_cell[episode] == cell)
                assert task.measured.attached[episode, cell] == len(users)
                if not len(users):
                    assert not task.measured.active[episode, cell]
                    continue
                ratio = gain[episode, users, cell] / task.user_interference[episode, users]
                expected = np.maximum(spectral_efficiency(ratio), 1e-2)
                best = users[np.argmax(expected / average[episode, users])]
                assert task.scheduled_user[episode, cell] == best
        task.step(np.zeros((3, 7)))


def test_idle_cells_are_silent_and_earn_nothing() -> None:
    sparse = PowerNetwork(users_per_cell=1, warm_up_slots=5, slots=5)
    task = started(tuple(range(20)), sparse)
    idle = ~task.measured.active
    assert idle.any()
    assert np.isfinite(task.observation).all()
    outcome = task.step(np.zeros(task.shape))
    assert (outcome.utility[idle] == 0).all()
    assert (outcome.details["spectral_efficiency"][idle] == 0).all()
    assert (outcome.observation[idle][:, INDEX["off_1_ago"]] == 1).all()
    # Whom an idle cell points at must not lose what another cell served.
    assert np.allclose(
        task.user_rates.sum(axis=-1), outcome.details["spectral_efficiency"].sum(axis=-1)
    )
    assert np.isfinite(outcome.observation).all()


def test_users_are_handed_over_at_the_margin() -> None:
    task = started(tuple(range(40)), PowerNetwork(speed_m_s=20.0, warm_up_slots=40, slots=5))
    gain = task.measured.large_scale_gain[task.measured.active]
    own = np.nonzero(task.measured.active)[1]
    behind_db = 10 * np.log10(gain.max(axis=-1) / gain[np.arange(len(gain)), own])
    assert behind_db.max() <= 3
    assert behind_db.max() > 1


def test_off_saves_the_neighbours_from_interference() -> None:
    loud, quiet = started(), started()
    action = np.zeros((3, 7))
    heard = loud.step(action).details["spectral_efficiency"]
    action[:, 0] = OFF_DB
    spared = quiet.step(action).details["spectral_efficiency"]
    assert (spared[:, 0] == 0).all()
    assert (spared[:, 1:] >= heard[:, 1:] - 1e-6).all()
    assert spared[:, 1:].sum() > heard[:, 1:].sum()


def test_observation_shows_what_was_done_and_measured() -> None:
    task = started()
    action = np.full((3, 7), -7.0)
    action[:, 2] = OFF_DB
    active = task.measured.active
    outcome = task.step(action)
    seen = outcome.observation
    assert seen[:, 2, INDEX["power_1_ago"]] == pytest.approx(-31)
    assert (seen[:, 2, INDEX["off_1_ago"]] == 1).all()
    assert seen[:, 3, INDEX["power_1_ago"]][active[:, 3]] == pytest.approx(-7, abs=1e-5)
    efficiency = seen[..., INDEX["spectral_efficiency_1_ago"]]
    assert (efficiency == outcome.details["spectral_efficiency"]).all()
    later = task.step(np.zeros((3, 7))).observation
    assert (later[..., INDEX["power_2_ago"]] == seen[..., INDEX["power_1_ago"]]).all()

    measured = task.measured
    own = np.arange(7)
    direct = 10 * np.log10(measured.gain[:, own, own])
    assert np.allclose(later[..., INDEX["direct_gain"]], np.maximum(direct, -10), atol=1e-4)
    leak = measured.gain[0, :, 4] * measured.active[0]
    total = leak.sum() - leak[4]
    assert later[0, 4, INDEX["leakage"]] == pytest.approx(10 * np.log10(total), abs=1e-4)
    strongest = np.delete(leak, 4).max()
    shown = later[0, 4, INDEX["leakage_strongest_1"]]
    assert shown == pytest.approx(10 * np.log10(strongest), abs=1e-4)


def test_observation_stays_near_its_ranges() -> None:
    task = started(tuple(range(30)))
    scaled = POWER_CONTRACT.normalise(task.observation)
    assert (np.abs(scaled) <= 1).mean() > 0.95


def test_mean_log_rate_is_of_the_scored_slots() -> None:
    task = started()
    assert (task.user_rates == 0).all()
    served = sum(
        task.step(np.zeros((3, 7))).details["spectral_efficiency"].sum(axis=-1) for _ in range(4)
    )
    assert np.allclose(task.user_rates.sum(axis=-1), served / 4)
    assert np.allclose(
        task.mean_log_rate(), np.log(np.maximum(task.user_rates, 1e-2)).mean(axis=-1)
    )


def test_every_wrong_key_is_named() -> None:
    with pytest.raises(ConfigError) as error:
        PowerNetwork(name="odd", cells=8, users_per_cell=0, model="rma", averaging=1.0, slots=0)
    assert [problem.split(" = ")[0] for problem in error.value.problems] == [
        "cells",
        "users_per_cell",
        "model",
        "slots",
        "averaging",
    ]
    with pytest.raises(ConfigError, match="inter_site_distance_m = 15"):
        PowerNetwork(inter_site_distance_m=15.0)


@pytest.mark.parametrize("seeds", [(), (-1,), (3, 1.5), ("4",)])
def test_seeds_are_whole_numbers_from_0(seeds: tuple[Any, ...]) -> None:
    found = repr(seeds[-1]) if seeds else "none"
    with pytest.raises(ConfigError, match=f"seeds: {found}, expected whole numbers from 0"):
        PowerTask(SHORT, seeds)


@pytest.mark.parametrize("action", [[["loud"] * 7], [[0.0], [0.0, 0.0]], [[{}] * 7]])
def test_actions_that_are_no_numbers_are_refused(action: Any) -> None:
    task = started((1,), SHORT)
    with pytest.raises(ActionError, match=r"are no numbers of shape \(1, 7, 1\)"):
        task.step(action)
    assert task.slot == 0
