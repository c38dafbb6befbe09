"""Runs: resumed ones end in the same weights, saved policies act the same, others' files are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from networld_runtime.errors import ConfigError, DataError
from networld_training.baselines import training
from networld_training.baselines.methods import METHODS, find_method
from networld_training.baselines.policy import BaselinePolicy
from networld_training.baselines.policy_file import KEY, read_policy
from networld_training.baselines.settings import changed
from networld_training.baselines.training import OfflineTraining
from networld_training.baselines.trajectories import LoggedData, load_data
from networld_training.data.manifest import read_manifest, write_manifest
from networld_training.environments.agent_view import AgentView
from networld_training.evaluation.policies import find_contenders
from networld_training.tasks.base import Task
from networld_training.tasks.registry import TASKS, find_task

Sets = Callable[[str], Path]
OFFLINE = [name for name, method in METHODS.items() if not method.online]


def settings_of(method: str, **changes: Any) -> Any:
    known = find_method(method).settings_of("power")
    return replace(known, **{"steps": 24, "batch": 16, "width": 16, "validate_every": 5, **changes})


def train(path: Path, method: str, data: LoggedData, seed: int = 0, **changes: Any) -> None:
    run = OfflineTraining(path, method, data, settings_of(method, **changes), seed)
    run.run(lambda _, __: None)


def episodes(task: str, count: int = 2) -> Task:
    entry = find_task(task)
    network = replace(entry.scenarios["train"].networks[0], slots=6)
    made = entry.make(network, range(count))
    made.reset()
    return made


@pytest.fixture
def power(small_set: Sets) -> LoggedData:
    return load_data(small_set("power"), "power")


def test_data_are_what_policies_see_and_did_cell_by_cell(small_set: Sets) -> None:
    data = load_data(small_set("sched"), "sched")
    assert data.train.inputs.shape == (3 * 1 * 7, 13, len(AgentView(TASKS["sched"].spec).features))
    assert data.held_out.bins.shape == (3 * 1 * 7, 12, 1)
    assert data.steps == 6 * 7 * 12
    arrays = load_file(small_set("sched") / "shard-0001.safetensors")
    one = 7 + 3  # second shard, first episode, fourth cell
    shown = AgentView(TASKS["sched"].spec).seen(
        arrays["observations"][0, :, 3].numpy(), arrays["mean_field"][0, :, 3].numpy()
    )
    assert np.array_equal(data.train.inputs[one].numpy(), shown)
    assert torch.equal(data.train.bins[one, :, 0], arrays["actions"][0, :, 3, 0].long())
    assert data.train.mask is not None
    assert torch.equal(data.train.mask[one], arrays["action_mask"][0, :, 3] != 0)
    rewards = torch.cat([data.train.rewards, data.held_out.rewards])
    assert float(rewards.mean()) == pytest.approx(0, abs=1e-4)
    assert float(rewards.std()) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("method", OFFLINE)
def test_an_interrupted_run_ends_in_the_same_weights(
    method: str, power: LoggedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 7)
    monkeypatch.setattr(training, "REPORT_EVERY", 1)

    def interrupt(step: int, _: str) -> None:
        if step == 18:
            raise KeyboardInterrupt

    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    train(whole, method, power)
    with pytest.raises(KeyboardInterrupt):
        OfflineTraining(broken, method, power, settings_of(method)).run(interrupt)
    assert not broken.exists()
    resumed = OfflineTraining(broken, method, power, settings_of(method))
    assert resumed.step == 14
    resumed.run(lambda _, __: None)
    assert broken.read_bytes() == whole.read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".run"] == []
    train(tmp_path / "other.safetensors", method, power, seed=1)
    other, same = load_file(tmp_path / "other.safetensors"), load_file(whole)
    assert any(not torch.equal(other[name], same[name]) for name in same)


def test_every_step_of_every_seed_draws_anew(
    power: LoggedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    for seed in (0, 1):
        run = OfflineTraining(tmp_path / "bc.safetensors", "bc", power, settings_of("bc"), seed)

        def advance(random: torch.Generator) -> dict[str, float]:
            drawn.append(random.initial_seed())
            return {}

        monkeypatch.setattr(run.learner, "advance", advance)
        for _ in range(4):
            run.advance()
    assert len(set(drawn)) == 8


def test_a_run_of_something_else_is_not_resumed(power: LoggedData, tmp_path: Path) -> None:
    path = tmp_path / "bc.safetensors"
    OfflineTraining(path, "bc", power, settings_of("bc")).save()
    with pytest.raises(DataError, match=r"2 there, 24 here|steps = 24 there, 9 here") as caught:
        OfflineTraining(path, "bc", power, settings_of("bc", steps=9), seed=4)
    assert "seed = 0 there, 4 here" in str(caught.value)
    assert "delete it to begin anew" in str(caught.value)
    path.with_name("bc.safetensors.run").write_bytes(b"nothing")
    with pytest.raises(DataError, match="damaged"):
        OfflineTraining(path, "bc", power, settings_of("bc"))


def test_cloning_stops_early_and_keeps_the_best_weights(
    power: LoggedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = OfflineTraining(tmp_path / "bc.safetensors", "bc", power, settings_of("bc", patience=2))
    losses = iter([3.0, 1.0, 2.0, 1.5, 0.5])
    kept = {}

    def judged() -> float:
        kept[run.step] = {n: one.clone() for n, one in run.learner.actor.state_dict().items()}
        return next(losses)

    monkeypatch.setattr(run.learner, "held_out_loss", judged)
    policy = run.run(lambda _, __: None)
    assert (run.step, policy.steps) == (20, 10)
    assert all(torch.equal(policy.weights[name], one) for name, one in kept[10].items())
    assert not torch.equal(
        policy.weights["network.layers.0.bias"], kept[20]["network.layers.0.bias"]
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", OFFLINE)
def test_a_saved_policy_acts_as_it_did_within_the_mask(
    method: str, task: str, small_set: Sets, tmp_path: Path
) -> None:
    path = tmp_path / "policy.safetensors"
    run = OfflineTraining(path, method, load_data(small_set(task), task), settings_of(method))
    saved = run.run(lambda _, __: None)
    assert saved.environment_steps == 6 * 7 * 12
    actor = run.learner.actor if not run.best else saved.actor()
    learned = BaselinePolicy(find_method(method), TASKS[task].spec, actor, method)
    loaded = BaselinePolicy.load(path, task)
    assert loaded.information == ("local" if method == "dd" else "mean-field")
    played, replayed = episodes(task), episodes(task)
    shut = 0
    for _ in range(6):
        action = learned.act(played)
        assert np.array_equal(action, loaded.act(replayed))
        if played.action_mask is not None:
            shut += int((~played.action_mask).sum())
        played.step(action)  # refuses what the mask forbids
        replayed.step(action)
    assert (shut > 0) == bool(TASKS[task].spec.mask_size)


def test_only_policies_with_messages_hear_them(power: LoggedData, tmp_path: Path) -> None:
    for method in OFFLINE:
        train(tmp_path / f"{method}.safetensors", method, power)
    task = episodes("power")
    task.step(np.zeros(task.action_shape))
    acting = {
        name: BaselinePolicy.load(tmp_path / f"{name}.safetensors", "power") for name in OFFLINE
    }

    def logits(name: str) -> np.ndarray[Any, Any]:
        policy = acting[name]
        seen = torch.from_numpy(policy._view.observation(task))
        with torch.no_grad():
            found: torch.Tensor = policy._actor(seen, lambda n: torch.ones(*task.shape, n))
        return found.numpy()

    before = {name: logits(name) for name in OFFLINE}
    task.received = task.received - 3.0
    changed_by_it = {name for name in OFFLINE if not np.array_equal(logits(name), before[name])}
    assert changed_by_it == {"bc", "iql"}


def test_a_diffusers_episodes_do_not_depend_on_each_other(
    power: LoggedData, tmp_path: Path
) -> None:
    path = tmp_path / "dd.safetensors"
    train(path, "dd", power, temperature=1.0)
    policy = BaselinePolicy.load(path, "power")
    both, alone = policy.act(episodes("power", 2)), policy.act(episodes("power", 1))
    assert np.array_equal(both[0], alone[0])


def test_learned_policies_are_judged_like_others(power: LoggedData, tmp_path: Path) -> None:
    path = tmp_path / "dd.safetensors"
    train(path, "dd", power)
    found = find_contenders("power", [f"mine={path}", str(path)], only=True)
    assert [(one.name, one.kind, one.information) for one in found[-2:]] == [
        ("mine", "learned", "local"),
        ("dd", "learned", "local"),
    ]
    with pytest.raises(DataError, match=r"learned task 'power', expected 'sched'"):
        find_contenders("sched", [str(path)])


def rewritten(path: Path, **changes: Any) -> Path:
    """Write a policy's file again, with changes in its metadata."""
    policy = read_policy(path)
    header = {"format": 1, **policy.origin.__dict__, "steps": 1, "environment_steps": 1, **changes}
    other = path.with_name("rewritten.safetensors")
    save_file(dict(policy.weights), other, {KEY: json.dumps(header)})
    return other


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spec_sha256": "0"}, "learned another interface of task 'power'"),
        ({"format": 2}, "of another format than 1; train again"),
        ({"method": "magic"}, "'magic' is not a method; known: bc, iql, dd, ippo"),
        ({"settings": {"width": 17}}, "does not fit this version"),
        ({"settings": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        ({"surprise": 1}, "damaged"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused(
    changes: dict[str, Any], said: str, power: LoggedData, tmp_path: Path
) -> None:
    train(tmp_path / "bc.safetensors", "bc", power)
    with pytest.raises(DataError, match=said):
        find_contenders("power", [str(rewritten(tmp_path / "bc.safetensors", **changes))])


def test_other_files_are_no_policies(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no policy there; make one with `networld baseline`"):
        BaselinePolicy.load(tmp_path / "nothing.safetensors", "power")
    plain = tmp_path / "plain.safetensors"
    save_file({"weight": torch.zeros(2)}, plain)
    with pytest.raises(DataError, match="but no learned policy of `networld baseline`"):
        BaselinePolicy.load(plain, "power")
    plain.write_bytes(b"nothing")
    with pytest.raises(DataError, match="damaged"):
        BaselinePolicy.load(plain, "power")


def test_a_set_of_another_task_or_interface_is_refused(small_set: Sets, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a data set of task 'power', expected 'sched'"):
        load_data(small_set("power"), "sched")
    folder = Path(shutil.copytree(small_set("power"), tmp_path / "changed"))
    manifest = read_manifest(folder)
    write_manifest(folder, replace(manifest, spec=replace(manifest.spec, slot_s=9.0)))
    with pytest.raises(DataError, match="made for another interface of task 'power'"):
        load_data(folder, "power")


def test_plans_need_episodes_as_long(power: LoggedData, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="episodes of 12 slots, expected at least 13"):
        OfflineTraining(tmp_path / "dd.safetensors", "dd", power, settings_of("dd", horizon=13))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("depth=3", "no hyper-parameter 'depth'; known: steps, batch"),
        ("batch=many", "'batch=many': expected a value of type int"),
        ("discount=1", "discount = 1.0: expected 0 up to, not including, 1"),
    ],
)
def test_hyper_parameters_that_make_no_sense_are_refused(change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        changed(find_method("iql").settings_of("power"), [change])


def test_hyper_parameters_keep_their_types() -> None:
    online = find_method("ippo").settings_of("power")
    made = changed(online, ["share=false", "episodes=8", "entropy=0"])
    assert (made.share, made.episodes, made.entropy) == (False, 8, 0.0)
    assert type(made.entropy) is float
    with pytest.raises(ConfigError, match="'share=no': expected true or false"):
        changed(online, ["share=no"])
