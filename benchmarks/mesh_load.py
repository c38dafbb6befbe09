"""How many cells one computer and one broker bear: messages in time, ages, processor time, outages.

    .venv/bin/python benchmarks/mesh_load.py --json docs/mesh.json --csv docs/mesh.csv --picture docs/mesh.png

Real cells with the shipped bundle, `networld-agent run --cells`, at mosquitto on loopback; their radios
are synthetic, so that nothing but the mesh is on the broker. Wants an idle computer.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from networld_runtime.bench.machine import describe_machine
from networld_runtime.files import write_atomically
from networld_training.demo.brokers import Meeting, start_mosquitto
from networld_training.demo.processes import Children
from networld_training.load.measures import Row, measure
from networld_training.load.outage import Outage, break_broker
from networld_training.load.site import SITE, Load, LoadSite, border, open_site
from networld_training.progress import reporting

BUNDLE = Path(__file__).parents[1] / "bundles" / "networld"
SETTLE_S = 3
TABLE_WIDTH = 150
BAR_PERCENT = 99.9
CASES = ((7, 20), (7, 50), (19, 20), (19, 50), (61, 50), (61, 100), (127, 100), (127, 200))
QUICK = ((7, 50), (19, 50))
OUTAGE = (61, 50)
BRIDGED = (61, 50)


@dataclass(frozen=True)
class Benchmark:
    """All that was measured."""

    rows: list[Row]
    outages: list[Outage]
    machine: dict[str, Any]


def main() -> int:
    """Run; return 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="for each case")
    parser.add_argument("--away-s", type=float, default=10.0, help="how long the broker is gone")
    parser.add_argument("--quick", action="store_true", help="two small cases and a short outage")
    parser.add_argument("--json", type=Path, help="where the figures go")
    parser.add_argument("--csv", type=Path, help="the same as a table")
    parser.add_argument("--picture", type=Path, help="where the picture goes, a PNG")
    options = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = TABLE_WIDTH
    benchmark = run(options)
    console.print(_table(benchmark), _outages(benchmark), sep="\n")
    if options.json is not None:
        text = json.dumps(asdict(benchmark), indent=1) + "\n"
        write_atomically(options.json, text.encode())
    if options.csv is not None:
        write_atomically(options.csv, _csv(benchmark).encode())
    if options.picture is not None:
        draw(benchmark, options.picture)
    return 0


def run(options: argparse.Namespace) -> Benchmark:
    """Measure all cases."""
    cases = QUICK if options.quick else CASES
    outage = (7, 50) if options.quick else OUTAGE
    rows, outages = [], []
    for cells, slot_ms in cases:
        with one_broker(Load(BUNDLE, cells, slot_ms / 1000)) as (site, children, folder):
            rows.append(_measure(site, options.seconds))
            if (cells, slot_ms) == outage:
                outages.append(break_broker(site, options.away_s, children, folder, _say))
    if not options.quick:
        with two_brokers(Load(BUNDLE, BRIDGED[0], BRIDGED[1] / 1000)) as site:
            rows.append(_measure(site, options.seconds))
    return Benchmark(rows, outages, asdict(describe_machine()))


@contextmanager
def one_broker(load: Load) -> Iterator[tuple[LoadSite, Children, Path]]:
    """Start a site at one broker."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        children = stack.enter_context(Children(polite=False))
        meeting = start_mosquitto(children, folder)
        yield stack.enter_context(open_site(load, [meeting], folder)), children, folder


@contextmanager
def two_brokers(load: Load) -> Iterator[LoadSite]:
    """Start a site whose halves have a broker each; a bridge carries the messages of the border."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        children = stack.enter_context(Children(polite=False))
        folders = [folder / "first", folder / "second"]
        for one in folders:
            one.mkdir()
        first = start_mosquitto(children, folders[0])
        second = start_mosquitto(children, folders[1], more=bridge(load, first))
        yield stack.enter_context(open_site(load, [first, second], folder))


