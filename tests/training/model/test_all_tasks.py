"""From data to decisions, as a user goes: one model of all tasks, with every kind of action."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.planner import PlannerSettings
from networld_training.cli import main
from networld_training.environments.rollout import run_policy
from networld_training.evaluation.bundle_policy import BundlePolicy, load_task_bundle
from networld_training.evaluation.checkpoint_policy import CheckpointPolicy, load_task_model
from networld_training.model.checkpoint import load_checkpoint
from networld_training.radio.streams import spawn_streams
from networld_training.tasks.base import Task
from networld_training.tasks.registry import CONTRACTS, TASKS

SETTINGS = PlannerSettings(steps=2, candidates=2, guidance_scale=0.3)
SEED = 3


def trained(folder: Path, *tasks: str) -> Path:
    """Make a small data set of each task and train on all of them; return the checkpoint."""
    data = []
    for task in tasks:
        make = ["data", "make", "--task", task, "--episodes", "2", "--slots", "16"]
        assert main([*make, "--output", str(folder / task)]) == 0
        data += ["--data", str(folder / task)]
    run = folder / "run"
    assert main(["train", *data, "--preset", "tiny", "--steps", "20", "--output", str(run)]) == 0
    return run / "checkpoint.safetensors"


def episodes(name: str, *seeds: int, slots: int = 10) -> Task:
    network = replace(TASKS[name].scenarios["train"].networks[0], slots=slots)
    return TASKS[name].make(network, seeds)


def decisions(task: Task, policy: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what a policy would do in each slot of an episode in which the expert acts."""
    expert = TASKS[task.spec.name].heuristics[task.spec.expert]()
    task.reset()
    policy.reset()
    found = []
    for _ in range(task.network.slots):
        found.append(np.asarray(policy.act(task), dtype=np.float64))
        task.step(expert.act(task))
    return np.concatenate(found)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("all"), *CONTRACTS)


def test_one_model_learns_all_tasks(checkpoint: Path) -> None:
    assert load_checkpoint(checkpoint).contracts == CONTRACTS


@pytest.mark.parametrize("name", CONTRACTS)
def test_checkpoint_acts_in_every_task(checkpoint: Path, name: str) -> None:
    policy = CheckpointPolicy(load_task_model(checkpoint, name), SETTINGS)
    task = episodes(name, 5, 6)
    both = run_policy(task, policy)  # the task refuses what its masks forbid
    assert both.keys() == {kpi.name for kpi in task.spec.kpis}
    task.reset()
    policy.reset()
    assert policy.act(task).shape == task.action_shape


@pytest.mark.slow  # exports eight graphs
def test_bundle_acts_in_tasks_with_choices_as_its_checkpoint_does(tmp_path: Path) -> None:
    path = trained(tmp_path, "sched", "sleep")
    bundle, result = tmp_path / "bundle", tmp_path / "result.json"
    export = ["export", "--checkpoint", str(path), "--output", str(bundle), "--candidates", "2"]
    assert main(export) == 0
    for name in ("sched", "sleep"):
        by_graphs = BundlePolicy(load_task_bundle(bundle, name), SETTINGS)
        by_graphs.planner._random = spawn_streams(SEED).policy
        by_torch = CheckpointPolicy(load_task_model(path, name), SETTINGS)
        task = episodes(name, SEED)
        found, expected = (decisions(task, policy) for policy in (by_graphs, by_torch))
        assert found.shape == (10, 7, len(CONTRACTS[name].actions))
        assert np.isclose(found, expected, atol=1e-3).mean() > 0.97  # rounding may decide a draw
        assert np.std(found[..., 0]) > 0
    evaluate = ["evaluate", "--bundle", str(bundle), "--scenario", "sched/umi200-moderate"]
    assert main([*evaluate, "--only", "--episodes", "2", "--json", str(result)]) == 0
    assert '"networld"' in json.dumps(json.loads(result.read_text()))
