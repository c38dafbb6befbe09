"""Write the figures of README.md and docs/sizing.md from docs/mesh.json.

`make bench-mesh` measures them and calls this.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
SIZING = ROOT / "docs" / "sizing.md"
MESH = ROOT / "docs" / "mesh.json"
SECTION = re.compile(r"(<!-- mesh: .*? -->\n).*?(<!-- mesh end -->)", re.DOTALL)
NEIGHBOURS = 6
USED_CORE = 0.5
"""How much of a core a broker of the arithmetic may use."""
FAR_CELLS, FAR_SLOT_S = 10_000, 0.05


def table(mesh: dict[str, Any]) -> list[str]:
    """Return what was measured as lines of Markdown."""
    heads = (
        "cells", "brokers", "slot, ms", "used in the slot after, %", "or the next, %", "age p99, slots",
        "late or skipped slots", "messages/s", "kB/s per cell", "busiest broker, % of a core",
        "all cells, % of a core",
    )  # fmt: skip
    return [_row(heads), _row("---" for _ in heads), *(_row(_cells(row)) for row in mesh["rows"])]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["cells"]), str(row["brokers"]), f"{row['slot_ms']:g}", f"{row['in_time_percent']:.2f}",
        f"{row['next_percent']:.2f}", str(row["age_p99_slots"]),
        f"{row['deadlines_missed'] + row['slots_skipped']} of {row['slots']}",
        f"{row['broker_messages']:.0f}", f"{row['wire_bytes_per_cell'] / 1000:.1f}",
        f"{row['broker_cpu_percent']:.1f}", f"{row['cells_cpu_percent']:.0f}",
    )  # fmt: skip


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def outages(mesh: dict[str, Any]) -> list[str]:
    """Return what came of the outages, a paragraph for each."""
    return [
        f"The broker of {one['cells']} cells was killed for {one['away_s']:g} s: cells acted in "
        f"{one['slots']} slots and skipped {one['slots_skipped']}. After its return the first cell spoke "
        f"again after {one['back_first_s']:.2f} s, half of them after {one['back_p50_s']:.2f} s and the "
        f"last after {one['back_last_s']:.2f} s, at most {one['most_at_once']} of them within 50 ms. From "
        f"2 s after its return on, {one['missing_later']} mean fields lacked a neighbour."
        for one in mesh["outages"]
    ]


def machine(mesh: dict[str, Any]) -> str:
    """Return where it was measured."""
    found = mesh["machine"]
    return (
        f"{found['processor']}, {found['cores']} cores; 30 s for each row, mosquitto on loopback."
    )


def readme_section(mesh: dict[str, Any]) -> str:
    """Return the section of README.md."""
    return "\n".join(["", *table(mesh), "", " ".join([machine(mesh), *outages(mesh)])])


def sizing_section(mesh: dict[str, Any]) -> str:
    """Return the section of docs/sizing.md: what was measured, and what it means for many cells."""
    rows = [_row(one) for one in (("the arithmetic", ""), ("---", "---"), *arithmetic(mesh))]
    found = "\n\n".join([machine(mesh), *outages(mesh)])
    return "\n".join(["", *table(mesh), "", found, "", *rows])


def arithmetic(mesh: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the largest case with one broker means for a network of 10,000 cells."""
    single = [row for row in mesh["rows"] if row["brokers"] == 1]
    most = max(single, key=lambda row: row["broker_messages"])
    message_us = 1e4 * most["broker_cpu_percent"] / most["broker_messages"]
    cell_ms = most["cells_cpu_percent"] * most["slot_ms"] / 100 / most["cells"]
    capacity = USED_CORE * 1e6 / message_us
    cell_rate = (1 + NEIGHBOURS) / FAR_SLOT_S
    region = int(capacity / cell_rate)
    rings = max(1, *(r for r in range(1000) if hexagon(r) <= region))
    inside, edge = hexagon(rings), 6 * rings
    brokers = math.ceil(FAR_CELLS / inside)
    carried = edge / FAR_SLOT_S
    more = 100 * 2 * carried / (inside * cell_rate)
    return [
        (
            "a broker, for each message in or out",
            f"{message_us:.1f} µs of a core ({most['broker_messages']:.0f} messages/s at "
            f"{most['broker_cpu_percent']:.1f} %)",
        ),
        ("a cell, for each slot: encode, tell, six messages, plan", f"{cell_ms:.2f} ms of a core"),
        (
            f"messages/s of a broker that uses {100 * USED_CORE:.0f} % of a core",
            f"{capacity:,.0f}",
        ),
        (f"messages/s of a cell at {1000 * FAR_SLOT_S:g} ms, in and out", f"{cell_rate:.0f}"),
        ("cells of such a broker", f"{region:,}"),
        (
            f"the largest hexagon of so many, {rings} rings",
            f"{inside:,} cells, {edge} of them on the border ({100 * edge / inside:.0f} %)",
        ),
        (
            f"{FAR_CELLS:,} cells",
            f"{brokers} brokers; bridges carry {carried:,.0f} messages/s into and out of each region, "
            f"{more:.0f} % more for its broker",
        ),
    ]


def hexagon(rings: int) -> int:
    """Return how many cells a hexagon of so many rings around one cell has."""
    return 1 + 3 * rings * (rings + 1)


def updated_readme() -> str:
    """Return README.md with its section written anew."""
    return _updated(README, readme_section(json.loads(MESH.read_text())))


def updated_sizing() -> str:
    """Return docs/sizing.md with its section written anew."""
    return _updated(SIZING, sizing_section(json.loads(MESH.read_text())))


def _updated(page: Path, section: str) -> str:
    return SECTION.sub(lambda found: f"{found[1]}{section}\n{found[2]}", page.read_text())


if __name__ == "__main__":
    README.write_text(updated_readme())
    SIZING.write_text(updated_sizing())
