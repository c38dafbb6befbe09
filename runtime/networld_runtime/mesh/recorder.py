"""Writes traffic to a file while it happens; whoever delivers it never waits for the disk."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from networld_runtime.errors import ConfigError
from networld_runtime.mesh.recording import RecordedMessage, RecordingEnd, RecordingHeader
from networld_runtime.realtime import monotonic_s
from networld_runtime.report import software_version

_log = logging.getLogger(__name__)

LIMIT_BYTES = 1 << 30
SMALLEST_LIMIT_BYTES = 4096
FLUSH_S = 0.25
WAITING_BYTES = 4 << 20
"""What may wait for the disk; more is dropped and counted."""
_END_BYTES = 64


class Recorder:
    """Appends messages to a new file from any thread; a thread of its own writes four times a second.

    Args:
        path: The file; there must be none yet.
        site: Name of the site that is recorded.
        limit_bytes: The file does not grow beyond this; what comes later is counted as missing.
        clock: Monotonic clock in seconds.
        wall_clock: Seconds since 1970.

    Attributes:
        counters: `messages`, `bytes` and, by reason, what is missing in the file: `too_large` (topic or
            payload), `too_fast` (for the disk), `full` (beyond the limit), `failed` (see `problem`).
        problem: Why nothing is written any more; None while all is well.

    Raises:
        ConfigError: The file is there already or cannot be made, or the limit is too small.
    """

    def __init__(
        self,
        path: Path,
        site: str,
        limit_bytes: int = LIMIT_BYTES,
        clock: Callable[[], float] = monotonic_s,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        if limit_bytes < SMALLEST_LIMIT_BYTES:
            raise ConfigError(
                "limit of a recording", f"{limit_bytes} bytes: at least {SMALLEST_LIMIT_BYTES}"
            )
        self.counters: Counter[str] = Counter()
        self.problem: str | None = None
        self._clock = clock
        self._limit_bytes = limit_bytes - _END_BYTES
        self._lock = threading.Lock()
        self._waiting = bytearray()
        self._ending = threading.Event()
        try:
            self._file = path.open("xb", buffering=0)
        except FileExistsError:
            raise ConfigError(
                str(path), "is there already; name another file or remove it"
            ) from None
        except OSError as error:
            raise ConfigError(str(path), f"cannot be written: {error.strerror}") from error
        self._began_s = clock()
        header = RecordingHeader(site, float(wall_clock()), self._began_s, software_version())
        self._append(header.pack())
        self._write()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def missing(self) -> int:
        """How many messages are not in the file."""
        reasons = ("too_large", "too_fast", "full", "failed")
        return sum(self.counters[reason] for reason in reasons)

    def record(
        self, topic: str, payload: bytes, *, retained: bool = False, published: bool = False
    ) -> None:
        """Append a message with the present time. Never raises and never waits for the disk."""
        with self._lock:
            time_s = self._clock() - self._began_s
            try:
                frame = RecordedMessage(time_s, topic, payload, retained, published).pack()
            except ValueError:
                self.counters["too_large"] += 1
                return
            if self.problem is not None:
                self.counters["failed"] += 1
            elif self.counters["full"] or self.counters["bytes"] + len(frame) > self._limit_bytes:
                self.counters["full"] += 1  # a hole in the middle would look like lost messages
            elif len(self._waiting) + len(frame) > WAITING_BYTES:
                self.counters["too_fast"] += 1
            else:
                self._append(frame)
                self.counters["messages"] += 1

    def close(self) -> None:
        """Write what waits and the end. Never raises; `problem` tells."""
        if self._ending.is_set():
            return
        self._ending.set()
        self._thread.join()
        with self._lock:
            time_s = self._clock() - self._began_s
            self._append(RecordingEnd(time_s, self.counters["messages"], self.missing).pack())
        self._write()
        self._file.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _append(self, frame: bytes) -> None:
        self._waiting += frame
        self.counters["bytes"] += len(frame)

    def _run(self) -> None:
        while not self._ending.wait(FLUSH_S):
            self._write()

    def _write(self) -> None:
        """Give the system all that waits; what it has survives the end of this process."""
        with self._lock:
            chunk, self._waiting = self._waiting, bytearray()
        try:
            written = 0
            while self.problem is None and written < len(chunk):
                written += self._file.write(memoryview(chunk)[written:]) or 0
        except OSError as error:
            self.problem = error.strerror or str(error)
            _log.warning("recording stopped: %s", self.problem)
