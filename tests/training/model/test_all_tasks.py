"""From data to decisions, as a user goes: one model of all tasks, with every kind of action."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.adaptation import AdaptationSettings, adapt_to_logs
from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config_reader import load_config
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.radio import MqttRadio
from networld_training.cli import main
from networld_training.demo.cells import to_toml
from networld_training.demo.simulated_radio import SimulatedRadio, SlotReport
from networld_training.environments.rollout import run_policy
from networld_training.evaluation.bundle_policy import BundlePolicy, load_task_bundle
from networld_training.evaluation.checkpoint_policy import CheckpointPolicy, load_task_model
from networld_training.model.checkpoint import load_checkpoint
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


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of the tasks with choices, and the bundle of it."""
    folder = tmp_path_factory.mktemp("exported")
    path, bundle = trained(folder, "sched", "sleep"), folder / "bundle"
    export = ["export", "--checkpoint", str(path), "--output", str(bundle), "--candidates", "2"]
    assert main(export) == 0
    return path, bundle


@pytest.mark.slow  # exports ten graphs
@pytest.mark.parametrize("mode", ["policy", "guidance-select"])
@pytest.mark.parametrize("name", ["sched", "sleep"])
def test_bundle_acts_as_its_checkpoint_does(
    exported: tuple[Path, Path], name: str, mode: str
) -> None:
    path, bundle = exported
    settings = replace(SETTINGS, mode=mode)
    by_graphs = BundlePolicy(load_task_bundle(bundle, name), settings)
    by_torch = CheckpointPolicy(load_task_model(path, name), settings)
    task = episodes(name, SEED)
    found, expected = (decisions(task, policy) for policy in (by_graphs, by_torch))
    assert found.shape == (10, 7, len(CONTRACTS[name].actions))
    assert np.isclose(found, expected, atol=1e-3).mean() > 0.97  # rounding may decide a draw
    assert np.std(found, axis=(0, 1)).max() > 0


@pytest.mark.slow
def test_command_judges_a_bundle_of_choices(exported: tuple[Path, Path], tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    evaluate = ["evaluate", "--bundle", str(exported[1]), "--scenario", "sched/umi200-moderate"]
    assert main([*evaluate, "--only", "--episodes", "2", "--json", str(result)]) == 0
    assert "networld" in {row["policy"] for row in json.loads(result.read_text())["rows"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sched", "sleep"])
def test_cells_live_in_tasks_with_choices(
    exported: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    """The base station's own loop, its radio and its adaptation, all cells in this process."""
    bundle, bus = load_task_bundle(exported[1], name), MemoryBus()
    task = episodes(name, SEED, slots=80)
    cells = [f"cell-{index}" for index in range(7)]
    transport = MemoryTransport(bus)
    last = MemoryTransport(bus)  # hears the last observation of a slot after its cell did

    def alive() -> list[str]:
        return [] if last.counters["handler_errors"] else cells  # nothing to wait for then

    radio = SimulatedRadio(transport, "demo", cells, bundle.contract, 20.0, alive)
    radio.clock._sleep = lambda _: None
    transport.connect()
    agents = [join(bus, bundle, tmp_path, cells, task, index) for index in range(7)]

    def all_act(_: bytes) -> None:
        for agent in agents:
            observation = agent._radio.observe(0)
            assert observation is not None
            agent.tick(observation)

    last.subscribe({CellTopics("demo", cells[-1]).observation: all_act})
    last.connect()
    reports: list[SlotReport] = []
    radio.run_episode(task, reports.append)
    assert last.counters["handler_errors"] == 0
    assert radio.counters.rejected == radio.counters.missed == {}
    taken = np.array([report.action for report in reports])
    assert taken.shape == (80, *task.action_shape[1:])
    assert np.std(taken, axis=(0, 1)).max() > 0
    for agent in agents:
        counters = agent.counters()
        assert counters["model_failures"] == {}
        assert counters["messages_received"] == 6 * 80
    logs = {name: agent.experience.logs(1) for name, agent in zip(cells, agents, strict=True)}
    settings = AdaptationSettings(steps=40)
    _, report = adapt_to_logs(bundle, cells[0], logs, settings)
    assert (report.cells, report.slots, report.steps) == (7, 79, 40)
    assert np.isfinite([report.worth_before, report.worth_after, report.gain_error]).all()
    assert report.worth_after != report.worth_before


def join(
    bus: MemoryBus, bundle: Bundle, folder: Path, cells: list[str], task: Task, index: int
) -> Agent:
    """Let a cell with a planner of its own join."""
    name = cells[index]
    (folder / f"state-{name}").mkdir()
    tables: dict[str, dict[str, Any]] = {
        "cell": {
            "site": "demo",
            "name": name,
            "task": task.spec.name,
            "neighbours": [cells[other] for other in task.neighbours[index]],
        },
        "bundle": {"path": str(bundle.path)},
        "state": {"directory": f"state-{name}"},
    }
    file = folder / f"{name}.toml"
    file.write_text(to_toml(tables))
    transport = MemoryTransport(bus)
    radio = MqttRadio(transport, CellTopics("demo", name), bundle.contract, (6, bundle.couplings))
    agent = Agent(load_config(file), bundle, Planner(bundle, seed=index), transport, radio, 1)
    transport.connect()
    agent.start()
    return agent
