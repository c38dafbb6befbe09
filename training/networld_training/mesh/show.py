"""`networld mesh` from beginning to end."""

from __future__ import annotations

from rich.console import Console

from networld_training.commands.output import write_json
from networld_training.demo.signals import ending_in_order
from networld_training.mesh.mesh_report import MeshReport
from networld_training.mesh.replaying import replay
from networld_training.mesh.seen_mesh import ALL_SITES
from networld_training.mesh.settings import MeshSettings
from networld_training.mesh.tables import totals
from networld_training.mesh.view import table_of
from networld_training.mesh.watching import NothingHeardError, watch

TABLE_WIDTH = 120


def run_mesh(settings: MeshSettings) -> None:
    """Watch or replay, show a table at the end and write the files that are asked for.

    Raises:
        BrokerError: The broker cannot be reached or refuses us.
        ConfigError: Something that is asked for does not fit.
        DataError: The recording is damaged; what was before is shown and written.
        NothingHeardError: No cell was there.
        OSError: A file cannot be read or written.
    """
    console = Console()
    if not console.is_terminal:
        console.width = TABLE_WIDTH
    with ending_in_order():
        if settings.replay is None:
            report = watch(settings, console)
            _finish(settings, report, console, one_site=settings.site != ALL_SITES)
            if not report.cells:
                site = "" if settings.site == ALL_SITES else f" of site {settings.site}"
                raise NothingHeardError(
                    str(settings.broker), f"no cell{site} was heard in {report.seconds:.0f} s"
                )
            return
        report, history, damage = replay(settings, console, settings.picture is not None)
        _finish(settings, report, console, one_site=len(report.of_sites()) == 1)
        if history is not None and settings.picture is not None:
            from networld_training.mesh.picture import draw  # noqa: PLC0415 slow

            sites = ", ".join(list(report.of_sites())[:3]) or "no cells"
            title = f"{sites}: {len(report.cells)} cells, {report.seconds:.0f} s recorded"
            draw(history, title, settings.picture)
            console.print(f"picture: {settings.picture}", highlight=False, soft_wrap=True)
        if damage is not None:
            raise damage


def _finish(settings: MeshSettings, report: MeshReport, console: Console, one_site: bool) -> None:
    if report.cells:
        title = f"after {report.seconds:.0f} s"
        console.print(table_of(report, title, one_site))
        console.print(totals(report), highlight=False, markup=False, soft_wrap=True)
    if settings.json is not None:
        write_json(settings.json, report.to_json())
        console.print(f"summary: {settings.json}", highlight=False, soft_wrap=True)
