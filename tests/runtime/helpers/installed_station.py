"""A base station as install.sh leaves it, made once for all tests of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_once import made_once

SCRIPTS = Path(__file__).parents[3] / "edge_configs"


def clean_environment(**more: str) -> dict[str, str]:
    """Return an environment in which only what is installed is imported."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    } | more


def script(name: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script of edge_configs/ to its end."""
    return subprocess.run(
        [str(SCRIPTS / name), *map(str, arguments)],
        env=clean_environment(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def index_answers() -> bool:
    """Return whether pip finds the smallest of our packages at the index that it is configured for."""
    command = "install --dry-run --quiet --no-deps --ignore-installed --retries 0 --timeout 10"
    done = subprocess.run(
        [sys.executable, "-m", "pip", *command.split(), "flatbuffers"],
        env=clean_environment(),
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


def wheels(factory: pytest.TempPathFactory) -> Path:
    """Return a folder of wheels for this interpreter, as collect_wheels.sh gathers them."""
    if not index_answers():
        pytest.skip("no package index to gather wheels from")

    def make(folder: Path) -> None:
        done = script("collect_wheels.sh", "--output", folder, PYTHON=sys.executable)
        assert done.returncode == 0, done.stderr

    return made_once(factory, "wheels", make)


def station(factory: pytest.TempPathFactory) -> Path:
    """Return the root below which a base station is installed; tests leave it as it is."""
    folder = wheels(factory)

    def make(root: Path) -> None:
        options = ("--wheels", folder, "--root", root, "--python", sys.executable)
        done = script("install.sh", *options)
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(factory, "station", make)
