"""One thread that serves the sockets of any number of connections, and their timers.

Many cells may share a process. A thread for each would fight the others for the interpreter, and
paho's own loops call select(), which fails from descriptor 1024 on; this one waits with epoll where
the system has it.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import selectors
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from itertools import count

_log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 10.0
CLOSE_S = 2.0

Ready = Callable[[int], None]
"""Takes what a socket is ready for: `selectors.EVENT_READ`, `EVENT_WRITE` or both."""


class NetworkLoop:
    """A thread that calls functions when a socket is ready, a time has come, or somebody asks for it.

    What it calls must not block. An exception in it is counted and logged, and never ends the thread.

    Attributes:
        counters: `errors`: exceptions of what was called.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._selector = selectors.DefaultSelector()
        self._soon: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()  # of timers: those of one instant are called in order
        self._asleep = False
        self._closing = False
        self._released = False
        self._wake_lock = threading.Lock()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # A pipe and no pair of sockets: the broker's is then the only socket of a cell.
        self._wake_reader, self._wake_writer = os.pipe()
        for end in (self._wake_reader, self._wake_writer):
            os.set_blocking(end, False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._drain)

    def start(self) -> None:
        """Start the thread, if it does not run yet; one that was closed stays closed."""
        with self._start_lock:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="network", daemon=True)
                self._thread.start()

    def call_soon(self, function: Callable[..., None], *values: object) -> bool:
        """Have a function called on the thread, from whatever thread; return whether it will be."""
        if self._closing:
            return False
        self._soon.append(partial(function, *values))
        if self._asleep:  # it looks at the queue once more after it has said so, so none is missed
            self._asleep = False
            self._wake()
        return True

    def call_later(self, delay_s: float, function: Callable[..., None], *values: object) -> None:
        """Have a function called after a while; on the loop's thread alone."""
        call: Callable[[], None] = partial(function, *values)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), call))

    def watch(self, descriptor: int, ready: Ready, *, write: bool = False) -> None:
        """Call `ready` whenever a descriptor can be read, or written; on the loop's thread alone."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if descriptor in self._selector.get_map():
            self._selector.modify(descriptor, events, ready)
        else:
            self._selector.register(descriptor, events, ready)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor, before it is closed; on the loop's thread alone."""
        with contextlib.suppress(KeyError):
            self._selector.unregister(descriptor)

    def close(self) -> None:
        """Do what was asked for so far and end the thread; what it served must be closed before."""
        with self._start_lock:
            if self._closing:
                return
            self._closing = True
        if self._thread is None:
            self._release()
            return
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSE_S)

    def __enter__(self) -> NetworkLoop:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        last = False
        try:
            while not last:
                last = self._closing
                self._call(self._round)
        finally:
            self._release()

    def _round(self) -> None:
        ready = self._selector.select(self._sleep_s())
        self._asleep = False
        for key, events in ready:
            self._call(partial(key.data, events))
        now_s = time.monotonic()
        while self._timers and self._timers[0][0] <= now_s:
            self._call(heapq.heappop(self._timers)[2])
        for _ in range(len(self._soon)):  # what these ask for comes after the sockets' turn
            self._call(self._soon.popleft())

    def _sleep_s(self) -> float:
        """Return how long nothing is to be done, having said that the thread sleeps."""
        self._asleep = True
        if self._soon or self._closing:
            return 0
        if not self._timers:
            return LONGEST_SLEEP_S
        return min(max(self._timers[0][0] - time.monotonic(), 0), LONGEST_SLEEP_S)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except Exception:
            self.counters["errors"] += 1
            if self.counters["errors"] == 1:  # the counter tells of the others
                _log.exception("the network's thread met an error and goes on")

    def _wake(self) -> None:
        with self._wake_lock, contextlib.suppress(BlockingIOError):  # full: it is awake already
            if not self._released:  # the number may belong to another file by now
                os.write(self._wake_writer, b"\0")

    def _drain(self, events: int) -> None:
        del events
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)

    def _release(self) -> None:
        with self._wake_lock:
            self._released = True
            os.close(self._wake_reader)
            os.close(self._wake_writer)
        self._selector.close()
