"""The table that compares policies, for people."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rich.table import Table

HEADINGS = ("score", "mean log rate", "5 % user rate", "cell rate", "Jain")


def policy_table(
    title: str,
    scores: Mapping[str, float],
    kpis: Mapping[str, Mapping[str, float]],
    labels: Mapping[str, str] | None = None,
    highlighted: Collection[str] = (),
) -> Table:
    """Return the figures of merit of all policies, the best score first.

    Args:
        title: Stands above the table.
        scores: Score of each policy.
        kpis: Metrics of each policy, as `PowerTask.metrics` names them.
        labels: What to call a policy; its name if it is not there.
        highlighted: Policies that stand out.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("policy", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for name in sorted(scores, key=scores.__getitem__, reverse=True):
        rates = kpis[name]
        table.add_row(
            (labels or {}).get(name, name),
            f"{scores[name]:.1f}",
            f"{rates['mean_log_rate']:.3f}",
            f"{rates['user_rate_p5']:.3f} b/s/Hz",
            f"{rates['cell_spectral_efficiency']:.2f} b/s/Hz",
            f"{rates['jain']:.3f}",
            style="bold green" if name in highlighted else None,
        )
    return table
