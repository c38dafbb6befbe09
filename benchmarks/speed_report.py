"""The simulator's speed as a table, as JSON, as CSV and as a picture."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from networld_runtime.files import write_atomically

NAME = "simulator-speed"
COLOURS = ("#0b7a75", "#d97706", "#52606d", "#7c3aed")
PEER_COLOUR = "#9aa5b1"


@dataclass(frozen=True)
class Speed:
    """How fast a simulator is at one size.

    Attributes:
        simulator: A task, or the peer with its kind of actions.
        peer: Whether it is the peer.
        cells: Number of cells or stations.
        users: Number of users.
        environments: Environments stepped at once, over all processes.
        processes: Number of processes.
        steps_per_s: Environment steps per second, resets included; median of the rounds.
        steps_per_s_q1: Their first quartile.
        steps_per_s_q3: Their third quartile.
        memory_mib: Growth of the peak resident memory through the simulator, over all processes.
        ratio: Steps per second over those of the fastest peer on as many processes; None without one.
    """

    simulator: str
    peer: bool
    cells: int
    users: int
    environments: int
    processes: int
    steps_per_s: float
    steps_per_s_q1: float
    steps_per_s_q3: float
    memory_mib: float
    ratio: float | None = None

    def over(self, peer_steps_per_s: float) -> Speed:
        """Return this speed with its ratio to a peer's."""
        return replace(self, ratio=self.steps_per_s / peer_steps_per_s)


SPEEDS = pytest.StashKey[list[Speed]]()


def table(speeds: Sequence[Speed]) -> Table:
    """Return all speeds as a table for the terminal."""
    shown = Table(title="Environment steps per second, resets included: median and quartiles")
    shown.add_column("simulator")
    headings = (
        "cells",
        "users",
        "environments",
        "processes",
        "steps/s",
        "quartiles",
        "x peer",
        "memory, MiB",
    )
    for heading in headings:
        shown.add_column(heading, justify="right")
    last = ""
    for speed in speeds:
        if speed.simulator != last:
            shown.add_section()
        last = speed.simulator
        shown.add_row(
            speed.simulator,
            str(speed.cells),
            str(speed.users),
            str(speed.environments),
            str(speed.processes),
            f"{speed.steps_per_s:,.0f}",
            f"{speed.steps_per_s_q1:,.0f} - {speed.steps_per_s_q3:,.0f}",
            "" if speed.ratio is None else f"{speed.ratio:,.0f}",
            f"{speed.memory_mib:.1f}",
        )
    return shown


def best_ratios(speeds: Sequence[Speed]) -> list[str]:
    """Return a line for each task and number of processes: its best ratio to the peer."""
    best: dict[tuple[str, int], Speed] = {}
    for speed in speeds:
        key = (speed.simulator, speed.processes)
        if speed.ratio is not None and (key not in best or speed.ratio > (best[key].ratio or 0)):
            best[key] = speed
    return [
        f"{speed.simulator}: {speed.ratio:.0f} times mobile-env with {speed.environments} "
        f"environments, both in {speed.processes} process{'es' * (speed.processes > 1)}"
        for speed in best.values()
    ]


def write_report(speeds: Sequence[Speed], rounds: int, load: float, folder: Path) -> None:
    """Write `simulator-speed` as JSON, CSV and PNG.

    Args:
        speeds: What was measured.
        rounds: Number of rounds.
        load: The machine's load average before: others' processes slow all contenders down.
        folder: Where to; it is made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(speed) for speed in speeds]
    document = {
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "versions": _versions(),
        "load_before": load,
        "rounds": rounds,
        "speeds": rows,
    }
    write_atomically(folder / f"{NAME}.json", (json.dumps(document, indent=1) + "\n").encode())
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / f"{NAME}.csv", text.getvalue().encode())
    write_atomically(folder / f"{NAME}.png", _picture(speeds))


def _versions() -> dict[str, str]:
    packages = ["numpy", "networld-training"]
    if find_spec("mobile_env"):
        packages.append("mobile-env")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _picture(speeds: Sequence[Speed]) -> bytes:
    """Return how the speed grows with the environments and falls with the cells, as PNG."""
    figure = Figure(figsize=(10, 4.2), dpi=160, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: nothing global is touched
    left, right = figure.subplots(1, 2, sharey=True)
    alone = [speed for speed in speeds if speed.processes == 1]
    ours = [speed for speed in alone if not speed.peer]
    peers = [speed for speed in alone if speed.peer]
    smallest = min(speed.cells for speed in ours)
    batch = max(s.environments for s in ours if s.cells > smallest)
    names = dict.fromkeys(speed.simulator for speed in ours)
    for name, colour in zip(names, cycle(COLOURS), strict=False):
        mine = [speed for speed in ours if speed.simulator == name]
        batches = [s for s in mine if s.cells == smallest]
        _curve(left, [s.environments for s in batches], batches, name, colour)
        networks = [s for s in mine if s.environments == batch]
        _curve(right, [s.cells for s in networks], networks, name, colour)
    for style, peer in zip(cycle(("--", ":")), peers, strict=False):
        left.axhline(peer.steps_per_s, color=PEER_COLOUR, linestyle=style, label=peer.simulator)
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.grid(color="#e4e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("environment steps per second")
    left.set_xlabel(f"environments in one batch, {smallest} cells")
    left.legend(frameon=False)
    right.set_xlabel(f"cells, {batch} environments in one batch")
    for axes, values in (
        (left, sorted({speed.environments for speed in ours})),
        (right, sorted({speed.cells for speed in ours})),
    ):
        axes.set_xticks(values, [str(value) for value in values])
    figure.suptitle("Simulator speed, one process", x=0.01, ha="left", fontweight="bold")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _curve(axes: Axes, x: list[int], speeds: Sequence[Speed], name: str, colour: str) -> None:
    middle = np.array([speed.steps_per_s for speed in speeds])
    low = np.array([speed.steps_per_s_q1 for speed in speeds])
    high = np.array([speed.steps_per_s_q3 for speed in speeds])
    bars = [middle - low, high - middle]
    axes.errorbar(x, middle, yerr=bars, color=colour, label=name, marker="o", capsize=3)
