"""Score beside time, one panel for each task."""

from __future__ import annotations

from pathlib import Path

from networld_runtime.bench.cases import Row
from networld_runtime.bench.report import COLOURS
from networld_runtime.bench.results import Results


def draw_pareto(results: Results, path: Path) -> None:
    """Draw what has a score, back to back and alone, into a PNG file; the line joins what nothing beats."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow

    tasks = list(dict.fromkeys(row.task for row in results.rows))
    figure = Figure(figsize=(4.2 * len(tasks), 3.8), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for panel, task in zip(panels, tasks, strict=True):
        rows = [row for row in results.rows if row.task == task and _is_shown(row)]
        for name, colour in COLOURS.items():
            some = [row for row in rows if (row.variant or row.form) == name]
            panel.scatter(
                [row.p50_ms for row in some], [row.score for row in some], color=colour, label=name
            )
        for row in rows:
            if row.k:
                text = f"{row.k} x {row.candidates}"
                panel.annotate(
                    text, (row.p50_ms, row.score), (4, -9), textcoords="offset points", fontsize=7
                )
        front = pareto(rows)
        panel.plot(
            [row.p50_ms for row in front], [row.score for row in front], color="#999", zorder=0
        )
        panel.set(title=task, xlabel="median ms for an action, one core")
        if rows:  # nothing has a score in a bundle that nobody judged
            panel.set_xscale("log")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("score (0 random, 100 expert)")
    panels[0].legend(fontsize=8)
    figure.suptitle("Score beside time; numbers: denoising steps x candidates", fontsize=10)
    figure.savefig(path, dpi=130)


def pareto(rows: list[Row]) -> list[Row]:
    """Return the rows that no faster one equals in score, the fastest first."""
    front: list[Row] = []
    for row in sorted(rows, key=lambda one: (one.p50_ms, -(one.score or 0.0))):
        if row.score is not None and (not front or row.score > (front[-1].score or 0.0)):
            front.append(row)
    return front


def _is_shown(row: Row) -> bool:
    return row.score is not None and row.undisturbed
