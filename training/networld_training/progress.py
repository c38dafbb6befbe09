"""Progress of long work, with an estimate of what is left: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 15.0
RECENT_LINES = 8
"""Lines whose pace an estimate goes by: what is slow later must not look as fast as what came first."""


class Reporter:
    """Takes progress and shows it on standard error.

    Args:
        name: What is being done.
        total: How much there is to do.
        start: How much was done before, in an earlier run.
        bar: The bar to move, or None to print lines.
    """

    def __init__(self, name: str, total: int, start: int, bar: Progress | None) -> None:
        self.name = name
        self.total = total
        self.begin_s = time.monotonic()
        self.lines = deque([(self.begin_s, start)], maxlen=RECENT_LINES + 1)
        self.bar = bar
        self.task = bar.add_task(name, total=total, completed=start, note="") if bar else None

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` of the total is done."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, note=note)
            return
        now_s = time.monotonic()
        if now_s - self.lines[-1][0] < LINE_EVERY_S and done < self.total:
            return
        then_s, before = self.lines[0]
        left_s = (now_s - then_s) * (self.total - done) / max(done - before, 1)
        self.lines.append((now_s, done))
        times = f"{now_s - self.begin_s:.0f} s passed, {left_s:.0f} s left"
        print(f"{self.name} {done}/{self.total}, {times} {note}".rstrip(), file=sys.stderr)


@contextmanager
def reporting(name: str, total: int, start: int = 0) -> Iterator[Reporter]:
    """Show progress while the block runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Reporter(name, total, start, None)
        return
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    ) as bar:
        yield Reporter(name, total, start, bar)
