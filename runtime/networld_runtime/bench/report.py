"""Results as one HTML file that needs nothing else: machine, picture, table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from html import escape

from networld_runtime.bench.cases import Row
from networld_runtime.bench.results import COLUMNS, Results

WIDTH, HEIGHT, EDGE = 760, 380, 56
COLOURS = {
    "policy": "#1b7f5c",
    "distilled": "#2b5fb8",
    "distilled-int8": "#7aa6e8",
    "distilled-fp16": "#8a6fc4",
    "full": "#b8562b",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
svg text { font: 12px system-ui, sans-serif; fill: #444 }
"""


def html_report(results: Results) -> str:
    """Return the report of a benchmark."""
    tasks = dict.fromkeys(row.task for row in results.rows)
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>NetWorld benchmark</title>",
        f"<style>{STYLE}</style><h1>How fast NetWorld plans here</h1>",
        _pairs("Machine", asdict(results.machine)),
        _pairs("Bundle", results.bundle),
        _pairs("Limits of one core", asdict(results.limit)),
    ]
    if results.others:
        parts.append(_pairs("Around planning", results.others))
    if results.peers:
        parts.append(_pairs("Other planners in the same run, median in ms", results.peers))
    for task in tasks:
        rows = [row for row in results.rows if row.task == task]
        parts += [f"<h2>{escape(task)}</h2>", _picture(rows), _table(rows)]
    return "\n".join([*parts, "</html>", ""])


def _pairs(title: str, values: object) -> str:
    lines = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(_text(value))}</td></tr>"
        for name, value in dict(values).items()  # type: ignore[call-overload]
        if value != ""
    )
    return f"<h2>{escape(title)}</h2><table>{lines}</table>"


def _table(rows: Sequence[Row]) -> str:
    columns = [*COLUMNS[1:], "p999_ms", "score", "fraction"]
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(_text(getattr(row, name)))}</td>' for name in columns)}</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _picture(rows: Sequence[Row]) -> str:
    """Draw score over time where scores are known, else candidates over time, back to back."""
    shown = [row for row in rows if row.undisturbed]
    scored = [row for row in shown if row.score is not None]
    label = "score" if scored else "candidates"
    points = [
        (row, float(row.candidates if row.score is None else row.score)) for row in scored or shown
    ]
    low_ms, high_ms = _bounds(row.p50_ms for row, _ in points)
    bottom, top = min(value for _, value in points), max(value for _, value in points)
    marks = []
    for row, value in points:
        across = math.log(row.p50_ms / low_ms) / math.log(high_ms / low_ms)
        up = (value - bottom) / max(top - bottom, 1e-9)
        x, y = EDGE + across * (WIDTH - 2 * EDGE), HEIGHT - EDGE - up * (HEIGHT - 2 * EDGE)
        colour = COLOURS[row.variant or row.form]
        name = (
            f"{row.variant or row.form} K={row.k} N={row.candidates}: {row.p50_ms:g} ms, {value:g}"
        )
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"><title>{escape(name)}</title></circle>'
            f'<text x="{x + 7:.1f}" y="{y + 4:.1f}">{row.k}</text>'
        )
    ticks = "".join(_tick(decade, low_ms, high_ms) for decade in _decades(low_ms, high_ms))
    legend = "".join(
        f'<circle cx="{EDGE + 110 * index}" cy="16" r="5" fill="{colour}"/>'
        f'<text x="{EDGE + 9 + 110 * index}" y="20">{name}</text>'
        for index, (name, colour) in enumerate(COLOURS.items())
    )
    middle, below = WIDTH / 2, HEIGHT - EDGE
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label} over milliseconds">'
        f"{legend}{ticks}{''.join(marks)}"
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">'
        "median ms for an action (numbers: steps)</text>"
        f'<text x="{EDGE}" y="{EDGE - 14}">{label}</text>'
        f'<text x="{EDGE - 6}" y="{below}" text-anchor="end">{bottom:g}</text>'
        f'<text x="{EDGE - 6}" y="{EDGE}" text-anchor="end">{top:g}</text></svg>'
    )


def _bounds(times_ms: Iterable[float]) -> tuple[float, float]:
    known = list(times_ms)
    return min(known) / 1.3, max(known) * 1.3


def _decades(low_ms: float, high_ms: float) -> list[float]:
    first, last = math.ceil(math.log10(low_ms)), math.floor(math.log10(high_ms))
    return [10.0**power for power in range(first, last + 1)]


def _tick(value_ms: float, low_ms: float, high_ms: float) -> str:
    across = math.log(value_ms / low_ms) / math.log(high_ms / low_ms)
    x = EDGE + across * (WIDTH - 2 * EDGE)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{EDGE}" y2="{HEIGHT - EDGE}" stroke="#ddd"/>'
        f'<text x="{x:.1f}" y="{HEIGHT - EDGE + 18}" text-anchor="middle">{value_ms:g}</text>'
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
