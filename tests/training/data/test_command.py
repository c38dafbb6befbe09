"""`networld data make` and `verify`: what they print, write and refuse."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from networld_training import cli
from networld_training.data.manifest import Manifest, read_manifest
from networld_training.tasks.registry import TASKS

TINY = ["--episodes", "3", "--shard-episodes", "2", "--slots", "2"]


def test_make_verify_and_make_again(
    tmp_path: Path, task_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, file = tmp_path / "set", tmp_path / "made.json"
    make = ["data", "make", "--task", task_name, "--output", str(folder), *TINY]
    assert cli.main([*make, "--quality", "random", "--json", str(file)]) == 0
    assert f"data set: {folder}" in capsys.readouterr().out
    manifest = read_manifest(folder)
    assert json.loads(file.read_text()) == json.loads(json.dumps(manifest.to_json()))
    assert (manifest.task, manifest.quality.name, manifest.slots) == (task_name, "random", 2)
    assert manifest.scenario == f"networld/{task_name}/train-v0"
    assert cli.main(["data", "verify", str(folder)]) == 0
    said = f"networld/{task_name}/random-v0: 2 shards, 3 episodes, all intact"
    assert said in capsys.readouterr().out

    shard = folder / manifest.shards[1].file
    shard.write_bytes(b"")
    assert cli.main(["data", "verify", str(folder)]) == 6
    error = capsys.readouterr().err
    assert f"{shard.name}: damaged: 0 bytes" in error
    command = error.partition("mend it with `networld ")[2].partition("`")[0]
    assert cli.main(command.split()) == 0
    assert cli.main(["data", "verify", str(folder)]) == 0
    assert read_manifest(folder) == manifest


def test_set_that_lacks_networks_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "make", "--output", str(tmp_path), *TINY]) == 0
    assert (
        "only 2 of the 9 networks of networld/power/train-v0 are in it" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "moon"], f"task: 'moon' is not a task; known: {', '.join(TASKS)}"),
        (["--scenario", "moon"], "'power/moon' is not a scenario; known: power/train, "),
        (
            ["--scenario", "sched/train"],
            "--scenario: 'networld/sched/train-v0' is of task 'sched': expected one of task 'power'",
        ),
        (["--episodes", "0", "--seed", "-1"], "2 problems"),
        (["--output", __file__], "test_command.py: is a file; name a folder"),
        (["--json", "nowhere/file"], "--json: nowhere/file: the folder does not exist"),
    ],
)
def test_mistakes_are_told(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    assert cli.main(["data", "make", "--output", str(folder), *options]) == 3
    assert said in capsys.readouterr().err
    assert not folder.exists()


def test_old_format_is_told(power_set: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((power_set / "manifest.json").read_text())
    (power_set / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))
    for action in ("inspect", "verify"):
        assert cli.main(["data", action, str(power_set)]) == 6
        assert "format = 1: expected 3; delete it and make the data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"), [("{", "not JSON"), ('{"format": 3}', "damaged (no 'spec_sha256')")]
)
def test_damaged_manifest_is_mended_by_deleting_it(
    power_set: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(power_set)
    (power_set / "manifest.json").write_text(text)
    again = shlex.split(manifest.how_to_make(power_set).strip("`"))[1:]
    assert cli.main(again) == 6
    errors = capsys.readouterr().err
    assert said in errors
    assert "delete it and make the data set again" in errors
    (power_set / "manifest.json").unlink()
    assert cli.main(again) == 0
    assert read_manifest(power_set) == manifest


def test_interruption_ends_with_130(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[..., Manifest],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from networld_training.data import generate

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    make(tmp_path, episodes=1)
    (tmp_path / "shard-0000.safetensors").unlink()
    monkeypatch.setattr(generate, "simulate", interrupted)
    arguments = ["data", "make", "--output", str(tmp_path), "--episodes", "1"]
    arguments += ["--shard-episodes", "2", "--slots", "4", "--seed", "1"]
    assert cli.main(arguments) == 130
    assert "interrupted" in capsys.readouterr().err
    assert cli.main(["data", "inspect", str(tmp_path)]) == 6
    assert "0 of 1 shards; finish it with `networld data make" in capsys.readouterr().err
