"""Scene of the scheduling task: who is served, how much waits, and who is silent though users wait."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import SubFigure

from networld_training.demo.scenes.scene import (
    Curve,
    Numbers,
    Scene,
    Seen,
    draw_course,
    write_legend,
)
from networld_training.demo.scenes.strip import draw_strips
from networld_training.tasks.sched.contract import MEGABIT, MUTE
from networld_training.tasks.sched.task import SchedTask

COLOURS = {"serves a user": "#0b7a75", "silent, users wait": "#d97706", "nobody waits": "#e4e7eb"}
SERVES, SILENT, IDLE = range(3)


def look(task: SchedTask, details: Seen) -> Seen:
    """Return what each cell served and what waits now, in Mbit, and whether it sent, `[E, K]`."""
    return {
        "served_mbit": details["served_mbit"],
        "queue_mbit": task.measured.cell_bits / MEGABIT,
        "sent": task.last[..., 0],
    }


def columns(action: Numbers, seen: Seen) -> list[tuple[str, ...]]:
    """Return whom each cell serves, what that brings, and what waits."""
    return [
        (
            "silent" if place == MUTE else f"user {int(place) + 1}",
            f"{served:.2f} Mbit",
            f"{queue:.1f} Mbit",
        )
        for place, served, queue in zip(
            action[:, 0], seen["served_mbit"], seen["queue_mbit"], strict=True
        )
    ]


def draw(figure: SubFigure, curves: Sequence[Curve]) -> None:
    """Draw how much waits, slot by slot, and which cells are silent under NetWorld in the first episode."""
    above, below = figure.subplots(2, 1)
    draw_course(
        above,
        curves,
        "queue_mbit",
        "Backlog of a cell in Mbit, mean of cells and drops",
        headroom=1.6,
    )
    write_legend(above, loc="upper left")
    kind = silence(curves[-1].seen)[0]
    title = f"{curves[-1].label}, first drop: who is silent"
    draw_strips(figure, below, kind, COLOURS, title, first_slot=1)


def silence(seen: Seen) -> Numbers:
    """Return what each cell did in each slot but the first, as places in `COLOURS`, `[E, slots - 1, K]`."""
    waited = seen["queue_mbit"][:, :-1] > 0  # what waits after a slot waits in the next one
    silent = np.where(waited, SILENT, IDLE)
    return np.where(seen["sent"][:, 1:] > 0, SERVES, silent).astype(np.float64)


SCHED_SCENE = Scene(look, ("serves", "served", "waits"), columns, draw)
