"""Policies on episodes, one after the other or in several processes, with the same results."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

from networld_runtime.errors import NetWorldError
from networld_training.environments.rollout import run_policy
from networld_training.evaluation.policies import Contender
from networld_training.evaluation.scores import Metrics
from networld_training.tasks.network import Network
from networld_training.tasks.registry import TASKS

POLL_S = 0.2


@dataclass(frozen=True)
class Work:
    """A policy on episodes of one network; plain data, so that another process can do it.

    Attributes:
        contender: The policy.
        network: The network.
        seeds: Seeds of the episodes.
    """

    contender: Contender
    network: Network
    seeds: tuple[int, ...]

    @property
    def slot_effort(self) -> int:
        """About how long a slot of all episodes takes, in an arbitrary unit."""
        return self.contender.effort * len(self.seeds) * self.network.cells

    @property
    def effort(self) -> int:
        """About how long it takes, in the same unit."""
        return self.slot_effort * self.network.slots

    def run(self, advance: Callable[[int], None]) -> Metrics:
        """Return the task's figures of merit; `advance` is called with the effort of each slot.

        Raises:
            NetWorldError: The policy cannot be made, or it failed.
        """
        task = TASKS[self.contender.task].make(self.network, self.seeds)
        policy = self.contender.make()
        return run_policy(task, policy, lambda _, __: advance(self.slot_effort))


@dataclass(frozen=True)
class _Failure:
    """An error on its way between processes."""

    kind: type[NetWorldError]
    subject: str
    problems: list[str]


def run_all(works: Sequence[Work], jobs: int, progress: Callable[[int], None]) -> list[Metrics]:
    """Do all pieces of work and return their results in order.

    Args:
        works: What is to be done.
        jobs: Processes; 1 does everything in this one.
        progress: Called with the effort that is done.

    Raises:
        NetWorldError: A piece of work failed.
    """
    done = 0

    def advance(effort: int) -> None:
        nonlocal done
        done += effort
        progress(done)

    if jobs == 1 or len(works) == 1:
        return [work.run(advance) for work in works]
    return _run_in_processes(works, jobs, advance)


def _run_in_processes(
    works: Sequence[Work], jobs: int, advance: Callable[[int], None]
) -> list[Metrics]:
    context = multiprocessing.get_context("spawn")
    channel: SimpleQueue[int] = context.SimpleQueue()
    # The longest first, so that no process is left alone with one at the end.
    order = sorted(range(len(works)), key=lambda index: -works[index].effort)
    with ProcessPoolExecutor(min(jobs, len(works)), context, _begin, (channel,)) as pool:
        futures = {index: pool.submit(_run, works[index]) for index in order}
        try:
            _watch(list(futures.values()), channel, advance)
        except BrokenProcessPool as error:
            raise NetWorldError(
                "--jobs", "a process was lost, killed or out of memory; take fewer jobs or episodes"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise
    return [_result(futures[index]) for index in range(len(works))]


def _watch(
    futures: Sequence[Future[Metrics | _Failure]],
    channel: SimpleQueue[int],
    advance: Callable[[int], None],
) -> None:
    """Show progress until everything is done; raise the first error at once."""
    pending = set(futures)
    while pending:
        finished, pending = wait(pending, POLL_S, FIRST_EXCEPTION)
        while not channel.empty():
            advance(channel.get())
        for future in finished:
            _result(future)


def _result(future: Future[Metrics | _Failure]) -> Metrics:
    result = future.result()
    if isinstance(result, _Failure):
        raise result.kind(result.subject, result.problems)
    return result


_channel: SimpleQueue[int] | None = None


def _begin(channel: SimpleQueue[int]) -> None:
    """Prepare a process: where progress goes, and no threads beside the processes."""
    global _channel  # noqa: PLW0603 - the executor hands nothing else to a function
    _channel = channel
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _run(work: Work) -> Metrics | _Failure:
    assert _channel is not None  # noqa: S101
    try:
        return work.run(_channel.put)
    except NetWorldError as error:
        return _Failure(type(error), error.subject, error.problems)
