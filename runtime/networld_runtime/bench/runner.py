"""Measures all rows of a bundle, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from networld_runtime.bench.cases import Case, Row, cases
from networld_runtime.bench.limits import Limits
from networld_runtime.bench.load import hostile_process
from networld_runtime.bench.machine import usable_cores
from networld_runtime.bench.timing import Timing, time_work
from networld_runtime.bundle import Bundle
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.execution import ONE_THREAD, Execution
from networld_runtime.planner import Planner
from networld_runtime.sessions import available_providers

BUDGET_S = 0.5
"""How long a row of back-to-back runs takes at most."""
PACED_RUNS, QUICK_PACED_RUNS = 150, 40
FEWEST_RUNS, MOST_RUNS = 20, 2000


@dataclass(frozen=True)
class Conditions:
    """How a case is measured.

    Attributes:
        pace_s: A plan begins so long after the one before; 0 is back to back.
        load: `idle`, or `hostile` beside a busy process on the same core.
        execution: Where graphs run.
    """

    pace_s: float
    load: str
    execution: Execution = ONE_THREAD

    def surroundings(self) -> AbstractContextManager[None]:
        """Return what goes on meanwhile."""
        return hostile_process() if self.load == "hostile" else nullcontext()


def measure(
    bundle: Bundle, limits: Limits, quick: bool, progress: Callable[[int, int, str], None]
) -> list[Row]:
    """Return a row for every case of a bundle in all conditions.

    Args:
        bundle: A checked bundle.
        limits: What one core can do at most.
        quick: A few cases, idle only.
        progress: Called with the rows done, their number and what is next.
    """
    pace_s = min(bundle.contract.slot_s, 0.02)
    conditions = [Conditions(0.0, "idle"), Conditions(pace_s, "idle")]
    if not quick:
        conditions.append(Conditions(pace_s, "hostile"))
    todo = [(case, one) for case in cases(bundle, quick) for one in conditions]
    if not quick:
        elsewhere = [Conditions(0.0, "idle", one) for one in other_executions()]
        todo += [(case, one) for case in cases(bundle, quick=True) for one in elsewhere]
    rows = []
    for number, (case, one) in enumerate(todo):
        progress(number, len(todo), f"{bundle.contract.task} {case.form} {case.variant}")
        rows.append(_row(bundle, limits, case, one, _timed(bundle, case, one, quick)))
    return rows


def other_executions() -> list[Execution]:
    """Return what graphs can be run with here beside one thread of the processor."""
    found = [Execution(provider) for provider in available_providers() if provider != "cpu"]
    if usable_cores() > 1:
        found.append(Execution(threads=2))
    return found


def _timed(bundle: Bundle, case: Case, conditions: Conditions, quick: bool) -> Timing:
    planner = Planner(replace(bundle, execution=conditions.execution), case.settings)
    situations = _situations(bundle.contract)

    def plan() -> None:
        planner.plan(*next(situations))

    if conditions.pace_s:
        count = QUICK_PACED_RUNS if quick else PACED_RUNS
    else:
        once_s = time_work(plan, FEWEST_RUNS, afterwards=planner.draw_ahead).p50_ms / 1000
        count = int(np.clip(BUDGET_S / once_s, FEWEST_RUNS, MOST_RUNS))
    with conditions.surroundings():
        return time_work(plan, count, conditions.pace_s, afterwards=planner.draw_ahead)


def _situations(contract: Contract) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield latents and mean fields without end; what is in them changes no time."""
    random = np.random.default_rng(0)
    drawn = [
        (
            random.uniform(-1, 1, contract.latent_size).astype(np.float32),
            random.uniform(-1, 1, contract.mean_field_size).astype(np.float32),
        )
        for _ in range(16)
    ]
    while True:
        yield from drawn


def _row(bundle: Bundle, limits: Limits, case: Case, conditions: Conditions, timing: Timing) -> Row:
    least_ms = limits.least_ms(case.operations(bundle), case.weight_bytes(bundle))
    return Row(
        task=bundle.contract.task,
        form=case.form,
        variant=case.variant,
        k=case.steps,
        candidates=case.settings.plans,
        provider=conditions.execution.provider,
        threads=conditions.execution.threads,
        pace_ms=1000 * conditions.pace_s,
        load=conditions.load,
        p50_ms=timing.p50_ms,
        p99_ms=timing.p99_ms,
        p999_ms=timing.p999_ms,
        score=case.score(bundle),
        fraction=round(least_ms / timing.p50_ms, 4),
    )
