"""Runs that take too long are ended, with the real ONNX Runtime; nothing else is touched."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from networld_runtime.bench.load import filled_inputs
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.realtime import monotonic_s
from networld_runtime.run_limit import RunLimit, RunTerminatedError
from networld_runtime.sessions import limited_runs

SHIPPED = Path(__file__).parents[2] / "bundles" / "networld"


@dataclass
class Options:
    terminate: bool = False


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(SHIPPED, "power")


def wait_for(options: Options) -> None:
    end_s = monotonic_s() + 10
    while not options.terminate and monotonic_s() < end_s:
        time.sleep(0.001)


def test_a_graph_that_takes_too_long_is_ended_and_runs_again(bundle: Bundle) -> None:
    gradient = bundle.session("gradient")
    feeds = filled_inputs(bundle, "gradient")
    begin_s = monotonic_s()
    gradient.run(**feeds)
    takes_s = monotonic_s() - begin_s
    for _ in range(5):
        with (
            limited_runs(monotonic_s() + takes_s / 10),
            pytest.raises(RunTerminatedError, match="ended"),
        ):
            gradient.run(**feeds)
        first, *_ = gradient.run(**feeds)  # without a limit, and with one that is far away
        with limited_runs(monotonic_s() + 60):
            second, *_ = gradient.run(**feeds)
        assert first == second


def test_a_run_without_time_is_not_begun(bundle: Bundle) -> None:
    policy = bundle.session("policy")
    with limited_runs(monotonic_s() - 1), pytest.raises(RunTerminatedError, match="not begun"):
        policy.run(**filled_inputs(bundle, "policy"))


def test_a_limit_is_of_one_thread(bundle: Bundle) -> None:
    policy, feeds = bundle.session("policy"), filled_inputs(bundle, "policy")
    outcomes: list[int] = []
    with limited_runs(monotonic_s() - 1):
        other = threading.Thread(target=lambda: outcomes.append(len(policy.run(**feeds))))
        other.start()
        other.join()
    assert outcomes == [1]


def test_limits_nest(bundle: Bundle) -> None:
    policy, feeds = bundle.session("policy"), filled_inputs(bundle, "policy")
    with limited_runs(monotonic_s() + 60):
        with limited_runs(monotonic_s() - 1), pytest.raises(RunTerminatedError):
            policy.run(**feeds)
        policy.run(**feeds)


def test_only_the_late_one_of_many_runs_is_ended() -> None:
    limit = RunLimit()
    for _ in range(300):
        options = Options()
        with limit.watch(options, monotonic_s() + 5):
            pass
        assert not options.terminate
    late = Options()
    with limit.watch(late, monotonic_s() + 0.02):
        wait_for(late)
    assert late.terminate
    for pause_s in (0.0, 0.05, 0.0):  # it wakes up again after a pause, too
        time.sleep(pause_s)
        again = Options()
        with limit.watch(again, monotonic_s() + 0.01):
            wait_for(again)
        assert again.terminate


def test_a_near_end_counts_after_a_far_one() -> None:
    limit = RunLimit()
    for _ in range(3):
        with limit.watch(Options(), monotonic_s() + 60):
            time.sleep(0.01)
        late = Options()
        with limit.watch(late, monotonic_s() + 0.01):
            wait_for(late)
        assert late.terminate


def test_a_failure_of_its_own_stays_what_it_is() -> None:
    with pytest.raises(ValueError, match="shape"), RunLimit().watch(Options(), monotonic_s() + 5):
        raise ValueError("shape")


def test_a_run_that_ended_by_itself_at_the_last_moment_counts() -> None:
    options, limit = Options(), RunLimit()
    with limit.watch(options, monotonic_s() + 0.005):
        wait_for(options)  # told to end, but through already: no error
    assert options.terminate
