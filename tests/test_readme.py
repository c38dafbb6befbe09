"""README as a contract: its commands run as written, its links lead somewhere."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def commands(*programs: str) -> list[list[str]]:
    """Return the commands of the README that start one of `programs`, in order."""
    words = [shlex.split(command, comments=True) for command in COMMANDS]
    return [command for command in words if Path(command[0]).name in programs]


def expanded(word: str, folder: Path) -> list[str]:
    """Return what a shell makes of a word that may stand for several files."""
    return sorted(glob.glob(word, root_dir=folder)) or [word]


@pytest.mark.slow
def test_commands_run_as_written_in_order(tmp_path: Path) -> None:
    for name in ("bundles", "edge_configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    to_run = commands("networld", "networld-agent")
    assert len(to_run) >= 6
    for command in to_run:
        program = str(scripts / Path(command[0]).name)
        if command[1] in ("run", "status"):  # a cell that runs: `check` stands for it
            command[1] = "check"
        words = [name for word in command[1:] for name in expanded(word, tmp_path)]
        done = subprocess.run(
            [program, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("command", commands("make"), ids=" ".join)
def test_make_targets_exist(command: list[str]) -> None:
    done = subprocess.run(
        [command[0], "--dry-run", *command[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_program_is_known() -> None:
    known = {"make", "networld", "networld-agent", "git", "cd", "pip"}
    assert {Path(shlex.split(command)[0]).name for command in COMMANDS} <= known


@pytest.mark.parametrize("script", ["update_results", "update_bench", "update_mesh"])
def test_figures_are_those_of_the_measured_file(script: str) -> None:
    assert _module(script).updated_readme() == README


def test_figures_of_the_page_on_sizes_are_those_of_the_measured_file() -> None:
    assert _module("update_mesh").updated_sizing() == (ROOT / "docs" / "sizing.md").read_text()


def _module(script: str) -> Any:
    path = ROOT / "docs" / f"{script}.py"
    specification = importlib.util.spec_from_file_location(script, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
