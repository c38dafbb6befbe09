"""Scene of the sleep task: who is awake over the day, what that saves, and what traffic it loses."""

from __future__ import annotations

from collections.abc import Sequence

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
from networld_training.tasks.sleep.modes import ORDERS
from networld_training.tasks.sleep.task import SleepTask

STATES = (*ORDERS, "waking")
# In the order of the states.
COLOURS = {
    "awake": "#f2c94c",
    "light sleep": "#66b3ae",
    "deep sleep": "#1f4e5f",
    "waking": "#d97706",
}


def look(task: SleepTask, details: Seen) -> Seen:
    """Return state, relative power, load and lost traffic in Mbit/s of each cell `[E, K]`."""
    return {
        "state": task.state.astype(float),
        "power": details["energy"] / task.network.slot_s,
        "load": details["load"],
        "lost_mbit_s": details["unserved_mbit_s"],
    }


def columns(action: Numbers, seen: Seen) -> list[tuple[str, ...]]:
    """Return state, offset, load and lost traffic of each cell."""
    return [
        (STATES[int(state)], f"{offset_db:+.0f} dB", f"{100 * load:.0f} %", f"{lost:.1f} Mbit/s")
        for offset_db, state, load, lost in zip(
            action[:, 1], seen["state"], seen["load"], seen["lost_mbit_s"], strict=True
        )
    ]


def draw(figure: SubFigure, curves: Sequence[Curve]) -> None:
    """Draw power and lost traffic over the day, and who sleeps under NetWorld in the first episode."""
    power, lost, states = figure.subplots(3, 1, height_ratios=[1.2, 0.9, 1.1])
    draw_course(
        power, curves, "power", "Relative power of a cell, mean of cells and drops", headroom=1.6
    )
    write_legend(power, loc="upper left", ncols=2)
    draw_course(lost, curves, "lost_mbit_s", "Lost traffic of a cell in Mbit/s")
    kind = curves[-1].seen["state"][0]
    draw_strips(figure, states, kind, COLOURS, f"{curves[-1].label}, first drop: who is awake")


SLEEP_SCENE = Scene(look, ("state", "offset", "load", "lost"), columns, draw)
