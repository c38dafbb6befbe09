"""The world model as a policy: graphs and torch decide alike, in every mode and slot by slot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from networld_export.commands.export import add_planner_options
from networld_runtime.errors import ConfigError
from networld_runtime.levels import level_grid
from networld_runtime.planner_settings import MODES, PlannerSettings
from networld_runtime.solver import dpm_solver, solve
from networld_runtime.two_hot import decode_actions, decode_bins
from networld_training.cli import main
from networld_training.evaluation.bundle_policy import BundlePolicy, load_task_bundle
from networld_training.evaluation.checkpoint_policy import CheckpointPolicy, load_task_model
from networld_training.evaluation.comparison import Comparison
from networld_training.evaluation.conditions import Conditions
from networld_training.evaluation.policies import find_contenders
from networld_training.model.settings import PRESETS
from networld_training.model.world_model import TaskModel, WorldModel
from networld_training.radio.streams import spawn_streams
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.power.contract import POWER_ACTION, POWER_CONTRACT
from networld_training.tasks.registry import LEARNING
from networld_training.tasks.scenario import Scenario

NETWORK = PowerNetwork(slots=4, warm_up_slots=5)
HORIZON, SIZE = POWER_CONTRACT.horizon, POWER_CONTRACT.latent_size
PLANNING = MODES[1:]
OWN = LEARNING["power"].plan_temperature


def in_mode(mode: str, **changes: Any) -> PlannerSettings:
    return PlannerSettings(**{"mode": mode, "candidates": 2, **changes})


def decisions(policy: Any, *seeds: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a policy would do `[slots, E, K]` where all cells send at -3 dB."""
    task = PowerTask(NETWORK, list(seeds))
    task.reset()
    policy.reset()
    found, done = [], False
    while not done:
        found.append(np.asarray(policy.act(task), dtype=np.float64)[..., 0])
        done = task.step(np.full(task.action_shape, -3.0)).done
    return np.array(found)


@pytest.fixture
def model(tiny_checkpoint: Path) -> TaskModel:
    return load_task_model(tiny_checkpoint, "power")


@pytest.mark.slow  # exports a bundle
@pytest.mark.parametrize("warm_start_level", [0.0, 0.5])
@pytest.mark.parametrize("mode", MODES)
def test_bundle_and_checkpoint_decide_alike(
    tiny_bundle: Path, model: TaskModel, mode: str, warm_start_level: float
) -> None:
    """A station for each cell, and all cells at once: the same plans, messages and choices."""
    settings = in_mode(mode, warm_start_level=warm_start_level, temperature=0.8)
    by_graphs = BundlePolicy(load_task_bundle(tiny_bundle, "power"), settings)
    by_torch = CheckpointPolicy(model, settings)
    found, expected = (decisions(policy, 3, 4) for policy in (by_graphs, by_torch))
    assert found.shape == (4, 2, 7)
    spread = np.std(found)
    assert spread > 0
    assert np.allclose(found, expected, atol=1e-3 * spread)


@pytest.mark.slow  # exports a bundle
@pytest.mark.parametrize(
    "messages", [Conditions(bits=4), Conditions(loss=0.5, age_weight=0.5), Conditions(silent=1)]
)
def test_bundle_and_checkpoint_hear_alike(
    tiny_bundle: Path, model: TaskModel, messages: Conditions
) -> None:
    """The base station's codec and mean field beside those of the experiments, under the same losses."""
    settings = in_mode("policy")
    bundle = load_task_bundle(tiny_bundle, "power")
    by_graphs = decisions(BundlePolicy(bundle, settings, messages=messages), 3, 4)
    by_torch = decisions(CheckpointPolicy(model, settings, messages), 3, 4)
    undisturbed = decisions(BundlePolicy(bundle, settings), 3, 4)
    assert np.allclose(by_graphs, by_torch, atol=1e-3 * np.std(by_graphs))
    assert not np.allclose(by_graphs, undisturbed, atol=1e-6)


