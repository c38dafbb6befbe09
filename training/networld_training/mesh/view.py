"""What is seen while a mesh is watched: a live table, or a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from networld_training.mesh.mesh_report import MeshReport
from networld_training.mesh.tables import cell_table, site_table, totals, troubled

LINE_EVERY_S = 5.0
DRAW_EVERY_S = 0.5
FRAME_LINES = 8
"""Title, heading, caption and sums around the rows."""


class View(Protocol):
    """Shows a mesh."""

    def show(self, report: MeshReport) -> None:
        """Show how things are now; may be called more often than anything is drawn."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def make_view(console: Console, title: str, one_site: bool) -> View:
    """Return a live table on a terminal, lines everywhere else."""
    return LiveView(console, title, one_site) if console.is_terminal else LineView(console)


def table_of(
    report: MeshReport, title: str, one_site: bool, largest_rows: int | None = None
) -> Table:
    """Return the table of cells of one site, or that of sites."""
    return cell_table(report, title, largest_rows) if one_site else site_table(report, title)


class LineView:
    """A line every few seconds of what was watched."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = LINE_EVERY_S

    def show(self, report: MeshReport) -> None:
        """Print a line if the last one is long ago."""
        if report.seconds < self._next_s:
            return
        self._next_s = report.seconds + LINE_EVERY_S
        who = troubled(report)
        self.say(f"{report.seconds:.0f} s: {totals(report)}{f'; {who}' if who else ''}")

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> LineView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return


class LiveView:
    """The table and the line of sums, drawn anew at most twice a second."""

    def __init__(
        self,
        console: Console,
        title: str,
        one_site: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._title = title
        self._one_site = one_site
        self._clock = clock
        self._next_s = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, report: MeshReport) -> None:
        """Draw, if the last time is long enough ago."""
        now_s = self._clock()
        if now_s < self._next_s:
            return
        self._next_s = now_s + DRAW_EVERY_S
        rows = max(self._console.height - FRAME_LINES, 1)
        title = f"{self._title}, {report.seconds:.0f} s"
        table = table_of(report, title, self._one_site, rows)
        self._live.update(Group(table, Text(totals(report))), refresh=True)

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._live.console.print(text, highlight=False, markup=False)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, traceback)
