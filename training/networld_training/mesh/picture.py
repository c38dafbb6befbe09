"""The picture of a recording: rates and ages over time, rejects, and bytes of each cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import SubFigure

from networld_training.evaluation.drawing import (
    FAINT,
    INK,
    MUTED,
    make_plain,
    new_figure,
    save,
    write_title,
)
from networld_training.mesh.history import History

OURS = "#0b7a75"
COLOURS = ("#d97706", "#b91c1c", "#52606d", "#66b3ae", "#7c3aed", "#0b7a75")
SHORTEST_AGE_S, LONGEST_AGE_S = 0.01, 30.0
MOST_LABELS = 20
MOST_REASONS = len(COLOURS) - 1


def draw(history: History, title: str, path: Path) -> None:
    """Write the picture as PNG; the file is replaced in one step.

    Raises:
        OSError: The file cannot be written.
    """
    figure = new_figure(12, 7.2)
    upper, lower = figure.subfigures(2, 1, squeeze=False)[:, 0]
    rates, ages = upper.subfigures(1, 2, squeeze=False)[0]
    rejects, loads = lower.subfigures(1, 2, squeeze=False)[0]
    _draw_rates(rates.subplots(), history)
    _draw_ages(ages, ages.subplots(), history)
    _draw_rejects(rejects.subplots(), history)
    _draw_loads(loads.subplots(), history)
    write_title(figure, title)
    save(figure, path)


def _draw_rates(axes: Axes, history: History) -> None:
    """Draw the messages/s of every cell, and their mean."""
    times_s, rates = history.times_s, history.values("messages_per_s")
    for row in rates:
        axes.plot(times_s, row, color=MUTED, linewidth=0.6, alpha=0.6)
    if rates.size:
        mean = np.nan_to_num(rates).mean(axis=0)
        axes.plot(times_s, mean, color=OURS, linewidth=2, label="mean of all cells")
        axes.legend(frameon=False, loc="lower right")
    axes.set_ylim(bottom=0)
    _finish(axes, "Messages of each cell", "messages/s", history)


def _draw_ages(figure: SubFigure, axes: Axes, history: History) -> None:
    """Draw how old the newest message of each cell was, a row for each."""
    ages_s = history.values("age_s")
    names = history.cells
    if ages_s.size:
        shown = np.clip(ages_s, SHORTEST_AGE_S, LONGEST_AGE_S)
        edges = np.concatenate([[0.0], history.times_s])
        mesh = axes.pcolormesh(
            edges,
            np.arange(len(names) + 1),
            np.ma.masked_invalid(shown),
            norm=LogNorm(SHORTEST_AGE_S, LONGEST_AGE_S),
            cmap="YlOrRd",
            shading="flat",
        )
        bar = figure.colorbar(mesh, ax=axes, label="s", extend="both")
        bar.outline.set_visible(False)
    every = max(1, -(-len(names) // MOST_LABELS))
    axes.set_yticks(
        np.arange(0, len(names), every) + 0.5, [name for _, name in names[::every]], fontsize=8
    )
    axes.invert_yaxis()
    _finish(axes, "Age of the newest message (white: never heard)", "", history)
    axes.grid(visible=False)


def _draw_rejects(axes: Axes, history: History) -> None:
    """Draw what was rejected and what was missing, counted from the beginning."""
    times_s = history.times_s
    rejects = history.rejects()
    worst = sorted(rejects, key=lambda reason: -rejects[reason][-1])[:MOST_REASONS]
    for reason, colour in zip(worst, COLOURS, strict=False):
        axes.plot(times_s, rejects[reason], color=colour, linewidth=1.6, label=reason)
    axes.plot(times_s, history.gaps(), color=INK, linestyle=":", label="gaps in slots, seen here")
    axes.legend(frameon=False, loc="best", fontsize=8)
    axes.set_ylim(bottom=0)
    _finish(
        axes, "Rejected by the receivers since they began, by reason, and gaps", "messages", history
    )


def _draw_loads(axes: Axes, history: History) -> None:
    """Draw the payload of each cell per second of the recording."""
    names = history.cells
    bytes_per_s = (
        history.values("message_bytes")[:, -1] / history.duration_s if names else np.array([])
    )
    places = np.arange(len(names))
    axes.bar(places, np.nan_to_num(bytes_per_s), color=OURS, width=0.8)
    every = max(1, -(-len(names) // MOST_LABELS))
    labels = [name for _, name in names[::every]]
    axes.set_xticks(places[::every], labels, rotation=60, ha="right", fontsize=8)
    axes.set_title("Payload of each cell", loc="left", color=INK, fontsize=11)
    axes.set_ylabel("bytes/s")
    make_plain(axes)
    axes.grid(axis="y", color=FAINT, linewidth=0.8)


def _finish(axes: Axes, title: str, unit: str, history: History) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_ylabel(unit)
    axes.set_xlabel("seconds of the recording")
    axes.set_xlim(0, history.duration_s)
    make_plain(axes)
    axes.grid(color=FAINT, linewidth=0.8)
