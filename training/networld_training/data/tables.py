"""The tables of a data set, for people."""

from __future__ import annotations

from rich.table import Table

from networld_training.data.inspection import Inspection

DIGITS_OF_A_DIGEST = 12


def tables(found: Inspection) -> list[Table]:
    """Return what `networld data inspect` prints: overview, behaviours, actions, features, couplings."""
    parts = (_overview, _behaviours, _merits, _actions, _features, _couplings)
    return [part(found) for part in parts]


def _overview(found: Inspection) -> Table:
    manifest = found.manifest
    table = Table(title=manifest.dataset_id, title_justify="left", show_header=False)
    networks = ", ".join(f"{name} {episodes}" for name, episodes in found.networks.items())
    for name, value in (
        ("task", f"{manifest.task}, interface {manifest.spec.digest()[:DIGITS_OF_A_DIGEST]}"),
        ("quality", manifest.quality.name),
        ("scenario", f"{manifest.scenario}, {manifest.scenario_sha256[:DIGITS_OF_A_DIGEST]}"),
        (
            "episodes",
            f"{manifest.episodes} in {len(manifest.shards)} shards, by network: {networks}",
        ),
        ("slots", ", ".join(map(str, found.slots))),
        ("cells", ", ".join(map(str, found.cells))),
        ("size", f"{found.size_bytes / 1e6:.1f} MB"),
        ("made with", f"seed {manifest.seed}, networld-training {manifest.code_version}"),
    ):
        table.add_row(name, value)
    return table


def _behaviours(found: Inspection) -> Table:
    table = Table(title="Behaviours; a return is the sum of a cell's rewards over an episode")
    table.title_justify = "left"
    table.add_column("rule", no_wrap=True)
    for heading in ("weight", "share of cells", "mean return", "less mean of its network"):
        table.add_column(heading, justify="right")
    for one in found.behaviours:
        table.add_row(
            one.rule,
            f"{one.weight:.1%}",
            f"{one.share:.1%}",
            f"{one.returns.mean():.4g}",
            f"{one.relative_returns.mean():+.3g}",
        )
    return table


def _merits(found: Inspection) -> Table:
    kpis = found.manifest.spec.kpis
    table = Table(title="Figures of merit of whole episodes, by share of their cells")
    table.title_justify = "left"
    table.add_column("rule", no_wrap=True)
    for kpi in kpis:
        table.add_column(kpi.name.replace("_", " "), justify="right")
    for one in found.behaviours:
        table.add_row(one.rule, *(f"{one.kpis[kpi.name]:.4g}" for kpi in kpis))
    return table


def _actions(found: Inspection) -> Table:
    table = Table(title="Actions", title_justify="left")
    table.add_column("component", no_wrap=True)
    for heading in ("tried", "evenness", "most frequent", "least frequent"):
        table.add_column(heading, justify="right")
    for one in found.actions:
        total = sum(one.counts)
        ranked = sorted(zip(one.counts, one.labels, strict=True))
        least, most = (f"{label} {count / total:.2%}" for count, label in (ranked[0], ranked[-1]))
        table.add_row(
            one.name, f"{one.tried} of {len(one.counts)}", f"{one.evenness:.2f}", most, least
        )
    return table


def _features(found: Inspection) -> Table:
    table = Table(title="Features; share of values below and above the range", title_justify="left")
    table.add_column("feature", no_wrap=True)
    for heading in ("range", "seen", "below", "above"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.features:
        table.add_row(
            one.name,
            f"{one.low:g} to {one.high:g}",
            f"{one.lowest:.3g} to {one.highest:.3g}",
            f"{one.below:.1%}",
            f"{one.above:.1%}",
        )
    return table


def _couplings(found: Inspection) -> Table:
    title = "Credits, and couplings to neighbours; share of values that are 0"
    table = Table(title=title, title_justify="left")
    table.add_column("entry")
    for heading in ("zero", "lowest", "mean", "highest"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in (found.credits, *found.couplings):
        figures = (f"{value:.3g}" for value in (one.lowest, one.mean, one.highest))
        table.add_row(one.name, f"{one.zero:.1%}", *figures)
    return table
