"""The demonstration from beginning to end."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from networld_runtime.bundle import Bundle
from networld_runtime.errors import ConfigError
from networld_runtime.files import write_atomically
from networld_training.demo.cells import CellError
from networld_training.demo.drops import fitting_rules, run_rules, score_drops
from networld_training.demo.live_network import open_network
from networld_training.demo.outcome import (
    ADAPTED,
    BASE,
    DemoOutcome,
    count_messages,
    heard_percent,
    plan_times_ms,
    summarise_adaptation,
)
from networld_training.demo.picture import draw
from networld_training.demo.settings import DemoSettings
from networld_training.demo.signals import ending_in_order
from networld_training.demo.tables import advice, network_table, score_table
from networld_training.demo.view import View, make_view
from networld_training.evaluation.bundle_policy import load_task_bundle

TABLE_WIDTH = 120
# Rules, start of the cells and adaptation: the slots come on top.
OTHER_WORK_S = 30


def run_demo(settings: DemoSettings) -> None:
    """Run the demonstration, show its results and write its files.

    Raises:
        BundleError: The bundle is missing, damaged or made for another task.
        DataError: On these drops the expert is no better than random, so that there is no score.
        BrokerError: The broker does not start or cannot be reached.
        CellError: A cell did not start or was lost on the way; in the latter case the others went on
            and the results are there.
        ConfigError: A result cannot be written.
    """
    bundle = load_task_bundle(settings.bundle, settings.task)
    console = Console()
    if not console.is_terminal:
        console.width = TABLE_WIDTH
    console.print(_announcement(settings), highlight=False, soft_wrap=True)
    with ending_in_order():
        with (
            _work_folder(settings.work) as folder,
            make_view(console, settings.cell_names, settings.scene) as view,
        ):
            outcome = _perform(settings, bundle, folder, view)
        console.print(score_table(outcome), network_table(outcome), sep="\n")
        hint = advice(outcome)
        if hint is not None:
            console.print(hint, highlight=False)
        _write(outcome, console)
    if outcome.lost:
        lost = [f"{name} {cause}" for name, cause in outcome.lost.items()]
        others = f"the other {outcome.live_cells} cells went on to the end"
        raise CellError("demo", [f"{one}; {others}" for one in lost])


def _announcement(settings: DemoSettings) -> str:
    drops = 2 * settings.episodes + settings.support_episodes
    about_s = drops * settings.slots * settings.slot_s + OTHER_WORK_S
    return (
        f"{settings.task}: {settings.cells} cells in {settings.network().name}, {drops} drops of "
        f"{settings.slots} slots; each slot of {settings.entry.spec.slot_s:g} s is played in "
        f"{settings.slot_ms:g} ms. All of it takes about {about_s:.0f} s"
    )


def _perform(settings: DemoSettings, bundle: Bundle, folder: Path, view: View) -> DemoOutcome:
    """Go through all phases: the rules; then before, support, adaptation, after.

    The rules come first because they tell in seconds whether there can be a score.
    """
    judged, learned_from = settings.drop_seeds()
    entry, simulated = settings.entry, settings.network()
    slots = len(fitting_rules(entry, simulated)) * simulated.slots
    view.phase("rules on the drops", slots, "slots")
    results = run_rules(entry, settings.scene, simulated, judged, view.advance)
    score_drops(entry.spec, results, settings.seed)
    with open_network(settings, bundle, folder, view) as network:
        cells = network.cells
        assert cells is not None  # noqa: S101
        network.collect(False)
        results[BASE] = network.run_drops("before adaptation", judged)
        first_reports = network.report()
        view.heard(heard_percent(first_reports, cells.neighbours))
        network.collect(True)
        network.run_drops("support, to learn from", learned_from)
        network.collect(False)
        adaptation = summarise_adaptation(*network.adapt())
        results[ADAPTED] = network.run_drops("after adaptation", judged)
        reports = network.report()
        lost = dict(cells.lost)
    p50_ms, p99_ms = plan_times_ms(reports)

    return DemoOutcome(
        settings=settings,
        mode=str(bundle.planner["mode"]),
        broker=network.meeting.name,
        results=results,
        scores=score_drops(entry.spec, results, settings.seed),
        messages=count_messages(reports, cells.neighbours),
        messages_before=count_messages(first_reports, cells.neighbours),
        plan_p50_ms=p50_ms,
        plan_p99_ms=p99_ms,
        radio=network.radio.counters,
        deadlines_missed_by_cells=sum(
            answer["counters"].get("deadlines_missed", 0) for answer in reports.values()
        ),
        slips=network.radio.clock.slips,
        adaptation=adaptation,
        lost=lost,
    )


@contextmanager
def _work_folder(work: Path | None) -> Iterator[Path]:
    if work is None:
        with tempfile.TemporaryDirectory(prefix="networld-demo-") as folder:
            yield Path(folder)
        return
    try:
        work.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--work {work}", f"cannot be made: {error.strerror}") from error
    yield work


def _write(outcome: DemoOutcome, console: Console) -> None:
    settings = outcome.settings
    try:
        draw(outcome, settings.picture)
        console.print(f"picture: {settings.picture}", highlight=False, soft_wrap=True)
        if settings.json is not None:
            text = json.dumps(outcome.to_json(), indent=2, allow_nan=False) + "\n"
            write_atomically(settings.json, text.encode())
            console.print(f"results: {settings.json}", highlight=False, soft_wrap=True)
    except OSError as error:
        raise ConfigError(
            str(error.filename or "results"), f"cannot be written: {error.strerror}"
        ) from error
