"""Times planners in torch, one thread, in the same run as the graphs of a bundle."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import torch

from networld_export.bench.others import OTHERS, Plan
from networld_export.bench.ours import distilled_plan, guided_plan
from networld_runtime.bench.timing import time_work
from networld_runtime.bundle import Bundle
from networld_runtime.contract import Contract

BUDGET_S = {False: 6.0, True: 1.0}
"""How long a planner is timed, at length or quickly."""
FEWEST_RUNS, MOST_RUNS = 3, 1000
STEPS = (1, 2)


def time_peers(bundles: list[Bundle], quick: bool) -> dict[str, float]:
    """Return the median time of a plan in milliseconds, by name."""
    contract, candidates = bundles[0].contract, bundles[0].candidates
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {}
        for name, make in _planners(contract, candidates):
            print(f"planner in torch: {name}", file=sys.stderr, flush=True)
            found[name] = _median_ms(make(), BUDGET_S[quick])
        return found
    finally:
        torch.set_num_threads(threads)


def _planners(contract: Contract, candidates: int) -> Iterator[tuple[str, Callable[[], Plan]]]:
    for steps in STEPS:
        for compiled in (False, True):
            how = "torch.compile" if compiled else "eager torch"
            name = f"NetWorld distilled, {steps} steps, {candidates} plans, {how}"
            yield name, lambda s=steps, c=compiled: distilled_plan(contract, s, candidates, c)  # type: ignore[misc]
    name = f"NetWorld full, 2 steps, {candidates} plans, eager torch"
    yield name, lambda: guided_plan(contract, 2, candidates)
    yield from OTHERS.items()


def _median_ms(plan: Plan, budget_s: float) -> float:
    once = time_work(plan, FEWEST_RUNS, warm_up=2)
    count = int(min(max(budget_s / (once.p50_ms / 1000), FEWEST_RUNS), MOST_RUNS))
    return time_work(plan, count, warm_up=min(count, 10)).p50_ms
