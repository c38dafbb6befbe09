"""What a task must say of itself to be demonstrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from networld_training.evaluation.drawing import FAINT, INK, make_plain

Numbers = npt.NDArray[np.floating[Any]]

Seen = Mapping[str, Numbers]
"""What is seen, by name: of a slot `[E, N]`, or `[N]` of one episode; of whole episodes `[E, slots, N]`."""


@dataclass(frozen=True)
class Curve:
    """A policy as the picture shows it.

    Attributes:
        label: What it is called.
        seen: What was seen of it `[E, slots, N]`.
        colour: Its colour.
        line: Style of its lines.
        ours: Whether it is NetWorld.
    """

    label: str
    seen: Seen
    colour: str
    line: str
    ours: bool

    @property
    def width(self) -> float:
        """Width of its lines."""
        return 2.4 if self.ours else 1.6


@dataclass(frozen=True)
class Scene:
    """What a demonstration shows of a task.

    Attributes:
        look: From a task `[E, ...]` after a slot and the details of that slot to what is
            kept of it, in arrays that the task does not go on with.
        headings: Columns of the live table.
        columns: From the actions of a slot `[K, C]` and what was seen of it to the text of these columns, a
            row for each cell.
        draw: Draws the right side of the picture; the last curve is NetWorld's.
        start: What all cells do until their first action of an episode `[C]`; None for the contract's safe
            action.
    """

    look: Callable[[Any, Seen], Seen]
    headings: tuple[str, ...]
    columns: Callable[[Numbers, Seen], list[tuple[str, ...]]]
    draw: Callable[[SubFigure, Sequence[Curve]], None]
    start: tuple[float, ...] | None = None


def draw_course(
    axes: Axes, curves: Sequence[Curve], name: str, title: str, headroom: float = 1.1
) -> None:
    """Draw the mean over cells and episodes of something seen, slot by slot.

    Args:
        axes: Where.
        curves: Whose.
        name: What was seen.
        title: Stands above.
        headroom: Where the axis ends, over the highest value: a legend needs more.
    """
    for curve in curves:
        axes.plot(
            curve.seen[name].mean(axis=(0, 2)),
            color=curve.colour,
            linestyle=curve.line,
            linewidth=curve.width,
            label=curve.label,
        )
    axes.set_xlim(0, curves[0].seen[name].shape[1] - 1)
    highest = max(curve.seen[name].mean(axis=(0, 2)).max() for curve in curves)
    axes.set_ylim(0, max(headroom * highest, 1e-3))
    write_heading(axes, title)


def write_heading(axes: Axes, title: str) -> None:
    """Write what a panel shows, and leave out what carries no information."""
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    make_plain(axes)
    axes.grid(color=FAINT, linewidth=0.8)


def write_legend(axes: Axes, **place: Any) -> None:
    """Tell which curve is whose."""
    axes.legend(fontsize=9, labelcolor=INK, framealpha=0.9, edgecolor="none", **place)
