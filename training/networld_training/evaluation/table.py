"""The tables that compare policies, for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from networld_training.evaluation.results import Row
from networld_training.evaluation.scores import PairedComparison
from networld_training.evaluation.statistics import Estimate
from networld_training.tasks.spec import Kpi


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Attributes:
        label: What the policy is called.
        score: Its score.
        kpis: Figures of merit by name; None where one is not known.
        information: What it knows; None leaves it open.
        highlighted: Whether the line stands out.
    """

    label: str
    score: Estimate
    kpis: Mapping[str, float | None]
    information: str | None = None
    highlighted: bool = False

    @classmethod
    def of(cls, row: Row) -> Line:
        """Return the line of a row."""
        return cls(row.policy, row.score, row.kpis, row.information)


def policy_table(title: str, kpis: Sequence[Kpi], lines: Iterable[Line]) -> Table:
    """Return scores with intervals and figures of merit of all policies, the best score first.

    Args:
        title: Stands above the table.
        kpis: The task's figures of merit; the first is the one that is scored.
        lines: One for each policy; the column of what they know is there if one of them tells it.
    """
    ordered = sorted(lines, key=lambda line: -line.score.value)
    informed = any(line.information for line in ordered)
    direction = "higher" if kpis[0].higher_is_better else "lower"
    others = [heading(kpi) for kpi in kpis[1:] if kpi.unit]
    caption = "; ".join([f"scored: {heading(kpis[0])}, {direction} is better", *others])
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("policy", no_wrap=True)
    if informed:
        table.add_column("knows", no_wrap=True)
    table.add_column("score [95 % interval]", justify="right", no_wrap=True)
    for kpi in kpis:
        table.add_column(kpi.name.replace("_", "\n"), justify="right", no_wrap=True)
    for line in ordered:
        table.add_row(
            line.label,
            *([line.information or ""] if informed else []),
            with_interval(line.score),
            *(number(line.kpis[kpi.name]) for kpi in kpis),
            style="bold green" if line.highlighted else None,
        )
    return table


def paired_table(comparisons: Sequence[PairedComparison]) -> Table:
    """Return how policies compare with one of them on the same episodes, the best first."""
    table = Table(title=f"against {comparisons[0].against}", title_justify="left")
    table.add_column("policy", no_wrap=True)
    table.add_column("difference in points [95 %]", justify="right", no_wrap=True)
    table.add_column("better on an episode, in % [95 %]", justify="right", no_wrap=True)
    for one in sorted(comparisons, key=lambda one: -one.difference.value):
        share = one.improvement
        percent = Estimate(100 * share.value, 100 * share.low, 100 * share.high)
        table.add_row(one.policy, with_interval(one.difference), with_interval(percent, 0))
    return table


def show(console: Console, *tables: Table) -> None:
    """Print tables whole: a terminal that is too narrow breaks their lines, and no number is cut."""
    unbounded = console.options.update(max_width=10_000)
    least = max(Measurement.get(console, unbounded, table).maximum for table in tables)
    console.width = max(console.width, least)
    console.print(*tables, sep="\n")


def heading(kpi: Kpi) -> str:
    """Return what stands above a figure of merit, its unit included: `mean delay (s)`."""
    if not kpi.unit:
        return kpi.name.replace("_", " ")
    suffix = "_" + kpi.unit.split()[0].lower().replace("/", "_")
    return f"{kpi.name.removesuffix(suffix).replace('_', ' ')} ({kpi.unit})"


def with_interval(estimate: Estimate, digits: int = 1) -> str:
    """Return an estimate as `81.5 [76.0, 86.9]`."""
    low, high = f"{estimate.low:.{digits}f}", f"{estimate.high:.{digits}f}"
    return f"{estimate.value:.{digits}f} [{low}, {high}]"


def number(value: float | None) -> str:
    """Return a figure of merit with three to four digits."""
    if value is None:
        return "?"
    return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"
