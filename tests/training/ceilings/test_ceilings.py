"""Ceilings: what they are trained for is right, training helps, and they know what a cell knows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from networld_runtime.errors import ConfigError, DataError
from networld_training.ceilings import training
from networld_training.ceilings.model import CeilingModel
from networld_training.ceilings.policy import CeilingPolicy
from networld_training.ceilings.power import PowerObjective
from networld_training.ceilings.sched import SchedObjective, _worth_and_harm
from networld_training.ceilings.shipped import ShippedCeiling
from networld_training.ceilings.sleep import _excess_cost
from networld_training.ceilings.training import CeilingSettings, CeilingTrainer
from networld_training.radio.arrays import FloatArray, IntArray
from networld_training.radio.link import spectral_efficiency
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.registry import find_task
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.sched.contract import LISTED, MUTE
from networld_training.tasks.sched.heuristics import SCHED_HEURISTICS
from networld_training.tasks.sched.network import SchedNetwork
from networld_training.tasks.sched.task import SchedTask
from networld_training.tasks.sleep.genie import set_cost
from networld_training.tasks.sleep.modes import ACTIVE
from networld_training.tasks.sleep.network import SleepNetwork
from networld_training.tasks.sleep.task import SleepTask

SMALL = CeilingSettings(
    steps=60, episodes=8, validate_every=20, validation_episodes=8, learning_rate=1e-2
)


@pytest.fixture
def small_power(monkeypatch: pytest.MonkeyPatch) -> None:
    network = PowerNetwork(warm_up_slots=10, slots=30)
    scenario = Scenario("networld/power/small-v0", "reference", (network,))
    entry = replace(find_task("power"), scenarios={"small": scenario})
    monkeypatch.setattr(training, "find_task", lambda _: entry)


def train() -> tuple[dict[str, float], list[str], dict[str, torch.Tensor]]:
    trainer = CeilingTrainer("power", SMALL)
    before = trainer.validate()
    notes: list[str] = []
    weights = trainer.run(lambda _, note: notes.append(note))
    return before, notes, dict(weights)


@pytest.mark.usefixtures("small_power")
def test_training_helps_and_the_seed_decides() -> None:
    before, notes, weights = train()
    best = float(notes[-1].split(";")[0].removeprefix("best "))
    assert best > before["small"] + 20
    _, _, again = train()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def weighted_rates(task: SchedTask, choice: IntArray) -> FloatArray:
    """Return the sum of the weighted rates of all cells `[E]`, one link after the other."""
    total = np.zeros(task.shape[0])
    slot_bits = task.network.bandwidth_hz * task.network.slot_s
    for episode, cell in np.ndindex(*task.shape):
        place = choice[episode, cell]
        if place == MUTE:
            continue
        user = task.measured.user[episode, cell, place]
        bits = float(task.measured.backlog_bits[episode, cell, place])
        gain = task.user_gain[episode, user]
        others = [j for j in range(task.shape[1]) if j != cell and choice[episode, j] != MUTE]
        rate = float(spectral_efficiency(gain[cell] / (gain[others].sum() + 1)))
        total[episode] += math.sqrt(bits) * min(rate * slot_bits, bits)
    return total


def test_worth_less_harm_is_the_difference_to_silence() -> None:
    task = SchedTask(SchedNetwork(), range(4))
    task.reset()
    random = np.random.default_rng(0)
    mask = np.asarray(task.action_mask)
    choice = np.where(mask[..., 0] & (random.random(task.shape) < 0.7), 0, MUTE)
    worth, harm = _worth_and_harm(task, choice)
    for cell in range(7):
        on, off = choice.copy(), choice.copy()
        on[:, cell] = np.where(mask[:, cell, 0], 0, MUTE)
        off[:, cell] = MUTE
        waiting = mask[:, cell, 0]
        difference = weighted_rates(task, on) - weighted_rates(task, off)
        found = worth[:, cell, 0] - harm[:, cell]
        assert found[waiting] == pytest.approx(difference[waiting], rel=1e-6)


def test_the_excess_cost_is_that_of_the_two_sets() -> None:
    task = SleepTask(SleepNetwork(), range(3))
    task.reset()
    awake = np.random.default_rng(1).random(task.shape) < 0.6
    asked = np.zeros(task.shape, dtype=np.bool_)
    asked[1, 2] = asked[2, 5] = True
    found = _excess_cost(task, 0, awake, asked)
    cost = set_cost(task, 0, task.state == ACTIVE)
    for value, (episode, cell) in zip(found, ((1, 2), (2, 5)), strict=True):
        sets = np.stack([awake[episode], awake[episode]])
        sets[:, cell] = [True, False]
        with_cell, without = cost(np.array([episode, episode]), sets)
        assert value == pytest.approx(with_cell - without)


def test_a_cell_hears_its_neighbours_one_slot_late() -> None:
    torch.manual_seed(0)
    objective = PowerObjective()
    network = PowerNetwork(warm_up_slots=5, slots=5)
    model = CeilingModel(objective.input_size, 1, objective.output_size)
    torch.nn.init.normal_(model.output.weight)

    def act(change: Callable[[PowerTask], None]) -> list[FloatArray]:
        task = PowerTask(network, [1])
        policy = CeilingPolicy(objective, model, {network: 0})
        policy.reset()
        task.reset()
        change(task)
        first = policy.act(task)
        task.step(np.zeros(task.shape))
        return [first, policy.act(task)]

    def disturb(task: PowerTask) -> None:
        task.observation[:, 1:] += 3.0

    plain, disturbed = act(lambda _: None), act(disturb)
    assert (plain[0][:, 0] == disturbed[0][:, 0]).all()
    assert (plain[1][:, 0] != disturbed[1][:, 0]).all()


def test_a_policy_is_told_its_network() -> None:
    torch.manual_seed(0)
    objective = PowerObjective()
    model = CeilingModel(objective.input_size, 2, objective.output_size)
    torch.nn.init.normal_(model.output.weight)
    network = PowerNetwork(warm_up_slots=5, slots=5)
    task = PowerTask(network, [1])
    task.reset()
    one, other = (CeilingPolicy(objective, model, {network: number}) for number in range(2))
    assert (one.act(task) != other.act(task)).any()


@pytest.mark.parametrize("name", ["power", "sched", "sleep"])
def test_a_shipped_ceiling_acts_in_all_scenarios_of_its_task_and_nowhere_else(name: str) -> None:
    entry = find_task(name)
    ceiling = ShippedCeiling(name, tuple(entry.scenarios.values()))
    assert entry.references["ceiling"]().name == ceiling.name
    for scenario in entry.scenarios.values():
        network = scenario.networks[-1]
        task = entry.make(network, [1])
        task.reset()
        ceiling.reset()
        for _ in range(2):
            task.step(ceiling.act(task))
        assert ceiling.fits(network)
        assert not ceiling.fits(replace(network, slots=network.slots + 1))


def test_an_untrained_ceiling_is_about_the_rule_and_silence_can_outweigh_it() -> None:
    task = SchedTask(SchedNetwork(waiting_files=5.0), range(8))
    task.reset()
    task.step(np.zeros((*task.shape, 1)) + np.where(task.measured.waiting, 0, MUTE)[..., None])
    objective = SchedObjective()
    output = np.zeros((*task.shape, objective.output_size), dtype=np.float32)
    rule = SCHED_HEURISTICS["mute-root"]().act(task)
    found = objective.decide(task, output)[..., 0]
    assert ((found == MUTE) == (rule == MUTE)).mean() > 0.9
    assert (found == rule).mean() > 0.8
    output[..., -1] = 100.0
    assert (objective.decide(task, output) == MUTE).all()


def test_the_gradient_is_that_of_the_expected_sum_of_weighted_rates() -> None:
    """With all other cells certain, a cell's chance of silence moves by what silence gains everyone."""
    task = SchedTask(SchedNetwork(waiting_files=5.0), range(6))
    task.reset()
    objective = SchedObjective()
    first, silent = (np.full((*task.shape, LISTED + 1), -60.0) for _ in range(2))
    first[..., 0], silent[..., MUTE] = 60.0, 60.0
    output = torch.from_numpy(first - objective._rule_logits(task)).float()
    output[:, 0] = torch.from_numpy(-objective._rule_logits(task)[:, 0]).float()
    output[:, 0, 1:LISTED] = -60.0
    output.requires_grad_(True)
    objective.loss(task, output).backward()  # type: ignore[no-untyped-call]
    choice = np.where(task.measured.waiting, 0, MUTE)
    quiet = choice.copy()
    quiet[:, 0] = MUTE
    gained = weighted_rates(task, choice) - weighted_rates(task, quiet)
    waiting = task.measured.waiting[:, 0]
    assert output.grad is not None
    slope = -output.grad[:, 0, 0].numpy()
    assert (np.sign(slope[waiting]) == np.sign(gained[waiting])).all()


def test_missing_and_broken_weights_and_wrong_settings_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("networld_training.ceilings.shipped.WEIGHTS", tmp_path)
    with pytest.raises(DataError, match="missing; train it with `networld ceiling --task power`"):
        ShippedCeiling("power", ()).reset()
    (tmp_path / "power.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match="does not fit the task"):
        ShippedCeiling("power", ()).reset()
    with pytest.raises(ConfigError, match="steps = 0: expected at least 1"):
        CeilingSettings(steps=0)