@pytest.mark.slow  # exports a bundle
def test_each_cell_acts_by_its_own_adapter(tiny_bundle: Path) -> None:
    bundle, settings = load_task_bundle(tiny_bundle, "power"), in_mode("policy")
    adapters = np.zeros((7, bundle.adapter_size), dtype=np.float32)
    adapters[5] = np.random.default_rng(0).normal(0, 0.5, bundle.adapter_size)
    base = decisions(BundlePolicy(bundle, settings), 3, 4)
    own = decisions(BundlePolicy(bundle, settings, adapters), 3, 4)
    changed = np.abs(own - base).max(axis=(0, 1)) > 1e-3
    assert changed.tolist() == [cell == 5 for cell in range(7)]


def test_the_policy_s_network_acts_in_one_pass(model: TaskModel) -> None:
    task = PowerTask(NETWORK, [3, 4])
    task.reset()
    policy = CheckpointPolicy(model, in_mode("policy"))
    policy.reset()
    before = [stream.policy.bit_generator.state for stream in task.streams]
    found = policy.act(task)
    with torch.no_grad():
        latent = model.encode(torch.from_numpy(POWER_CONTRACT.normalise(task.observation)))
        silence = torch.zeros(2, 7, POWER_CONTRACT.mean_field_size)
        expected = decode_actions(model.act(latent, silence).numpy(), POWER_CONTRACT.actions)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.std(found) > 0
    assert [stream.policy.bit_generator.state for stream in task.streams] == before


def test_of_all_plans_the_one_with_the_best_return_is_taken() -> None:
    torch.manual_seed(1)
    world = WorldModel({"power": POWER_CONTRACT}, PRESETS["tiny"].size)
    with torch.no_grad():
        for parameter in world.parameters():
            parameter.normal_(std=0.4)  # plans that differ much
    model = world.eval().for_task("power")
    task = PowerTask(PowerNetwork(slots=2, warm_up_slots=5), [3])
    task.reset()
    policy = CheckpointPolicy(model, in_mode("select", candidates=4))
    policy.reset()
    taken = policy.act(task)[0, :, 0]

    noise = spawn_streams(3).policy.standard_normal((7, 4, HORIZON, SIZE), dtype=np.float32)
    found = np.zeros((7, 4, 2))
    silence = torch.zeros(1, POWER_CONTRACT.mean_field_size)
    with torch.no_grad():
        latents = model.encode(torch.from_numpy(POWER_CONTRACT.normalise(task.observation[0])))
        for cell, number in np.ndindex(7, 4):
            now = latents[cell : cell + 1]

            def denoise(plan: torch.Tensor, level: float, z: torch.Tensor = now) -> torch.Tensor:
                return model.denoise(plan, torch.full((1,), level), z, silence)

            start = torch.from_numpy(noise[cell, number : number + 1])
            plan = solve(denoise, start, dpm_solver(level_grid(2)))
            action = decode_bins(model.actions(plan, now)[0, 0].numpy(), POWER_ACTION)
            found[cell, number] = float(model.expected_return(plan, now, silence)), float(action)
    best = found[np.arange(7), found[..., 0].argmax(axis=1), 1]
    worst = found[np.arange(7), found[..., 0].argmin(axis=1), 1]
    assert taken == pytest.approx(best, abs=1e-3)
    assert np.abs(best - worst).max() > 0.1


@pytest.mark.parametrize("mode", MODES)
def test_a_checkpoint_s_episodes_do_not_depend_on_each_other(model: TaskModel, mode: str) -> None:
    policy = CheckpointPolicy(model, in_mode(mode, warm_start_level=0.5))
    both, alone = decisions(policy, 5, 6), decisions(policy, 6)
    np.testing.assert_allclose(both[:, 1], alone[:, 0], atol=1e-3)


@pytest.mark.parametrize("mode", PLANNING)
def test_warm_start_and_temperature_make_a_difference(model: TaskModel, mode: str) -> None:
    plain, warm, cold = (
        decisions(CheckpointPolicy(model, in_mode(mode, **changes)), 3)
        for changes in ({}, {"warm_start_level": 0.5}, {"temperature": 0.0})
    )
    np.testing.assert_array_equal(plain[0], warm[0])  # nothing was planned before
    assert not np.allclose(plain[1:], warm[1:])
    assert not np.allclose(plain[0], cold[0])


@pytest.mark.parametrize("mode", MODES)
def test_a_reset_forgets_messages_and_plans(model: TaskModel, mode: str) -> None:
    policy = CheckpointPolicy(model, in_mode(mode, warm_start_level=0.5))
    np.testing.assert_array_equal(decisions(policy, 3), decisions(policy, 3))


