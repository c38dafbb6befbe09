"""How the project's pictures look: ink, grid and files."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from networld_runtime.files import write_atomically

DOTS_PER_INCH = 160
INK, MUTED, FAINT = "#1f2933", "#9aa5b1", "#e4e7eb"
# A rule far below random would leave no room for the others.
LOWEST_SHOWN = -50.0


def new_figure(width_inch: float, height_inch: float) -> Figure:
    """Return an empty figure; no pyplot, so nothing global is touched."""
    size = (width_inch, height_inch)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_title(figure: Figure, text: str) -> None:
    """Write what the figure shows, top left."""
    figure.suptitle(text, color=INK, fontsize=13, fontweight="bold", x=0.01, ha="left")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; the file is replaced in one step.

    Raises:
        OSError: The file cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_atomically(path, buffer.getvalue())


def score_label(score: float) -> str:
    """Return a score as text, with an arrow if it lies outside of what is shown."""
    text = f"{score:.0f}".replace("-", "\N{MINUS SIGN}")
    return f"\N{LEFTWARDS ARROW} {text}" if score < LOWEST_SHOWN else text


def make_plain(axes: Axes) -> None:
    """Leave out what carries no information."""
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(MUTED)
