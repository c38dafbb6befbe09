"""The tables of a mesh: cells of a site, or the sites of a broker."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from networld_training.mesh.mesh_report import CellRow, MeshReport

STYLES = {
    "online": "green",
    "silent": "yellow",
    "lost": "red",
    "offline": "dim",
    "removed": "dim",
    "unknown": "yellow",
}


def cell_table(report: MeshReport, title: str, largest_rows: int | None = None) -> Table:
    """Return a row for each cell; where there is no room for all, those in trouble come first."""
    table = _table(title, "cell", "task", "state")
    for heading in ("age", "msg/s", "B/msg", "B/s", "gaps", "heard"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("rejects", overflow="fold")
    rows, left_out = _chosen(report.cells, largest_rows)
    for row in rows:
        table.add_row(
            row.cell,
            row.task or "?",
            Text(row.state, style=STYLES[row.state]),
            _age(row.age_s),
            f"{row.messages_per_s:.1f}",
            "" if row.bytes_per_message is None else f"{row.bytes_per_message:.1f}",
            f"{row.bytes_per_s:.0f}",
            str(row.gaps),
            _heard(row),
            counts_text({**row.rejects, **row.unreadable}),
        )
    if left_out:
        table.caption = f"and {left_out} more, a taller window shows them"
        table.caption_justify = "left"
    return table


def site_table(report: MeshReport, title: str) -> Table:
    """Return a row for each site."""
    table = _table(title, "site")
    for heading in ("cells", "online", "msg/s", "B/s", "B/s per cell", "gaps"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("rejects", overflow="fold")
    for site, one in report.of_sites().items():
        table.add_row(
            site,
            str(len(one.cells)),
            str(one.states["online"]),
            f"{one.messages_per_s:.1f}",
            f"{one.bytes_per_s:.0f}",
            f"{one.bytes_per_s / max(one.speaking, 1):.0f}",
            str(one.gaps),
            counts_text(one.rejects),
        )
    return table


def totals(report: MeshReport) -> str:
    """Return the line of sums."""
    states = ", ".join(
        f"{count} {state}" for state in STYLES if (count := report.states[state]) > 0
    )
    speaking = max(report.speaking, 1)
    line = (
        f"{len(report.cells)} cells{f' ({states})' if states else ''}, "
        f"{report.messages_per_s:.1f} messages/s, {_bytes(report.bytes_per_s)}/s, "
        f"{_bytes(report.bytes_per_s / speaking)}/s per cell, {report.gaps} gaps, "
        f"rejects: {counts_text(report.rejects) or 'none'}"
    )
    if report.other_bytes:
        line += f", other topics: {_bytes(report.other_bytes)} so far"
    if report.foreign:
        line += f"; foreign: {counts_text(report.foreign)}"
    return line if report.connected else f"{line}; NO BROKER, trying again"


def troubled(report: MeshReport) -> str:
    """Return who is not online, a few names of each state."""
    parts = []
    for state in STYLES:
        names = [row.cell for row in report.cells if row.state == state != "online"]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            parts.append(f"{state}: {', '.join(names[:5])}{more}")
    return "; ".join(parts)


def counts_text(counts: Mapping[str, int]) -> str:
    """Return counts by reason, the largest first."""
    return ", ".join(
        f"{count} {reason}"
        for reason, count in sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _chosen(rows: tuple[CellRow, ...], largest_rows: int | None) -> tuple[tuple[CellRow, ...], int]:
    if largest_rows is None or len(rows) <= largest_rows:
        return rows, 0
    worst = sorted(rows, key=lambda row: (row.state == "online", -row.gaps))
    kept = set(map(id, worst[: max(largest_rows, 1)]))
    return tuple(row for row in rows if id(row) in kept), len(rows) - len(kept)


def _age(age_s: float | None) -> str:
    if age_s is None:
        return "never"
    if age_s < 10:
        return f"{age_s:.2f} s"
    return f"{age_s:.0f} s" if age_s < 1000 else f"{age_s / 60:.0f} min"


def _heard(row: CellRow) -> str:
    heard = "?" if row.heard is None else str(row.heard)
    return heard if row.neighbours is None else f"{heard}/{len(row.neighbours)}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