def test_plans_are_the_same_however_many_are_denoised_at_a_time(
    model: TaskModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = CheckpointPolicy(model, in_mode("guidance-select"))
    together = decisions(policy, 3)
    monkeypatch.setattr("networld_training.evaluation.checkpoint_policy.PLANS_AT_A_TIME", 6)
    np.testing.assert_allclose(decisions(policy, 3), together, atol=1e-3)


def test_a_checkpoint_plans_as_the_exporter_sets_it(model: TaskModel) -> None:
    parser = argparse.ArgumentParser()
    add_planner_options(parser)
    options = vars(parser.parse_args([]))
    assert options.pop("temperature") is None  # each task's own
    assert PlannerSettings(**options) == CheckpointPolicy(model).settings


@pytest.mark.slow
def test_bundle_and_checkpoint_are_found_by_their_paths(
    tiny_bundle: Path, tiny_checkpoint: Path, short: Scenario
) -> None:
    policies = (str(tiny_bundle), str(tiny_checkpoint))
    (result,) = Comparison((short,), policies, only=True, episodes=3).run(lambda _: None)
    rows = {row.policy: row.information for row in result.rows}
    assert rows["networld"] == rows["networld-checkpoint"] == "mean-field"


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_reaches_the_checkpoint_that_is_judged(tiny_checkpoint: Path, mode: str) -> None:
    found = find_contenders("power", [str(tiny_checkpoint)], only=True, mode=mode)[-1].make()
    assert isinstance(found, CheckpointPolicy)
    assert found.settings == PlannerSettings(mode=mode, temperature=OWN)


@pytest.mark.slow
def test_a_mode_reaches_the_bundle_that_is_judged(tiny_bundle: Path) -> None:
    for mode, expected in ((None, "guidance-select"), ("policy", "policy")):
        found = find_contenders("power", [str(tiny_bundle)], only=True, mode=mode)[-1].make()
        assert isinstance(found, BundlePolicy)
        assert found.settings == PlannerSettings(mode=expected, candidates=2, temperature=OWN)


def test_a_mode_that_is_none_or_for_nothing_is_refused(
    tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="mode = 'fast': expected one of policy, none, guidance"):
        find_contenders("power", [str(tiny_checkpoint)], mode="fast")
    with pytest.raises(ConfigError, match="--mode policy is for bundles and checkpoints"):
        find_contenders("power", ["full"], mode="policy")
    with pytest.raises(SystemExit):
        main(["evaluate", "--policy", str(tiny_checkpoint), "--mode", "fast"])
    said = capsys.readouterr().err
    assert all(mode in said for mode in MODES)
    assert main(["evaluate", "--published", "--mode", "policy"]) == ConfigError.exit_code
    assert "--published: takes no --mode" in capsys.readouterr().err


def test_the_command_judges_in_a_mode(tiny_checkpoint: Path, tmp_path: Path) -> None:
    network, scores = tmp_path / "short.json", []
    network.write_text(json.dumps({"task": "power", "slots": 8, "warm_up_slots": 5}))
    evaluate = ["evaluate", "--scenario", str(network), "--only", "--episodes", "2"]
    for mode in ("policy", "none"):
        result = tmp_path / f"{mode}.json"
        asked = ["--policy", str(tiny_checkpoint), "--mode", mode, "--json", str(result)]
        assert main([*evaluate, *asked]) == 0
        rows = {row["policy"]: row for row in json.loads(result.read_text())["rows"]}
        scores.append(rows["networld-checkpoint"]["score"]["iqm"])
    assert scores[0] != scores[1]


def test_a_mode_is_kept_through_processes(tiny_checkpoint: Path, short: Scenario) -> None:
    """Results do not depend on the number of processes, which are given the mode as well."""
    found = [
        Comparison(
            (short,), [str(tiny_checkpoint)], only=True, mode="policy", episodes=3, jobs=jobs
        ).run(lambda _: None)[0]
        for jobs in (1, 2)
    ]
    rows = [{row.policy: row.to_json() for row in result.rows} for result in found]
    assert rows[0] == rows[1]
