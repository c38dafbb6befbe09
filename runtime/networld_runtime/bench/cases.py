"""What is measured: ways to choose an action, and what stands in a row of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from networld_runtime.bundle import FUSED_STEPS, HALF_GRAPHS, Bundle
from networld_runtime.planner_settings import PlannerSettings

FULL_STEPS = (1, 2, 4, 10, 50)
DISTILLED_STEPS = (1, 2, 4)
CANDIDATES = (1, 4, 8, 16, 32)
LOADS = ("idle", "hostile")


@dataclass(frozen=True)
class Case:
    """A way to choose an action.

    Attributes:
        form: `policy`, `fused` or `stepwise`: one pass, a plan in one graph, a graph run for each step.
        variant: Which denoiser plans, as in `PlannerSettings`; empty for the policy.
        settings: What the planner is asked for.
    """

    form: str
    variant: str
    settings: PlannerSettings

    @property
    def steps(self) -> int:
        """Denoising steps; 0 for the policy."""
        return 0 if self.form == "policy" else self.settings.steps

    def operations(self, bundle: Bundle) -> int:
        """Return multiplications and additions of the matrix products of one decision."""
        return sum(
            times * bundle.work[graph].operations(plans) for graph, times, plans in self._runs
        )

    def weight_bytes(self, bundle: Bundle) -> int:
        """Return the bytes of the weights that one decision reads."""
        return sum(times * bundle.work[graph].weight_bytes for graph, times, _ in self._runs)

    def score(self, bundle: Bundle) -> float | None:
        """Return what the bundle says of this way; None where nobody judged it."""
        asked = self.settings
        known = {
            (one.mode, one.denoiser, one.steps, one.candidates): one.value for one in bundle.scores
        }
        if self.form == "policy":
            return next((one.value for one in bundle.scores if one.mode == "policy"), None)
        return known.get((asked.mode, asked.denoiser, asked.steps, asked.candidates))

    @property
    def _runs(self) -> list[tuple[str, int, int]]:
        """Return the graphs that run in a decision, how often, and for how many plans."""
        asked = self.settings
        if self.form == "policy":
            return [("policy", 1, 0)]
        if self.form == "fused":
            return [(f"plan_{asked.steps}{asked.precision}", 1, asked.plans)]
        if asked.needs_full:
            return [("denoiser", asked.steps, 0), ("head", 1, asked.plans)]
        return [(f"distilled{asked.precision}", asked.steps, asked.plans), ("head", 1, asked.plans)]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        task: Name of the task.
        form: As in `Case`.
        variant: As in `Case`.
        k: Denoising steps; 0 for the policy.
        candidates: Plans that one is chosen from; 0 for the policy.
        provider: Where graphs run, `cpu`, `cuda` or `tensorrt`.
        threads: Threads of a graph on the processor.
        pace_ms: A plan begins so long after the one before; 0 is back to back.
        load: One of `LOADS`: alone on its core, or beside a busy process.
        p50_ms: Median of the time from latent and mean field to action; the noise is drawn before.
        p99_ms: 99th percentile.
        p999_ms: 99.9th percentile.
        score: Score of this way in the task's reference scenario; None where nobody measured it.
        fraction: The least time that one core could take, by its limits, as a share of the median.
    """

    task: str
    form: str
    variant: str
    k: int
    candidates: int
    provider: str
    threads: int
    pace_ms: float
    load: str
    p50_ms: float
    p99_ms: float
    p999_ms: float
    score: float | None
    fraction: float

    @property
    def undisturbed(self) -> bool:
        """Whether it is back to back, alone, on one thread of the processor: pictures show those."""
        return (self.pace_ms, self.load, self.provider, self.threads) == (0, "idle", "cpu", 1)


def cases(bundle: Bundle, quick: bool) -> list[Case]:
    """Return what is measured of a bundle; a few of it where it must be quick."""
    return list(_quick(bundle) if quick else _all(bundle))


def _quick(bundle: Bundle) -> Iterator[Case]:
    yield _policy()
    yield from _full(bundle, (1, 2))
    yield from _distilled(bundle, (1, 2), (bundle.candidates,))


def _all(bundle: Bundle) -> Iterator[Case]:
    yield _policy()
    yield from _full(bundle, FULL_STEPS)
    yield from _distilled(bundle, DISTILLED_STEPS, CANDIDATES)


def _policy() -> Case:
    return Case("policy", "", PlannerSettings(mode="policy"))


def _full(bundle: Bundle, steps: Iterable[int]) -> Iterator[Case]:
    for count in steps:
        settings = PlannerSettings(steps=count, candidates=bundle.candidates)
        yield Case("stepwise", "full", settings)


def _distilled(bundle: Bundle, steps: Iterable[int], candidates: Iterable[int]) -> Iterator[Case]:
    if not bundle.has_distilled:
        return
    denoisers = ["distilled", "distilled-int8"]
    if set(HALF_GRAPHS) <= bundle.graphs.keys():
        denoisers.append("distilled-fp16")
    for denoiser, count, plans in product(denoisers, steps, candidates):
        settings = PlannerSettings(denoiser=denoiser, steps=count, candidates=plans)
        form = "fused" if count in FUSED_STEPS else "stepwise"
        yield Case(form, denoiser, settings)
