"""The picture of a demonstration: scores of all policies, and what the users get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from networld_training.demo.outcome import ADAPTED, BASE, DemoOutcome
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

COLOURS = {ADAPTED: "#0b7a75", BASE: "#66b3ae", "wmmse-pf": "#52606d", "full": "#d97706"}
CURVES = ("full", BASE, ADAPTED, "wmmse-pf")
STYLES = {"full": ":", BASE: "--", ADAPTED: "-", "wmmse-pf": "-."}


def draw(outcome: DemoOutcome, path: Path) -> None:
    """Write the picture as PNG; the file is replaced in one step.

    Raises:
        OSError: The file cannot be written.
    """
    figure = new_figure(11, 4.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.15, 1])
    _draw_scores(left, outcome)
    _draw_rates(right, outcome)
    settings = outcome.settings
    write_title(
        figure,
        f"NetWorld power control: {outcome.live_cells} live cells over MQTT, "
        f"{settings.episodes} drops of {settings.slots} slots",
    )
    save(figure, path)


def _draw_scores(axes: Axes, outcome: DemoOutcome) -> None:
    """Draw a bar for each policy, the best on top."""
    names = sorted(outcome.scores, key=lambda name: outcome.scores[name].value)
    values = [outcome.scores[name].value for name in names]
    ours = [name in (BASE, ADAPTED) for name in names]
    bars = axes.barh(
        [LABELS.get(name, name) for name in names],
        np.maximum(values, LOWEST_SHOWN),
        color=[COLOURS[name] if own else MUTED for name, own in zip(names, ours, strict=True)],
        height=0.68,
    )
    numbers = [score_label(value) for value in values]
    labels = axes.bar_label(bars, numbers, padding=4, color=INK, fontsize=10)
    for text, label, own in zip(axes.get_yticklabels(), labels, ours, strict=True):
        for one in (text, label):
            one.set_fontweight("bold" if own else "normal")
    axes.axvline(0, color=INK, linewidth=0.8)
    lowest = max(min(values), LOWEST_SHOWN)
    axes.set_xlim(lowest - 32 if lowest < 0 else 0, max(*values, 100) * 1.12)
    axes.set_title("Score on the same drops", loc="left", color=INK, fontsize=11)
    axes.set_xlabel("0: random   100: WMMSE-PF")
    make_plain(axes)
    axes.tick_params(axis="y", length=0, labelsize=10)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)


def _draw_rates(axes: Axes, outcome: DemoOutcome) -> None:
    """Draw the distribution of the users' mean rates under a few policies."""
    for name in CURVES:
        rates = np.sort(outcome.results[name].user_rates.ravel())
        share = 100 * (np.arange(rates.size) + 1) / rates.size
        axes.step(
            rates,
            share,
            where="post",
            color=COLOURS[name],
            linestyle=STYLES[name],
            linewidth=2.4 if name == ADAPTED else 1.6,
            label=LABELS[name],
            zorder=3 if name == ADAPTED else 2,
        )
    everyone = np.concatenate([outcome.results[name].user_rates.ravel() for name in CURVES])
    axes.set_xlim(0, float(np.percentile(everyone, 99)))
    axes.set_ylim(0, 100)
    axes.set_title("What the users get", loc="left", color=INK, fontsize=11)
    axes.set_xlabel("mean rate of a user in b/s/Hz")
    axes.set_ylabel("users with at most this rate in %")
    axes.legend(fontsize=9.5, labelcolor=INK, loc="lower right", framealpha=0.9, edgecolor="none")
    make_plain(axes)
    axes.grid(color=FAINT, linewidth=0.8)
