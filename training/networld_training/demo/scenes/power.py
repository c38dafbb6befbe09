"""Scene of the power task: powers and rates as they come, and what the users got in the end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import SubFigure

from networld_training.demo.scenes.scene import (
    Curve,
    Numbers,
    Scene,
    Seen,
    write_heading,
    write_legend,
)
from networld_training.tasks.power.contract import LOWEST_POWER_DB
from networld_training.tasks.power.task import PowerTask

FULL_POWER_DB = 0.0


def look(task: PowerTask, details: Seen) -> Seen:
    """Return the users' mean rates so far `[E, U]` and the cells' present ones `[E, K]`, in b/s/Hz."""
    return {"user_rate": task.user_rates, "rate": details["spectral_efficiency"]}


def columns(action: Numbers, seen: Seen) -> list[tuple[str, ...]]:
    """Return power and rate of each cell."""
    return [
        ("off" if power_db < LOWEST_POWER_DB else f"{power_db:.1f} dB", f"{rate:.1f} b/s/Hz")
        for power_db, rate in zip(action[:, 0], seen["rate"], strict=True)
    ]


def draw(figure: SubFigure, curves: Sequence[Curve]) -> None:
    """Draw the distribution of the users' mean rates."""
    axes = figure.subplots()
    final = [curve.seen["user_rate"][:, -1].ravel() for curve in curves]
    for curve, rates in zip(curves, final, strict=True):
        axes.step(
            np.sort(rates),
            100 * (np.arange(rates.size) + 1) / rates.size,
            where="post",
            color=curve.colour,
            linestyle=curve.line,
            linewidth=curve.width,
            label=curve.label,
        )
    axes.set_xlim(0, float(np.percentile(np.concatenate(final), 99)))
    axes.set_ylim(0, 100)
    axes.set_xlabel("mean rate of a user in b/s/Hz")
    axes.set_ylabel("users with at most this rate in %")
    write_heading(axes, "What the users get")
    write_legend(axes, loc="lower right")


POWER_SCENE = Scene(
    look,
    ("power", "rate"),
    columns,
    draw,
    start=(FULL_POWER_DB,),  # an episode warms up at full power
)
