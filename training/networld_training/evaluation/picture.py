"""The picture of an evaluation: a panel for each scenario, a dot with its interval for each policy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from networld_training.evaluation.drawing import (
    FAINT,
    INK,
    LOWEST_SHOWN,
    MUTED,
    make_plain,
    new_figure,
    save,
    score_label,
    write_title,
)
from networld_training.evaluation.results import Row, ScenarioResult
from networld_training.tasks.spec import Information

PANELS_IN_A_ROW = 4
COLOURS: dict[Information, str] = {
    "none": MUTED,
    "local": "#d97706",
    "mean-field": "#0b7a75",
    "one-hop": "#2563eb",
    "genie": "#52606d",
}


def draw_results(results: Sequence[ScenarioResult], path: Path) -> None:
    """Write scores and intervals as PNG; the best policy of the first scenario is on top.

    Raises:
        OSError: The file cannot be written.
    """
    order = _order(results)
    columns = min(len(results), PANELS_IN_A_ROW)
    rows = -(-len(results) // columns)
    figure = new_figure(2.2 + 2.4 * columns, 1.2 + rows * (0.7 + 0.22 * len(order)))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for place in range(len(results), len(panels)):
        panels[place].set_visible(False)
        panels[place - columns].tick_params(labelbottom=True)
    for panel, result in zip(panels, results, strict=False):
        _draw_panel(panel, result, order)
    handles = [
        panels[0].plot([], [], "o", color=colour, label=label)[0]
        for label, colour in COLOURS.items()
        if any(row.information == label for result in results for row in result.rows)
    ]
    figure.legend(
        handles=handles,
        title="what a policy knows",
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
        labelcolor=INK,
    )
    tasks = ", ".join(dict.fromkeys(result.scenario.task for result in results))
    write_title(figure, f"{tasks}: score, 0 is random, 100 is the expert")
    save(figure, path)


def _order(results: Sequence[ScenarioResult]) -> list[str]:
    """Return all policies, the worst first, those of the first scenario by their score there."""
    order: list[str] = []
    for result in results:
        ranked = sorted(result.rows, key=lambda row: row.score.value)
        order += [row.policy for row in ranked if row.policy not in order]
    return order


def _draw_panel(axes: Axes, result: ScenarioResult, order: list[str]) -> None:
    for row in result.rows:
        _draw_policy(axes, row, order.index(row.policy))
    axes.axvline(0, color=INK, linewidth=0.8, zorder=1)
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_title(result.scenario.name, loc="left", color=INK, fontsize=10)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    make_plain(axes)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.tick_params(axis="x", labelsize=8)


def _draw_policy(axes: Axes, row: Row, place: int) -> None:
    """Draw a dot and its interval; what lies too far below is written at the edge."""
    colour, score = COLOURS[row.information], row.score
    if score.value < LOWEST_SHOWN:
        label = score_label(score.value)
        edge = axes.get_yaxis_transform()  # x from 0 to 1, y as the data
        axes.text(0.02, place, label, transform=edge, color=colour, fontsize=8, va="center")
        return
    low, high = np.clip((score.low, score.high), LOWEST_SHOWN, None)
    axes.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="round")
    axes.plot([score.value], [place], "o", color=colour, markersize=5, zorder=3)
