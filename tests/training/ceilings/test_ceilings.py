"""Ceilings: what they are trained for is right, training helps, and they know what a cell knows."""

from __future__ import annotations

import shutil
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
from networld_training.ceilings.training import CeilingSettings, CeilingTrainer
from networld_training.environments.rollout import run_policy
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.ceiling import WEIGHTS, ShippedCeiling, with_ceiling
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.registry import find_task
from networld_training.tasks.scenario import Scenario

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


def test_messages_are_int8() -> None:
    """What is less than half a step of a message changes nothing."""
    torch.manual_seed(0)
    model = CeilingModel(6, 1, 2)
    torch.nn.init.normal_(model.output.weight)
    now, before = torch.rand(4, 7, 6), torch.rand(4, 7, 6)
    neighbours = torch.from_numpy(PowerTask(PowerNetwork(), [0]).neighbours)
    told = model(now, before, neighbours, 0)
    assert torch.equal(told, model(now, before + 1e-6, neighbours, 0))
    assert not torch.equal(told, model(now, before + 0.5, neighbours, 0))


BEATEN = {
    "power": ("umi200", "price-mean"),
    "sched": ("umi200-heavy", "maxweight"),
    "sleep": ("uma500-low", "always-on"),
}


@pytest.mark.parametrize("name", BEATEN)
def test_a_shipped_ceiling_acts_where_it_was_trained_and_nowhere_else(name: str) -> None:
    entry = find_task(name)
    scenarios = with_ceiling(entry.scenarios.values())
    ceiling = ShippedCeiling(entry.spec, scenarios)
    assert not ceiling.fits(entry.scenarios["hex61"].networks[0])
    for scenario in scenarios:
        network = scenario.networks[-1]
        task = entry.make(network, [1])
        task.reset()
        ceiling.reset()
        for _ in range(2):
            task.step(ceiling.act(task))
        assert ceiling.fits(network)
        assert not ceiling.fits(replace(network, slots=network.slots + 1))


@pytest.mark.parametrize("name", BEATEN)
def test_a_shipped_ceiling_beats_a_rule(name: str) -> None:
    entry = find_task(name)
    scenario, rule = BEATEN[name]
    kpi = entry.spec.kpis[0]
    task = entry.make(entry.scenarios[scenario].networks[0], range(8))
    found, beaten = (
        run_policy(task, entry.policies[policy]())[kpi.name].mean() for policy in ("ceiling", rule)
    )
    assert found > beaten if kpi.higher_is_better else found < beaten


def test_weights_fit_the_interface_and_the_scenarios_that_they_were_trained_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    power, sleep = find_task("power"), find_task("sleep")
    scenarios = with_ceiling(power.scenarios.values())
    shutil.copy(WEIGHTS / "power.safetensors", tmp_path / "sleep.safetensors")
    shutil.copy(WEIGHTS / "power.safetensors", tmp_path / "power.safetensors")
    monkeypatch.setattr("networld_training.tasks.ceiling.WEIGHTS", tmp_path)
    ShippedCeiling(power.spec, scenarios).reset()
    with pytest.raises(DataError, match="was trained for task 'power' with another interface"):
        ShippedCeiling(sleep.spec, with_ceiling(sleep.scenarios.values())).reset()
    with pytest.raises(DataError, match="or other scenarios than those of task 'power' now"):
        ShippedCeiling(power.spec, scenarios[::-1]).reset()


def test_missing_and_broken_weights_and_wrong_settings_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("networld_training.tasks.ceiling.WEIGHTS", tmp_path)
    spec = find_task("power").spec
    with pytest.raises(DataError, match="missing; train it with `networld ceiling --task power`"):
        ShippedCeiling(spec, ()).reset()
    (tmp_path / "power.safetensors").write_bytes(b"no weights")
    with pytest.raises(DataError, match="holds no weights of this model"):
        ShippedCeiling(spec, ()).reset()
    with pytest.raises(ConfigError, match="steps = 0: expected at least 1"):
        CeilingSettings(steps=0)