def bridge(load: Load, other: Meeting) -> str:
    """Return the lines of a broker's configuration that connect it to the one of the other half."""
    theirs, ours = border(load, 2)
    return "".join(
        [
            f"connection other\naddress {other.host}:{other.port}\ncleansession true\n",
            "bridge_protocol_version mqttv311\nnotifications false\n",
            *(f"topic networld/v1/{SITE}/{name}/message in 0\n" for name in sorted(theirs)),
            *(f"topic networld/v1/{SITE}/{name}/message out 0\n" for name in sorted(ours)),
        ]
    )


def _measure(site: LoadSite, seconds: float) -> Row:
    load, brokers = site.load, len(site.meetings)
    title = f"{load.cells} cells, {1000 * load.slot_s:g} ms, {brokers} broker{'s' * (brokers > 1)}"
    measure(site, SETTLE_S, lambda _: None)
    with reporting(title, int(seconds)) as progress:
        return measure(site, seconds, progress.update)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _table(benchmark: Benchmark) -> Table:
    table = Table(title="A mesh on one computer, mosquitto on loopback")
    for name in (
        "cells", "brokers", "slot, ms", "in time, %", "or next, %", "age p99, slots", "late or skipped slots",
        "payload, bytes", "kB/s per cell", "messages/s", "broker, % of a core", "cells, % of a core",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for row in benchmark.rows:
        table.add_row(
            str(row.cells), str(row.brokers), f"{row.slot_ms:g}",
            f"{row.in_time_percent:.2f}", f"{row.next_percent:.2f}", str(row.age_p99_slots),
            f"{row.deadlines_missed + row.slots_skipped} of {row.slots}",
            f"{row.payload_bytes:.1f}", f"{row.wire_bytes_per_cell / 1000:.1f}",
            f"{row.broker_messages:.0f}", f"{row.broker_cpu_percent:.1f}",
            f"{row.cells_cpu_percent:.0f}",
        )  # fmt: skip
    return table


def _outages(benchmark: Benchmark) -> Table:
    table = Table(title="The broker is killed and comes back")
    for name in (
        "cells", "away, s", "slots acted in", "skipped", "first back, s", "median, s", "last, s",
        "most at once", "incomplete mean fields after 2 s",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for one in benchmark.outages:
        table.add_row(
            str(one.cells), f"{one.away_s:g}", str(one.slots), str(one.slots_skipped),
            f"{one.back_first_s:.2f}", f"{one.back_p50_s:.2f}", f"{one.back_last_s:.2f}",
            str(one.most_at_once), str(one.missing_later),
        )  # fmt: skip
    return table


def _csv(benchmark: Benchmark) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(benchmark.rows[0])), lineterminator="\n")
    writer.writeheader()
    for row in benchmark.rows:
        writer.writerow(
            {
                name: round(value, 3) if isinstance(value, float) else value
                for name, value in asdict(row).items()
            }
        )
    return text.getvalue()


def draw(benchmark: Benchmark, path: Path) -> None:
    """Draw for every case how many messages came in time, and who used how much of the processor."""
    rows = benchmark.rows
    names = [
        f"{row.cells} cells, {row.slot_ms:g} ms" + (", two brokers" if row.brokers > 1 else "")
        for row in rows
    ]
    places = range(len(rows))
    figure = Figure(figsize=(9, 0.6 + 0.36 * len(rows)), layout="constrained")
    in_time, used = figure.subplots(1, 2, sharey=True)
    in_time.barh(places, [row.in_time_percent for row in rows], color="tab:blue")
    for place, row in zip(places, rows, strict=True):
        in_time.text(95.05, place, f"{row.in_time_percent:.2f}", va="center", color="white")
    in_time.axvline(BAR_PERCENT, color="black", linewidth=0.8, linestyle="--")
    in_time.set(
        title="Used in the slot after they were sent", xlabel="% of messages", xlim=(95, 100.2)
    )
    in_time.set_yticks(places, names)
    in_time.invert_yaxis()
    cells = [row.cells_cpu_percent for row in rows]
    used.barh(places, cells, color="tab:orange", label="all cells, planning too")
    brokers = [row.broker_cpu_percent for row in rows]
    used.barh(places, brokers, height=0.4, color="tab:green", label="busiest broker")
    used.set(title="Processor time", xlabel="% of a core")
    used.legend(frameon=False)
    for axes in (in_time, used):
        axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
