"""Processes beside the one that plans: one that wants all of its core, and one that adapts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import FloatArray
from networld_runtime.realtime import yield_to_others

BUSY = "while True: pass"
ADAPTING = "from networld_runtime.bench.load import adapt_without_end as go; go({path!r}, {task!r})"
BEGUN = "begun"


def hostile_process() -> AbstractContextManager[None]:
    """Share one core with a busy process of the same priority as long as the context lasts."""
    return _beside(f"print({BEGUN!r}, flush=True)\n{BUSY}")


def adapting_process(bundle: Bundle) -> AbstractContextManager[None]:
    """Share one core with a process that takes steps of adaptation at idle priority, as an agent's does."""
    return _beside(ADAPTING.format(path=str(bundle.path), task=bundle.contract.task))


def adapt_without_end(path: str, task: str) -> None:
    """Take steps of adaptation until somebody ends this process."""
    yield_to_others()
    bundle = load_bundle(Path(path), task)
    session, feeds = bundle.session("gradient"), filled_inputs(bundle, "gradient")
    print(BEGUN, flush=True)
    while True:
        session.run(**feeds)


def filled_inputs(bundle: Bundle, graph: str) -> dict[str, FloatArray]:
    """Return inputs for a graph of static shapes; what is in them changes no time."""
    inputs, _ = bundle.signature(graph)
    return {
        name: np.full([int(size) for size in shape], 0.1, dtype=np.float32)
        for name, shape in inputs.items()
    }


@contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core as long as the context lasts; children inherit it."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def _beside(text: str) -> Iterator[None]:
    """Run a program on the core that this process is on; go on when it has begun."""
    command = [sys.executable, "-c", text]
    with one_core(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:  # noqa: S603 - ours
        try:
            assert other.stdout is not None  # noqa: S101
            other.stdout.readline()
            yield
        finally:
            other.kill()
