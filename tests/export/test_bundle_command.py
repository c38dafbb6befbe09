"""`networld bundle`: data of all tasks, training and export as one command that can be resumed."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from networld_export.commands.bundle import DATA_SETS, make_steps
from networld_runtime.bundle import load_bundle
from networld_training import cli
from networld_training.data.manifest import read_finished_manifest
from networld_training.tasks.registry import CONTRACTS


def make(folder: Path, *more: str) -> int:
    command = ["bundle", "make", "--work", str(folder / "work"), "--output", str(folder / "bundle")]
    return cli.main([*command, "--preset", "tiny", "--episodes", "18", *more])


def test_all_tasks_of_the_world_model_are_in_it() -> None:
    assert set(DATA_SETS) == set(CONTRACTS)


def test_a_step_that_fails_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "work").write_text("a file where a folder should be")
    assert make(tmp_path) == 1
    output = capsys.readouterr()
    assert output.out == "step 1 of 6: data set of power\n"
    assert "work" in output.err


@pytest.mark.slow
def test_tiny_bundle_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make(tmp_path, "--mode", "select") == 0
    for task in DATA_SETS:
        manifest = read_finished_manifest(tmp_path / "work" / f"data-{task}")
        assert (manifest.spec.name, manifest.episodes) == (task, 18)
        # as many shards as networks at least, so that all of them are in it
        assert len(manifest.shards) >= len({str(shard.network) for shard in manifest.shards}) == 9
        assert load_bundle(tmp_path / "bundle", task).planner["mode"] == "select"
    assert capsys.readouterr().out.count("step ") == 6

    arguments = Namespace(
        work=tmp_path / "work", output=tmp_path, preset="tiny", episodes=18, mode="select", seed=0
    )
    resumed = list(make_steps(arguments).values())[:-1]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    for step in resumed:  # data, training and distillation are there
        assert cli.main(step) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before

    assert cli.main(["bundle", "show", "--output", str(tmp_path / "bundle")]) == 0
    shown = capsys.readouterr().out
    tasks = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["tasks"]
    assert all(shown.count(task) >= len(entry["graphs"]) for task, entry in tasks.items())
