"""The picture of a demonstration: scores of all policies, and the task's own scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from networld_training.demo.outcome import ADAPTED, BASE, DemoOutcome
from networld_training.demo.scenes.scene import Curve
from networld_training.demo.tables import LABELS
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
from networld_training.evaluation.scores import RANDOM

OURS = {ADAPTED: "#0b7a75", BASE: "#66b3ae"}
AS_INFORMED = ("none", "local", "mean-field")
"""What rules may know that have no advantage over a cell of ours."""


def draw(outcome: DemoOutcome, path: Path) -> None:
    """Write the picture as PNG; the file is replaced in one step.

    Raises:
        OSError: The file cannot be written.
    """
    figure = new_figure(12, 5.4)
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.05], squeeze=False)[0]
    _draw_scores(left, outcome)
    settings = outcome.settings
    settings.scene.draw(right, _curves(outcome))
    write_title(
        figure,
        f"NetWorld, {settings.task}: {outcome.live_cells} live cells over MQTT, "
        f"{settings.episodes} drops of {settings.slots} slots",
    )
    save(figure, path)


def best_rule(outcome: DemoOutcome) -> str:
    """Return the rule with the best score among those that know no more than a cell of ours."""
    rules = [
        name
        for name, result in outcome.results.items()
        if name not in OURS and result.information in AS_INFORMED
    ]
    return max(rules, key=lambda name: outcome.scores[name].value)


def _curves(outcome: DemoOutcome) -> list[Curve]:
    """Return random, the best rule, the expert and NetWorld, the last of all on top."""
    shown = {
        RANDOM: (MUTED, ":"),
        best_rule(outcome): ("#d97706", "--"),
        outcome.spec.expert: ("#52606d", "-."),
        ADAPTED: (OURS[ADAPTED], "-"),
    }
    return [
        Curve(_short(name), outcome.results[name].seen, colour, line, ours=name == ADAPTED)
        for name, (colour, line) in shown.items()
    ]


def _short(name: str) -> str:
    return "NetWorld" if name == ADAPTED else name


def _label(name: str, outcome: DemoOutcome) -> str:
    return LABELS.get(name, f"{name} ({outcome.results[name].information})")


def _draw_scores(figure: SubFigure, outcome: DemoOutcome) -> None:
    """Draw a bar for each policy, the best on top."""
    axes: Axes = figure.subplots()
    names = sorted(outcome.scores, key=lambda name: outcome.scores[name].value)
    values = [outcome.scores[name].value for name in names]
    ours = [name in OURS for name in names]
    bars = axes.barh(
        [_label(name, outcome) for name in names],
        np.maximum(values, LOWEST_SHOWN),
        color=[OURS.get(name, MUTED) for name in names],
        height=0.68,
    )
    numbers = [score_label(value) for value in values]
    labels = axes.bar_label(bars, numbers, padding=4, color=INK, fontsize=10)
    for text, label, own in zip(axes.get_yticklabels(), labels, ours, strict=True):
        for one in (text, label):
            one.set_fontweight("bold" if own else "normal")
    axes.axvline(0, color=INK, linewidth=0.8)
    lowest = max(min(values), LOWEST_SHOWN)
    axes.set_xlim(lowest - 45 if lowest < 0 else 0, max(*values, 100) * 1.12)
    axes.set_title("Score on the same drops", loc="left", color=INK, fontsize=11)
    axes.set_xlabel(f"0: {RANDOM}   100: {outcome.spec.expert}")
    make_plain(axes)
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
