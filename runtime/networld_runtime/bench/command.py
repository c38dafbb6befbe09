"""`networld-agent bench`: measure, show, write."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from networld_runtime.bench.around import measure_around, measure_at_length
from networld_runtime.bench.limits import measure_limits
from networld_runtime.bench.machine import describe_machine
from networld_runtime.bench.report import html_report
from networld_runtime.bench.results import (
    Results,
    comparison_table,
    peers_table,
    read_results,
    text_table,
)
from networld_runtime.bench.runner import measure
from networld_runtime.bundle import MANIFEST, Bundle, load_bundle
from networld_runtime.errors import BundleError
from networld_runtime.files import write_atomically

TimePeers = Callable[[list[Bundle], bool], Mapping[str, float]]


def run(options: argparse.Namespace) -> int:
    """Measure and write; return 0.

    Raises:
        BundleError: The bundle cannot be planned with.
        DataError: What is to be compared with cannot be read.
    """
    run_with(options)
    return 0


def run_with(options: argparse.Namespace, time_peers: TimePeers | None = None) -> Results:
    """Measure, other planners as well, and write; return what was found.

    Args:
        options: As of `options.add_options`.
        time_peers: Times other planners, quickly or at length; None for none.

    Raises:
        BundleError: The bundle cannot be planned with.
        DataError: What is to be compared with cannot be read.
    """
    before = None if options.compare is None else read_results(options.compare)
    bundles = [load_bundle(options.bundle, task) for task in options.task or _tasks(options.bundle)]
    results = measure_all(bundles, options.quick)
    if time_peers is not None:
        results = replace(results, peers=time_peers(bundles, options.quick))
    print(text_table(results.rows))
    for name, value in results.others.items():
        print(f"{name}: {value:g}")
    if results.peers:
        print(peers_table(results))
    if before is not None:
        print(comparison_table(before, results))
    write_atomically(options.output, html_report(results).encode())
    print(f"report: {options.output}")
    if options.json is not None:
        write_atomically(options.json, results.to_json().encode())
        print(f"figures: {options.json}")
    return results


def measure_all(bundles: list[Bundle], quick: bool) -> Results:
    """Return everything that is measured of some tasks of a bundle."""
    machine = describe_machine()
    limit = measure_limits()
    others = measure_around(bundles[0])
    if not quick:
        others |= measure_at_length(bundles[0])
    rows = [row for bundle in bundles for row in measure(bundle, limit, quick, _show)]
    print(file=sys.stderr)
    first = bundles[0]
    named = {"name": first.name, "digest": first.digest, "candidates": str(first.candidates)}
    return Results(machine, named, limit, rows, others, {})


def _show(done: int, total: int, note: str) -> None:
    end = "\r" if sys.stderr.isatty() else "\n"
    if end == "\r" or done % 20 == 0:
        print(f"row {done + 1} of {total}: {note}".ljust(60), end=end, file=sys.stderr, flush=True)


def _tasks(folder: Path) -> list[str]:
    """Return the tasks of a bundle."""
    try:
        return list(json.loads((folder / MANIFEST).read_text())["tasks"])
    except OSError as error:
        raise BundleError(str(folder), f"cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(str(folder / MANIFEST), f"damaged ({error}); export again") from error
