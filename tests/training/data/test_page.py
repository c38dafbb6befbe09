"""docs/datasets.md as a contract: its commands and its code run as written, its table is complete."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from networld_training import cli
from networld_training.data.manifest import read_manifest
from networld_training.data.qualities import qualities_of
from networld_training.data.shards import layout
from networld_training.tasks.registry import TASKS

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text()


def block(language: str) -> str:
    """Return the only block of this language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def test_commands_and_code_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in block("bash").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "networld"
        if "--episodes" in arguments:  # as written, but smaller
            arguments[arguments.index("--episodes") + 1] = "4"
            arguments += ["--shard-episodes", "2", "--slots", "2"]
        assert cli.main(arguments) == 0
    assert "2 shards, 4 episodes, all intact" in capsys.readouterr().out
    done = subprocess.run(
        [sys.executable, "-c", block("python")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("train-0 [(")
    assert second.startswith("train-1 [(")


def test_table_lists_every_array_with_its_type_and_shape(original: Callable[[str], Path]) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) `", PAGE, re.MULTILINE))
    expected: dict[str, str] = {}
    for task in TASKS:
        manifest = read_manifest(original(task))
        arrays = layout(manifest, manifest.shards[0])
        expected |= {name: kind for name, (kind, _) in arrays.items()}
    assert rows == expected


@pytest.mark.parametrize("task", TASKS)
def test_every_quality_is_listed(task: str) -> None:
    section = PAGE.partition("## Qualities")[2].partition("##")[0]
    assert re.findall(r"^\| `([\w-]+)`", section, re.MULTILINE) == list(qualities_of(task))
