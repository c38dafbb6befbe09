"""Progress of long work, with an estimate of what is left: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
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
        self.start = start
        self.begin_s = self.last_line_s = time.monotonic()
        self.bar = bar
        self.task = bar.add_task(name, total=total, completed=start, note="") if bar else None

    def update(self, done: int, note: str = "") -> None:
        """Show that `done` of the total is done."""
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, note=note)
            return
        now_s = time.monotonic()
        if now_s - self.last_line_s < LINE_EVERY_S and done < self.total:
            return
        self.last_line_s = now_s
        elapsed_s = now_s - self.begin_s
        left_s = elapsed_s * (self.total - done) / max(done - self.start, 1)
        times = f"{elapsed_s:.0f} s passed, {left_s:.0f} s left"
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
