"""The benchmark: what is measured, what its rows say, and files that another board can be compared with."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from networld_runtime.bench import around, runner
from networld_runtime.bench.around import measure_around
from networld_runtime.bench.cases import Row, cases
from networld_runtime.bench.limits import Limits, measure_limits
from networld_runtime.bench.load import adapting_process, hostile_process
from networld_runtime.bench.machine import describe_machine
from networld_runtime.bench.report import COLOURS, html_report
from networld_runtime.bench.results import Results, compared, comparison_table, read_results
from networld_runtime.bench.runner import measure
from networld_runtime.bench.timing import WARM_UP, time_work
from networld_runtime.bundle import DISTILLED_GRAPHS, GRAPHS, Score, Work, load_bundle
from networld_runtime.cli import main
from networld_runtime.errors import DataError
from networld_runtime.planner import Planner

SHIPPED = Path(__file__).parents[3] / "bundles" / "networld"
FILES = dict.fromkeys(DISTILLED_GRAPHS, Path())
LIMITS = Limits(1e11, 1e10, 4e10)
WORK = {graph: Work(1000, 100, 4000) for graph in (*GRAPHS, *DISTILLED_GRAPHS)}


def a_row(**changes: Any) -> Row:
    row = Row("power", "fused", "distilled", 2, 8, "cpu", 1, 0.0, "idle", 0.4, 0.5, 0.9, None, 0.5)
    return replace(row, **changes)


def some_results(*rows: Row) -> Results:
    bundle = {"name": "<b>", "digest": "ab", "candidates": "8"}
    return Results(describe_machine(), bundle, LIMITS, rows, {"start_s": 0.5}, {})


def test_every_run_counts_but_the_first_few() -> None:
    asked: list[int] = []
    timing = time_work(lambda: asked.append(0), 50)
    assert (timing.count, len(asked)) == (50, 50 + WARM_UP)
    assert 0 <= timing.p50_ms <= timing.p99_ms <= timing.p999_ms


def test_paced_runs_begin_a_slot_apart() -> None:
    begun: list[float] = []
    before = time.perf_counter()
    time_work(lambda: begun.append(time.perf_counter()), 6, pace_s=0.01)
    assert begun[-1] - before >= 6 * 0.01


def test_what_is_done_afterwards_takes_no_time_of_a_run() -> None:
    order: list[str] = []

    def afterwards() -> None:
        order.append("after")
        time.sleep(0.005)

    timing = time_work(lambda: order.append("run"), 5, warm_up=1, afterwards=afterwards)
    assert order == ["run", "after"] * 6
    assert timing.p50_ms < 4


def test_what_takes_long_shows() -> None:
    slow = time_work(lambda: time.sleep(0.002), 5)
    assert slow.p50_ms >= 2


def test_cases_are_of_both_denoisers_and_the_policy(toy: Any) -> None:
    found = cases(replace(toy, graphs=FILES), quick=False)
    assert [case.form for case in found].count("policy") == 1
    full = [case for case in found if case.variant == "full"]
    assert [case.steps for case in full] == [1, 2, 4, 10, 50]
    assert {case.settings.candidates for case in full} == {toy.candidates}
    distilled = [case for case in found if case.variant == "distilled"]
    assert {case.form for case in distilled} == {"fused"}
    quantised = [case for case in found if case.variant == "distilled-int8"]
    assert [case.steps for case in quantised] == [case.steps for case in distilled]
    assert len({(case.steps, case.settings.candidates) for case in distilled}) == len(distilled)
    assert len(cases(toy, quick=False)) == 1 + len(full)
    assert len(cases(replace(toy, graphs=FILES), quick=True)) < len(found) / 2


def test_rows_say_what_was_run(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = replace(toy, graphs=FILES, work=WORK)
    monkeypatch.setattr(runner, "BUDGET_S", 0.001)
    monkeypatch.setattr(runner, "QUICK_PACED_RUNS", 3)
    planned: list[Any] = []
    plan = Planner.plan

    def counting(self: Planner, *given: Any) -> Any:
        planned.append(self.settings)
        return plan(self, *given)

    monkeypatch.setattr(Planner, "plan", counting)
    told: list[int] = []
    rows = measure(bundle, LIMITS, True, lambda *progress: told.append(progress[0]))
    wanted = cases(bundle, quick=True)
    assert {(row.form, row.variant, row.k, row.candidates) for row in rows} == {
        (case.form, case.variant, case.steps, case.settings.plans) for case in wanted
    }
    assert list(dict.fromkeys(planned)) == [case.settings for case in wanted]
    assert told == list(range(len(rows)))
    assert {row.pace_ms for row in rows} == {0.0, 1000 * min(toy.contract.slot_s, 0.02)}


def test_a_row_knows_its_work_and_its_score(toy: Any) -> None:
    work = {**WORK, "head": Work(10, 1, 40), "denoiser": Work(5000, 0, 8000)}
    known = Score("guidance-select", "distilled-int8", 2, 8, 97.0, 95.0, 99.0)
    policy = Score("policy", "full", 2, 8, 101.0, 99.0, 103.0)
    bundle = replace(toy, graphs=FILES, work=work, scores=(known, policy))
    found = {
        (case.variant, case.steps, case.settings.plans): case for case in cases(bundle, quick=False)
    }
    fused = found["distilled-int8", 2, 8]
    assert (fused.operations(bundle), fused.weight_bytes(bundle)) == (1000 + 8 * 100, 4000)
    full = found["full", 4, bundle.candidates]
    assert full.operations(bundle) == 4 * 5000 + 10 + bundle.candidates
    assert full.weight_bytes(bundle) == 4 * 8000 + 40
    one_pass = found["", 0, 0]
    assert one_pass.operations(bundle) == 1000
    scores = [case.score(bundle) for case in (fused, full, one_pass)]
    assert scores == [97.0, None, 101.0]


def test_the_least_time_is_that_of_the_scarcer_resource() -> None:
    assert LIMITS.least_ms(1e8, 4) == pytest.approx(1.0)
    assert LIMITS.least_ms(1, 4e7) == pytest.approx(1.0)


def test_a_hostile_process_shares_one_core_and_goes_away() -> None:
    allowed = os.sched_getaffinity(0)
    with hostile_process():
        assert os.sched_getaffinity(0) == {min(allowed)}
        alone = time_work(lambda: sum(range(200_000)), 30)
    assert os.sched_getaffinity(0) == allowed
    assert alone.p999_ms > 0


def test_an_adapting_process_yields_and_goes_away() -> None:
    bundle = load_bundle(SHIPPED, "sched")
    allowed = os.sched_getaffinity(0)
    with adapting_process(bundle):
        (child,) = children_of(os.getpid())
        assert os.sched_getscheduler(child) == os.SCHED_IDLE
        assert os.sched_getaffinity(child) == {min(allowed)}
    assert children_of(os.getpid()) == []
    assert os.sched_getaffinity(0) == allowed


def test_planning_is_measured_beside_an_adaptation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(around, "PACED_RUNS", 20)
    monkeypatch.setattr(around, "MANY_PLANS", 2000)
    found = around.measure_at_length(load_bundle(SHIPPED, "sched"))
    assert 0 < found["paced_plan_p99_ms"] < 1000
    assert 0 < found["paced_plan_beside_adaptation_p99_ms"] < 1000
    assert abs(found["memory_growth_of_100000_plans_mb"]) < 20


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = some_results(a_row(), a_row(k=1, score=99.0))
    path = tmp_path / "bench.json"
    path.write_text(results.to_json())
    read = read_results(path)
    assert (read.machine, list(read.rows)) == (results.machine, list(results.rows))
    assert read.to_json() == results.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}}'])
def test_a_wrong_file_is_a_clear_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(DataError, match="no results of a benchmark"):
        read_results(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_results(tmp_path / "none.json")


def test_boards_are_compared_row_by_row() -> None:
    first = some_results(a_row(), a_row(k=1, p50_ms=0.2), a_row(k=4))
    second = some_results(a_row(k=1, p50_ms=0.5), a_row(p50_ms=0.8))
    pairs = compared(first, second)
    assert [(one.k, one.p50_ms, other.p50_ms) for one, other in pairs] == [
        (2, 0.4, 0.8),
        (1, 0.2, 0.5),
    ]
    lines = comparison_table(first, second).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[-3:] == ["0.4", "0.8", "2.00"]


def test_the_report_shows_every_row_and_needs_no_other_file() -> None:
    report = html_report(some_results(a_row(p50_ms=0.123), a_row(k=1, p50_ms=4.56, score=97.0)))
    assert "0.123" in report
    assert "4.56" in report
    assert "&lt;b&gt;" in report  # names are shown, not interpreted
    assert report.count("<circle") == len(COLOURS) + 1  # a legend, and what has a score
    assert not [word for word in ("http:", "https:", "src=", "<link") if word in report]


def test_limits_are_those_of_one_core() -> None:
    limits = measure_limits()
    assert limits.flop_rate > 1e8
    assert limits.bandwidth > 1e8
    assert limits.cache_bandwidth > 1e8


def test_the_command_measures_the_shipped_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "BUDGET_S", 0.01)
    monkeypatch.setattr(runner, "QUICK_PACED_RUNS", 2)
    figures, report = tmp_path / "bench.json", tmp_path / "bench.html"
    command = ["bench", "--bundle", str(SHIPPED), "--task", "power", "--quick"]
    command += ["--output", str(report), "--json", str(figures)]
    assert main(command) == 0
    found = json.loads(figures.read_text())
    assert found.keys() == {"machine", "bundle", "limit", "rows", "others", "peers"}
    assert {row["form"] for row in found["rows"]} == {"policy", "fused", "stepwise"}
    assert found["others"]["start_s"] > 0
    assert found["others"]["memory_mb"] > 10
    assert report.read_text().startswith("<!doctype html>")
    assert main([*command, "--compare", str(figures)]) == 0
    assert "second p50_ms" in capsys.readouterr().out


def test_a_mistake_ends_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "--bundle", str(tmp_path)]
    assert main(command) == 4
    assert "cannot be read" in capsys.readouterr().err
    assert main([*command, "--compare", str(tmp_path / "none.json")]) == 6


def test_memory_is_that_of_the_process_alone() -> None:
    """A process that is started by a large one does not count what that one had."""
    ballast = bytearray(300 << 20)
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])
    found = measure_around(load_bundle(SHIPPED, "power"))
    assert 20 < found["memory_mb"] < 200
    del ballast
