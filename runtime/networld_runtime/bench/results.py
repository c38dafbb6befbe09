"""What was measured, as JSON, as lines of text and read back; two boards side by side."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from networld_runtime.bench.cases import Row
from networld_runtime.bench.limits import Limits
from networld_runtime.bench.machine import Machine
from networld_runtime.errors import DataError

KEY = ("task", "form", "variant", "k", "candidates", "provider", "threads", "pace_ms", "load")
"""What a row is of; the rest is what was measured."""
COLUMNS = (*KEY, "p50_ms", "p99_ms")


@dataclass(frozen=True)
class Results:
    """Everything that a run of the benchmark found.

    Attributes:
        machine: Where.
        bundle: Name, digest and candidates of what was measured.
        limit: What one core can do at most.
        rows: Rows of the table.
        others: Other figures by name: start-up, memory, messages, adaptation.
        peers: Median times of other planners in milliseconds, by name.
    """

    machine: Machine
    bundle: Mapping[str, str]
    limit: Limits
    rows: Sequence[Row]
    others: Mapping[str, float]
    peers: Mapping[str, float]

    def to_json(self) -> str:
        """Return the results as JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Return the rows as CSV."""
        text = io.StringIO()
        table = csv.DictWriter(text, [one.name for one in fields(Row)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(row) for row in self.rows)
        return text.getvalue()


def read_results(path: Path) -> Results:
    """Read what `Results.to_json` wrote.

    Raises:
        DataError: The file is missing or holds something else.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text())
        return Results(
            machine=Machine(**data["machine"]),
            bundle=dict(data["bundle"]),
            limit=Limits(**data["limit"]),
            rows=[Row(**row) for row in data["rows"]],
            others=dict(data["others"]),
            peers=dict(data["peers"]),
        )
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            str(path), f"no results of a benchmark ({error}); `networld-agent bench` writes them"
        ) from error


def compared(first: Results, second: Results) -> list[tuple[Row, Row]]:
    """Return the rows that two results have in common, pair by pair."""
    known = {key_of(row): row for row in second.rows}
    return [(row, known[key_of(row)]) for row in first.rows if key_of(row) in known]


def key_of(row: Row) -> tuple[object, ...]:
    """Return what a row is of."""
    return tuple(getattr(row, name) for name in KEY)


def text_table(rows: Sequence[Row]) -> str:
    """Return rows as aligned lines of text."""
    return aligned([COLUMNS, *([_cell(getattr(row, name)) for name in COLUMNS] for row in rows)])


def comparison_table(first: Results, second: Results) -> str:
    """Return the medians of two boards side by side, as aligned lines of text."""
    lines: list[Sequence[str]] = [(*KEY, "first p50_ms", "second p50_ms", "ratio")]
    for one, other in compared(first, second):
        cells = [_cell(getattr(one, name)) for name in KEY]
        ratio = f"{other.p50_ms / one.p50_ms:.2f}"
        lines.append((*cells, _cell(one.p50_ms), _cell(other.p50_ms), ratio))
    return aligned(lines)


def peers_table(results: Results) -> str:
    """Return other planners beside ours: how many times as long they take as each of our whole plans.

    Ours are those of the first task with as many candidates as the bundle's own, back to back.
    """
    task, candidates = results.rows[0].task, int(results.bundle["candidates"])
    ours = [
        row
        for row in results.rows
        if (row.task, row.form, row.candidates) == (task, "fused", candidates) and row.undisturbed
    ]
    names = [f"{row.variant} K={row.k}, {row.p50_ms:g} ms" for row in ours]
    lines: list[Sequence[str]] = [("planner in torch", "p50_ms", *names)]
    for name, p50_ms in results.peers.items():
        lines.append((name, _cell(p50_ms), *(f"{p50_ms / row.p50_ms:.1f} x" for row in ours)))
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as text in columns."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
