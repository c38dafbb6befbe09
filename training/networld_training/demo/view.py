"""What is seen while the demonstration runs: a live table, or a line now and then."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from networld_training.demo.scenes.scene import Scene, Seen
from networld_training.demo.simulated_radio import RadioCounters, SlotReport

LINE_EVERY_S = 5.0
# Drawing takes the processor from the cells for some milliseconds.
DRAW_EVERY_S = 0.5


class View(Protocol):
    """Shows how far the demonstration is."""

    def phase(self, name: str, total: int, unit: str) -> None:
        """Begin a phase of so many units."""

    def advance(self, done: int) -> None:
        """Show that so many units of the phase are done."""

    def slot(self, episode: str, report: SlotReport, seen: Seen, counters: RadioCounters) -> None:
        """Show a slot of an episode such as `3 of 6`; called in every slot, so it must be quick."""

    def heard(self, percent: dict[str, float]) -> None:
        """Show how many of its neighbours' messages each cell has received."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def make_view(console: Console, cells: tuple[str, ...], scene: Scene) -> View:
    """Return a live table on a terminal, lines everywhere else."""
    return LiveView(console, cells, scene) if console.is_terminal else LineView(console)


class LineView:
    """A short line at the beginning of each phase and every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._name, self._unit, self._total = "", "", 0
        self._begin_s = self._line_s = 0.0
        self._missed = 0

    def phase(self, name: str, total: int, unit: str) -> None:
        """Begin a phase of so many units."""
        self._name, self._unit, self._total = name, unit, total
        self._begin_s = self._line_s = time.monotonic()
        self.say(f"{name}: {total} {unit}")

    def advance(self, done: int) -> None:
        """Print a line if the last one was long ago."""
        now_s = time.monotonic()
        if now_s - self._line_s < LINE_EVERY_S:
            return
        self._line_s = now_s
        left = ""
        if done:
            left_s = (now_s - self._begin_s) * (self._total - done) / done
            left = f", {left_s:.0f} s left"
        missed = f", {self._missed} deadlines missed" if self._missed else ""
        self.say(f"  {done} of {self._total} {self._unit}{missed}{left}")

    def slot(self, episode: str, report: SlotReport, seen: Seen, counters: RadioCounters) -> None:
        """Remember what the next line tells."""
        del episode, report, seen
        self._missed = counters.missed.total()

    def heard(self, percent: dict[str, float]) -> None:
        """Do nothing: the table at the end tells it."""

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, highlight=False, soft_wrap=True)

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
    """A table of the cells above a bar for each phase."""

    def __init__(self, console: Console, cells: tuple[str, ...], scene: Scene) -> None:
        self._console = console
        self._cells = cells
        self._scene = scene
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar: TaskID | None = None
        self._total = 0
        self._table: Table | None = None
        self._heard: dict[str, float] = {}
        self._draw_s = 0.0
        # The radio's own thread draws, while the cells plan: another one would get in its way.
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._render)

    def phase(self, name: str, total: int, unit: str) -> None:
        """Begin a bar; the one before is shown as done."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=self._total)
        self._total = total
        self._bar = self._progress.add_task(name, total=total, unit=unit)
        self._draw(at_once=True)

    def advance(self, done: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._progress.update(self._bar, completed=done)
        self._draw(at_once=False)

    def slot(self, episode: str, report: SlotReport, seen: Seen, counters: RadioCounters) -> None:
        """Fill the table."""
        if time.monotonic() < self._draw_s + DRAW_EVERY_S:
            return
        table = Table(title=f"drop {episode}, slot {report.slot + 1}", title_justify="left")
        table.add_column("cell")
        for heading in (*self._scene.headings, "answer", "late", "heard"):
            table.add_column(heading, justify="right", min_width=10)
        columns = self._scene.columns(report.action, seen)
        for index, name in enumerate(self._cells):
            table.add_row(
                name,
                *columns[index],
                _milliseconds(float(report.answer_ms[index])),
                str(counters.missed[name]),
                f"{self._heard[name]:.1f} %" if name in self._heard else "",
            )
        self._table = table

    def heard(self, percent: dict[str, float]) -> None:
        """Fill the last column from now on."""
        self._heard = percent

    def say(self, text: str) -> None:
        """Print a line above the table."""
        self._live.console.print(text, highlight=False)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and self._bar is not None:
            self._progress.update(self._bar, completed=self._total)
        self._live.__exit__(kind, error, traceback)

    def _draw(self, at_once: bool) -> None:
        now_s = time.monotonic()
        if at_once or now_s >= self._draw_s + DRAW_EVERY_S:
            self._draw_s = now_s
            self._live.refresh()

    def _render(self) -> Group:
        return Group(self._progress) if self._table is None else Group(self._table, self._progress)


def _milliseconds(value: float) -> str:
    return "late" if math.isnan(value) else f"{value:.0f} ms"
