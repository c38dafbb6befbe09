"""The distilled denoiser: true lessons, learned; one file that fits one checkpoint; a policy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from networld_runtime.bundle import file_digest
from networld_runtime.errors import ConfigError, DataError
from networld_runtime.levels import level_grid
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.solver import dpm_solver, solve
from networld_training.cli import main
from networld_training.data.windows import WindowSampler
from networld_training.distillation.distiller import distil
from networld_training.distillation.lessons import Lessons, make_lessons
from networld_training.distillation.settings import PRESETS, DistillationSettings
from networld_training.distillation.student import (
    STUDENT,
    Origin,
    PlanShape,
    Student,
    load_student,
    save_student,
)
from networld_training.evaluation.checkpoint_policy import load_policy, load_task_model
from networld_training.model.world_model import TaskModel
from networld_training.tasks import registry
from networld_training.tasks.power import PowerNetwork, PowerTask
from networld_training.tasks.power.contract import POWER_CONTRACT
from networld_training.tasks.registry import LEARNING

TINY = PRESETS["tiny"]
ORIGIN = Origin(TINY, "ab", 3, {"power": 1.0})
DISTILLED = PlannerSettings(denoiser="distilled", steps=2, candidates=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of the power task."""
    folder = tmp_path_factory.mktemp("distillation") / "power"
    options = ["--task", "power", "--episodes", "9", "--shard-episodes", "9", "--slots", "20"]
    assert main(["data", "make", *options, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> TaskModel:
    return load_task_model(tiny_checkpoint, "power")


@pytest.fixture(scope="module")
def lessons(model: TaskModel, data: Path) -> Lessons:
    return make_lessons(model, WindowSampler(data), 0.5, 2.0, TINY, 0, lambda _: None)


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint in a folder of its own."""
    path = tmp_path / tiny_checkpoint.name
    shutil.copy(tiny_checkpoint, path)
    return path


def test_a_lesson_ends_where_the_guided_denoiser_does(model: TaskModel, lessons: Lessons) -> None:
    rows = len(lessons)
    assert rows == TINY.lessons
    start = lessons.way[:, 0]
    assert abs(float(start.mean())) < 0.1
    heat = start.flatten(1).std(1)  # of temperature 2, from three quarters to five quarters of it
    assert heat.min() == pytest.approx(2 * TINY.coolest, abs=0.15)
    assert heat.max() == pytest.approx(2 * TINY.hottest, abs=0.25)
    assert heat.mean() == pytest.approx(2, abs=0.06)

    def guided(plan: Tensor, level: float) -> Tensor:
        levels = torch.full((rows,), level)
        with torch.no_grad():
            return model.guided(plan, levels, lessons.latent, lessons.mean_field, lessons.scale)

    levels = level_grid(TINY.teacher_steps)
    assert lessons.levels.tolist() == pytest.approx(levels[:-1])
    assert torch.allclose(solve(guided, start, dpm_solver(levels)), lessons.end, atol=1e-5)
    # a later point of a way leads to the same end
    later = solve(guided, lessons.way[:, 1], dpm_solver(levels[1:]))
    assert torch.allclose(later, lessons.end, atol=1e-5)


def test_lessons_are_of_all_scales_and_some_lose_messages(lessons: Lessons) -> None:
    scale = lessons.scale
    unguided = float((scale == 0).float().mean())
    assert unguided == pytest.approx(TINY.without_guidance, abs=0.08)
    assert scale.max() <= TINY.largest_scale
    assert scale[scale > 0].mean() == pytest.approx(TINY.largest_scale / 2, abs=0.06)
    heard = lessons.mean_field[:, -1]
    assert 0 < float((heard < 1).float().mean()) < 0.5


def test_lessons_depend_on_the_seed_alone(model: TaskModel, data: Path) -> None:
    few = replace(TINY, lessons=10)
    first, same, other = (
        make_lessons(model, WindowSampler(data), 0.5, 1.0, few, seed, lambda _: None)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.end, same.end)
    assert not torch.equal(first.way[:, 0], other.way[:, 0])


def test_a_student_learns_ends_by_situation_and_scale() -> None:
    """The teacher's ends are a sum of all that they depend on; noise alone says nothing of it."""
    generator = torch.Generator().manual_seed(0)
    rows, horizon, size, field = 512, 3, 4, 2

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) - 0.5

    latent, heard, scale, noise = draw(rows, size), draw(rows, field), draw(rows), draw(rows, 1)
    start = noise[:, :, None].expand(rows, horizon, size)
    end = 0.5 * (latent[:, None] + heard.sum(dim=1)[:, None, None] + scale[:, None, None] + start)
    way = torch.stack([start, 0.5 * (start + end)], dim=1)
    known = Lessons(latent, heard, scale, way, end, torch.tensor([0.9, 0.4]))
    settings = DistillationSettings(hidden=64, lessons=rows, steps=600, batch=128)
    student = distil({"power": known}, settings, 0, lambda *_: None)
    with torch.no_grad():
        for point, level in enumerate(known.levels):
            found = student("power", way[:, point], level.expand(rows), latent, heard, scale)
            assert float((found - end).square().mean()) < 0.02 * float(end.var())


def test_tasks_share_a_student_and_differ_in_it(lessons: Lessons) -> None:
    mirrored = replace(lessons, end=-lessons.end)
    student = distil({"a": lessons, "b": mirrored}, TINY, 0, lambda *_: None)
    level = lessons.levels[:1].expand(len(lessons))
    given = (level, lessons.latent, lessons.mean_field, lessons.scale)
    with torch.no_grad():
        one, other = (student(task, lessons.way[:, 0], *given) for task in ("a", "b"))
    assert float((one - lessons.end).square().mean()) < float((other - lessons.end).square().mean())


def test_a_file_brings_the_student_back_and_fits_one_checkpoint(tmp_path: Path) -> None:
    student = student_of(POWER_CONTRACT.horizon)
    path = tmp_path / STUDENT
    save_student(path, student, ORIGIN)
    read = load_student(path, "ab", {"power": POWER_CONTRACT})
    assert all(
        torch.equal(value, student.state_dict()[name]) for name, value in read.state_dict().items()
    )
    with pytest.raises(DataError, match="made from another checkpoint"):
        load_student(path, "cd", {"power": POWER_CONTRACT})
    with pytest.raises(DataError, match="does not fit the tasks sched"):
        load_student(path, "ab", {"power": POWER_CONTRACT, "sched": POWER_CONTRACT})
    with pytest.raises(DataError, match="no distilled denoiser there"):
        load_student(tmp_path / "none", "ab", {})


@pytest.mark.parametrize("damage", [slice(0, -9), slice(0, 0), slice(9, None)])
def test_a_damaged_file_is_a_clear_error(damage: slice, tmp_path: Path) -> None:
    path = tmp_path / STUDENT
    save_student(path, student_of(POWER_CONTRACT.horizon), ORIGIN)
    path.write_bytes(path.read_bytes()[damage])
    with pytest.raises(DataError, match="not a distilled denoiser"):
        load_student(path, "ab", {"power": POWER_CONTRACT})


def student_of(horizon: int) -> Student:
    shape = PlanShape(horizon, POWER_CONTRACT.latent_size, POWER_CONTRACT.mean_field_size)
    return Student(("power",), shape, TINY.hidden)


def test_the_command_makes_what_a_checkpoint_plans_with(
    checkpoint: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["distil", "--checkpoint", str(checkpoint), "--data", str(data), "--preset", "tiny"]
    assert main(command) == 0
    path = checkpoint.with_name(STUDENT)
    made = path.stat().st_mtime_ns
    assert main(command) == 0
    assert path.stat().st_mtime_ns == made
    assert main([*command, "--seed", "1"]) == 0
    assert path.stat().st_mtime_ns > made
    made = path.stat().st_mtime_ns
    hotter = replace(LEARNING["power"], plan_temperature=1.3)
    monkeypatch.setattr(registry, "LEARNING", {**LEARNING, "power": hotter})
    assert main([*command, "--seed", "1"]) == 0
    assert path.stat().st_mtime_ns > made
    student = load_student(path, file_digest(checkpoint), {"power": POWER_CONTRACT})
    task = PowerTask(PowerNetwork(slots=4, warm_up_slots=5), [1, 2])
    task.reset()
    policy = load_policy(checkpoint, "power", DISTILLED)
    policy.reset()
    asked = []

    def ask(task: str, plan: Tensor, level: Tensor, *others: Tensor) -> Any:
        asked.append((task, round(float(level[0]), 6), round(float(others[-1][0]), 6)))
        return student(task, plan, level, *others)

    policy._student = ask  # type: ignore[assignment]
    action = policy.act(task)
    assert np.isfinite(action).all()
    assert asked == [("power", round(level, 6), 0.3) for level in level_grid(2)[:-1]]


def test_planning_by_a_student_that_was_not_made_is_a_clear_error(checkpoint: Path) -> None:
    with pytest.raises(DataError, match="make it with `networld distil`"):
        load_policy(checkpoint, "power", DISTILLED)
    assert load_policy(checkpoint, "power", replace(DISTILLED, mode="policy"))


def test_mistakes_of_the_command_are_told(
    checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["distil", "--checkpoint", str(checkpoint), "--data", str(data)]
    assert main([*command, "--preset", "huge"]) == 3
    assert "'huge' is not a preset" in capsys.readouterr().err
    assert main([*command, str(data)]) == 3
    assert "two of task 'power'" in capsys.readouterr().err


def test_settings_name_every_bad_value() -> None:
    with pytest.raises(ConfigError) as caught:
        DistillationSettings(hidden=0, teacher_steps=101, from_noise=2.0)
    assert len(caught.value.problems) == 3
