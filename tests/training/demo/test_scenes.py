"""What is seen of each task while it is played, and what that shows."""

from __future__ import annotations

import numpy as np
import pytest

from networld_training.demo.drops import DropResults, Watch, fitting_rules, run_rules
from networld_training.demo.scenes.registry import SCENES
from networld_training.demo.scenes.sched import IDLE, SERVES, SILENT, silence
from networld_training.demo.settings import DemoSettings
from networld_training.environments.rollout import Transition, run_policy
from networld_training.tasks.power import PowerTask
from networld_training.tasks.registry import CONTRACTS
from networld_training.tasks.sched.contract import MUTE
from networld_training.tasks.sleep.modes import ACTIVE, DEEP

SLOTS = 12


def play(task: str, action: list[float], cells: int = 7) -> DropResults:
    """Return what comes of one episode in which all cells always do the same."""
    settings = DemoSettings(task=task, cells=cells, slots=SLOTS)
    watch = Watch(settings.entry.make(settings.network(), [1]), settings.scene)
    watch.task.reset()
    for _ in range(SLOTS):
        every = np.tile(action, (1, cells, 1))
        watch.slot(watch.task.step(every).details)
    return DropResults.of("none", [watch])


def test_every_task_of_the_world_model_has_a_scene() -> None:
    assert set(SCENES) == set(CONTRACTS)


@pytest.mark.parametrize("task", SCENES)
def test_rows_fit_the_headings(task: str) -> None:
    settings = DemoSettings(task=task, slots=SLOTS)
    scene, watch = settings.scene, Watch(settings.entry.make(settings.network(), [1]), SCENES[task])

    def check(transition: Transition) -> None:
        seen = {name: values[0] for name, values in watch.slot(transition.outcome.details).items()}
        rows = scene.columns(transition.action[0], seen)
        assert len(rows) == settings.cells
        assert {len(row) for row in rows} == {len(scene.headings)}

    run_policy(watch.task, settings.entry.heuristics["random"](), record=check)


def test_what_is_kept_does_not_change_with_the_task() -> None:
    settings = DemoSettings(slots=SLOTS)
    task = settings.entry.make(settings.network(), [1])
    assert isinstance(task, PowerTask)
    watch = Watch(task, settings.scene)
    task.reset()
    first = task.step(np.zeros(task.shape))
    watch.slot(first.details)
    rates = task.user_rates.copy()
    watch.slot(task.step(np.zeros(task.shape)).details)
    np.testing.assert_array_equal(watch.seen()["user_rate"][:, 0], rates)
    np.testing.assert_array_equal(watch.seen()["rate"][:, 0], first.details["spectral_efficiency"])


def test_silent_cells_are_told_from_idle_ones() -> None:
    kind = silence(play("sched", [MUTE]).seen)
    assert kind.shape == (1, SLOTS - 1, 7)
    assert SERVES not in kind
    assert {SILENT, IDLE} >= set(np.unique(kind))
    seen = {
        "queue_mbit": np.array([[[0.0], [1.0], [2.0], [0.0]]]),
        "sent": np.array([[[1.0], [0.0], [0.0], [1.0]]]),
    }
    assert silence(seen)[0, :, 0].tolist() == [IDLE, SILENT, SERVES]


def test_backlog_of_silent_cells_only_grows() -> None:
    queue_mbit = play("sched", [MUTE]).seen["queue_mbit"].sum(axis=-1)[0]
    assert (np.diff(queue_mbit) >= 0).all()
    assert queue_mbit[-1] > queue_mbit[0]


def test_sleeping_cells_save_power_and_lose_traffic() -> None:
    awake, asleep = play("sleep", [ACTIVE, 0.0]).seen, play("sleep", [DEEP, 0.0]).seen
    assert (awake["state"] == ACTIVE).all()
    assert (asleep["state"] == DEEP).all()
    assert asleep["power"][:, 1:].max() < awake["power"].min()
    assert asleep["lost_mbit_s"].mean() > awake["lost_mbit_s"].mean()


@pytest.mark.parametrize("task", SCENES)
def test_rules_meet_the_same_drops_as_they_would_alone(task: str) -> None:
    settings = DemoSettings(task=task, slots=SLOTS)
    entry, network = settings.entry, settings.network()
    done: list[int] = []
    results = run_rules(entry, settings.scene, network, [3, 4], done.append)
    assert set(results) == set(entry.heuristics)
    assert done == list(range(1, len(results) * SLOTS + 1))
    alone = run_policy(entry.make(network, [3, 4]), entry.heuristics[entry.spec.expert]())
    for name, values in alone.items():
        np.testing.assert_array_equal(results[entry.spec.expert].metrics[name], values)


def test_rules_for_small_networks_are_left_out_of_large_ones() -> None:
    settings = DemoSettings(task="sleep", cells=19, slots=SLOTS)
    fitting = fitting_rules(settings.entry, settings.network())
    assert set(settings.entry.heuristics) - set(fitting) == {"exhaustive"}
