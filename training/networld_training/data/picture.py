"""The picture of a data set: returns of each behaviour, coverage of the actions, ranges of the features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from networld_training.data.figures import ActionFigures, BehaviourFigures, FeatureFigures
from networld_training.data.inspection import Inspection
from networld_training.evaluation.drawing import (
    FAINT,
    INK,
    MUTED,
    make_plain,
    new_figure,
    save,
    write_title,
)

BELOW, ABOVE, COUNTS = "#4c78a8", "#d97706", "#0b7a75"
RULES = ("#0b7a75", "#d97706", "#4c78a8", "#a23b72", "#7a8b00", "#6b4fa0", "#52606d", "#c0392b")
HISTOGRAM_BINS = 24
LABELS_OF_AN_AXIS = 16


def draw(found: Inspection, path: Path) -> None:
    """Write the picture as PNG; the file is replaced in one step.

    Raises:
        OSError: The file cannot be written.
    """
    manifest = found.manifest
    height = max(3.2 * (1 + len(found.actions)), 0.24 * len(found.features) + 1.5)
    figure = new_figure(12, height)
    grid = figure.add_gridspec(1 + len(found.actions), 2)
    _draw_returns(figure.add_subplot(grid[0, 0]), found.behaviours)
    for row, action in enumerate(found.actions):
        _draw_action(figure.add_subplot(grid[1 + row, 0]), action)
    _draw_features(figure.add_subplot(grid[:, 1]), found.features)
    write_title(
        figure, f"{manifest.dataset_id}: {manifest.episodes} episodes of {manifest.scenario}"
    )
    save(figure, path)


def _draw_returns(axes: Axes, behaviours: tuple[BehaviourFigures, ...]) -> None:
    """Draw what share of the cells that followed a rule had which return."""
    everyone = np.concatenate([one.relative_returns for one in behaviours])
    # The rarest returns would leave no room for the others; they count in the outer bins.
    low, high = np.percentile(everyone, (0.5, 99.5))
    edges = np.linspace(low, max(high, low + 1e-6), HISTOGRAM_BINS + 1)
    for one, colour in zip(behaviours, RULES, strict=False):
        values = np.clip(one.relative_returns, edges[0], edges[-1])
        counts, _ = np.histogram(values, edges)
        label = f"{one.rule}, {one.share:.0%} of cells"
        axes.stairs(100 * counts / counts.sum(), edges, color=colour, linewidth=1.6, label=label)
        axes.axvline(one.relative_returns.mean(), color=colour, linewidth=0.9, linestyle=":")
    axes.set_title("Returns by behaviour; dotted: means", loc="left", color=INK, fontsize=10)
    axes.set_xlabel("sum of a cell's rewards over an episode, less the mean of its network")
    axes.set_ylabel("cells in %")
    axes.legend(fontsize=8, labelcolor=INK, framealpha=0.9, edgecolor="none")
    _plain(axes)


def _draw_action(axes: Axes, action: ActionFigures) -> None:
    """Draw how often each bin or choice was logged."""
    total = sum(action.counts)
    places = np.arange(len(action.counts))
    axes.bar(places, [100 * count / total for count in action.counts], color=COUNTS, width=0.8)
    every = -(-len(places) // LABELS_OF_AN_AXIS)
    axes.set_xticks(places[::every], action.labels[::every], fontsize=8)
    if len(action.counts) <= LABELS_OF_AN_AXIS and max(map(len, action.labels)) > 6:
        axes.tick_params(axis="x", labelrotation=30)
    axes.set_title(
        f"Action {action.name}: {action.tried} of {len(action.counts)} values tried, "
        f"evenness {action.evenness:.2f}",
        loc="left",
        color=INK,
        fontsize=10,
    )
    axes.set_ylabel("slots in %")
    _plain(axes)


def _draw_features(axes: Axes, features: tuple[FeatureFigures, ...]) -> None:
    """Draw how often each feature left its range, to the left below it and to the right above it."""
    places = np.arange(len(features))
    axes.barh(places, [-100 * one.below for one in features], color=BELOW, label="below its range")
    axes.barh(places, [100 * one.above for one in features], color=ABOVE, label="above its range")
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set_yticks(places, [one.name for one in features], fontsize=8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    widest = max(1.0, *(100 * max(one.below, one.above) for one in features))
    axes.set_xlim(-1.08 * widest, 1.08 * widest)
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_title("Features outside their ranges", loc="left", color=INK, fontsize=10)
    axes.set_xlabel("values in %")
    axes.legend(fontsize=8, labelcolor=INK, framealpha=0.9, edgecolor="none")
    _plain(axes)


def _plain(axes: Axes) -> None:
    make_plain(axes)
    axes.grid(color=FAINT, linewidth=0.8)
