"""Our solvers against the schedulers of diffusers, an independent implementation.

The values of diffusers lie in diffusers_values.json. The slow test has it compute them again, where it is
installed: `make test-references`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from networld_runtime.levels import level_grid
from networld_runtime.solver import SOLVERS, solve

SCRIPT = Path(__file__).with_name("make_diffusers_values.py")
FROZEN: dict[str, Any] = json.loads(Path(__file__).with_name("diffusers_values.json").read_text())
TOLERANCE = 1e-5
"""Diffusers multiplies 1200 signal shares in single precision."""

Array = np.ndarray[Any, np.dtype[np.float64]]


def denoise(plan: Array, level: float) -> Array:
    """Return what the script has as well: a clean plan that depends on plan and level in a curved way."""
    return np.asarray(np.tanh(0.8 * plan + 0.3 * level) - 0.2 * plan**2 * level)


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_agree_with_diffusers(solver: str) -> None:
    values = FROZEN["solvers"][solver]
    assert set(map(int, values)) == {1, 2, 3, 4, 5, 10, 50}
    for steps, expected in values.items():
        found = solve(denoise, np.array(FROZEN["starts"]), SOLVERS[solver](level_grid(int(steps))))
        np.testing.assert_allclose(found, expected, atol=TOLERANCE, err_msg=f"{steps} steps")


def test_the_two_solvers_differ_beyond_the_tolerance() -> None:
    first, second = (np.array(FROZEN["solvers"][name]["4"]) for name in ("ddim", "dpm_solver"))
    assert np.abs(first - second).min() > 100 * TOLERANCE


@pytest.mark.slow
def test_diffusers_still_does_what_is_frozen(tmp_path: Path) -> None:
    pytest.importorskip(
        "diffusers", reason="diffusers has its own environment: make test-references"
    )
    assert version("diffusers") == FROZEN["diffusers"]
    output = tmp_path / "values.json"
    subprocess.run([sys.executable, str(SCRIPT), "--output", str(output)], check=True)
    values = json.loads(output.read_text())
    for solver, expected in FROZEN["solvers"].items():
        for steps, plan in expected.items():
            assert values["solvers"][solver][steps] == pytest.approx(plan, abs=TOLERANCE)
