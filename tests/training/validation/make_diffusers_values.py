"""Freeze what the schedulers of diffusers do: `make diffusers-values` runs this.

Diffusers is an independent implementation of DDIM and DPM-Solver++(2M) by other people. It is too heavy for
the usual environment, so that its values lie in diffusers_values.json; the slow tests run this file again.
Its schedulers step through a table of signal shares; ours is the cosine schedule of `networld_runtime.levels`
in FINE steps from the highest level down, of which a plan takes every FINE / K-th.
"""

from __future__ import annotations

import argparse
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from networld_runtime.levels import HIGHEST_LEVEL, signal

FINE = 1200
STEPS = (1, 2, 3, 4, 5, 10, 50)
STARTS = (-2.0, -0.7, 0.1, 1.3, 2.4)
SHARED: dict[str, Any] = {
    "num_train_timesteps": FINE,
    "prediction_type": "sample",
    "timestep_spacing": "trailing",
}


def denoise(plan: torch.Tensor, level: float) -> torch.Tensor:
    """Return a clean plan that depends on plan and level in a curved way; the test has the same."""
    return torch.tanh(0.8 * plan + 0.3 * level) - 0.2 * plan**2 * level


def betas() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the noise that each fine step adds, lowest level first."""
    levels = HIGHEST_LEVEL * np.arange(FINE + 1) / FINE
    shares = np.array([signal(level) ** 2 for level in levels])
    return np.asarray(1 - shares[1:] / shares[:-1])


def scheduler(name: str) -> Any:
    """Return a scheduler of diffusers."""
    if name == "ddim":
        return DDIMScheduler(
            trained_betas=betas(), clip_sample=False, set_alpha_to_one=True, **SHARED
        )
    return DPMSolverMultistepScheduler(
        trained_betas=betas(),
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        final_sigmas_type="zero",
        **SHARED,
    )


def solved(name: str, steps: int) -> list[float]:
    """Return where the scheduler takes the starts."""
    chosen = scheduler(name)
    chosen.set_timesteps(steps)
    plan = torch.tensor(STARTS, dtype=torch.float64)
    for time in chosen.timesteps:
        level = HIGHEST_LEVEL * (int(time) + 1) / FINE
        clean = denoise(plan, level)
        plan = chosen.step(clean, time, plan).prev_sample.double()
    return [float(value) for value in plan]


def main() -> None:
    """Write the values."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).with_name("diffusers_values.json")
    parser.add_argument("--output", type=Path, default=default)
    arguments = parser.parse_args()
    values = {
        "diffusers": version("diffusers"),
        "starts": STARTS,
        "solvers": {
            name: {str(steps): solved(name, steps) for steps in STEPS}
            for name in ("ddim", "dpm_solver")
        },
    }
    arguments.output.write_text(json.dumps(values, indent=1) + "\n")


if __name__ == "__main__":
    main()
