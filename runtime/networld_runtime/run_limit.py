"""Ends runs of graphs that take too long, so that a slot always gets an action in time."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from networld_runtime.realtime import monotonic_s

POLL_S = 0.001


class Terminable(Protocol):
    """Options of a run, as ONNX Runtime has them: setting `terminate` ends it at the next node."""

    terminate: bool


class RunTerminatedError(Exception):
    """A run was ended, or not begun, because its time was up."""


class RunLimit:
    """Watches the runs of one thread from another one, which sleeps until a run is late.

    It is woken only where it would sleep beyond the end of a new run: after a pause, or a far deadline. Else
    the ends of runs move forward, and it looks at the run of then.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._run: tuple[Terminable, float] | None = None
        self._sleeps_until_s = -math.inf
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, options: Terminable, end_s: float) -> Iterator[None]:
        """Set `terminate` at `end_s`, on the clock of `realtime.monotonic_s`, unless the context ends before.

        Raises:
            RunTerminatedError: It was set, and the run failed.
        """
        if monotonic_s() >= end_s:
            raise RunTerminatedError("not begun: there was no time left")
        self._run = (options, end_s)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="run-limit", daemon=True)
            self._thread.start()
        elif end_s < self._sleeps_until_s:
            with self._changed:
                self._changed.notify()
        try:
            yield
        except Exception as error:
            if options.terminate:
                raise RunTerminatedError("ended: it took too long") from error
            raise
        finally:
            self._run = None

    def _look(self) -> None:
        with self._changed:
            while True:
                self._sleeps_until_s = math.inf
                run = self._run  # after it was said how long: a run that begins now wakes us
                if run is None:
                    self._changed.wait()
                    continue
                options, end_s = run
                left_s = end_s - monotonic_s()
                if left_s > 0:
                    self._sleeps_until_s = end_s
                    self._changed.wait(left_s)
                else:
                    if self._run is run:
                        options.terminate = True
                    self._changed.wait(POLL_S)  # it takes a moment until the run has ended
