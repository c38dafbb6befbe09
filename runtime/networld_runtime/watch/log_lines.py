"""The log: one JSON object a line, bounded in volume, and never a reason for the loop to wait.

A repeated message is the usual form of a flood (a dead sensor fails in every slot), so a budget is kept for
each template of a message. A line is written only if the reader has room for it: a log collector that stands
still would otherwise stop the cell.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from networld_runtime.watch.settings import LogConfig

STDOUT, STDERR = 1, 2
BURST_LINES = 5
REFILL_S = 60.0
TEMPLATES = 256
LINE_BYTES = 4096  # what a pipe that has room at all takes as a whole
FILE_BYTES = 1_000_000
TEXT_CHARACTERS = 1500
OTHERS = ("", "")


def utc_text(seconds: float | None = None) -> str:
    """Return a wall-clock time, now by default, in UTC with milliseconds, as ISO 8601 has it."""
    moment = datetime.fromtimestamp(time.time() if seconds is None else seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class RateLimit:
    """A budget of lines for each template: a burst, then one line a minute.

    Args:
        clock: Monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.suppressed = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._budgets: dict[tuple[str, str], tuple[float, float, int]] = {}

    def admit(self, record: logging.LogRecord) -> int | None:
        """Return None if the record is one too many, else how many of its kind were before it."""
        key = (record.name, str(record.msg)[:200])
        now_s = self._clock()
        with self._lock:
            if key not in self._budgets and len(self._budgets) >= TEMPLATES:
                key = OTHERS
            lines, then_s, held_back = self._budgets.get(key, (float(BURST_LINES), now_s, 0))
            lines = min(BURST_LINES, lines + (now_s - then_s) / REFILL_S)
            if lines < 1:
                self._budgets[key] = (lines, now_s, held_back + 1)
                self.suppressed += 1
                return None
            self._budgets[key] = (lines - 1, now_s, 0)
            return held_back


class JsonFormatter:
    """Makes one JSON object of a record.

    Args:
        context: Gives what every line says: site, cell, slot.
    """

    def __init__(self, context: Callable[[], Mapping[str, Any]]) -> None:
        self._context = context

    def format(self, record: logging.LogRecord, suppressed: int) -> bytes:
        """Return the line, at most `LINE_BYTES` long."""
        text, trace = _message(record), _trace(record)
        room = TEXT_CHARACTERS
        while True:
            data: dict[str, Any] = {
                "time": utc_text(record.created),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": text[:room],
                **self._context(),
            }
            if suppressed:
                data["suppressed"] = suppressed
            if trace:
                data["exception"] = trace[-room:]  # its end names the error
            line = json.dumps(data, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            if len(line) <= LINE_BYTES or room == 1:
                return line[: LINE_BYTES - 1].rstrip(b"\n") + b"\n"
            room //= 2


class TextFormatter:
    """Makes a line for people of a record, with the traceback below it."""

    def format(self, record: logging.LogRecord, suppressed: int) -> bytes:
        """Return the line or lines, at most `LINE_BYTES` long."""
        text = f"{record.levelname} {record.name}: {_message(record)[:TEXT_CHARACTERS]}"
        if suppressed:
            text += f" ({suppressed} like this were held back)"
        trace = _trace(record)
        if trace:
            text += "\n" + trace[-TEXT_CHARACTERS:]
        return text.encode("utf-8", "replace")[: LINE_BYTES - 1] + b"\n"


class DescriptorSink:
    """Writes lines to an open file descriptor, or drops them where it has no room."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, line: bytes) -> bool:
        """Return whether the line was written as a whole."""
        try:
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT:
                return False
            return os.write(self._descriptor, line) == len(line)
        except OSError:
            return False


class FileSink:
    """Appends lines to a file; one that is full becomes `NAME.1` and takes the place of the one before."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, line: bytes) -> bool:
        """Return whether the line was written as a whole."""
        try:
            if self._path.exists() and self._path.stat().st_size + len(line) > FILE_BYTES:
                self._path.replace(previous_file(self._path))
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o600)
            try:
                return os.write(descriptor, line) == len(line)
            finally:
                os.close(descriptor)
        except OSError:
            return False


def previous_file(path: Path) -> Path:
    """Return where a log file that was full is kept."""
    return path.with_name(path.name + ".1")


class LogHandler(logging.Handler):
    """Hands records that the rate limit admits to the sinks.

    Attributes:
        written: Lines that every sink took.
        dropped: Lines that a sink had no room for, or failed to write.
        context: Gives what every line says; may be set once it is known.
        limit: Counts what it held back.
    """

    def __init__(self, config: LogConfig, limit: RateLimit | None = None) -> None:
        super().__init__(config.level.upper())
        self.written = 0
        self.dropped = 0
        self.context: Callable[[], Mapping[str, Any]] = dict
        self.limit = limit or RateLimit()
        json_lines = config.format == "json"
        self._lines = JsonFormatter(self._known) if json_lines else TextFormatter()
        self._sinks: list[DescriptorSink | FileSink] = [
            DescriptorSink(STDOUT if json_lines else STDERR)
        ]
        if config.file is not None:
            self._sinks.append(FileSink(config.file))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; never raises and never waits for a reader."""
        try:
            suppressed = self.limit.admit(record)
            if suppressed is None:
                return
            line = self._lines.format(record, suppressed)
            taken = [sink.write(line) for sink in self._sinks]
        except Exception:
            taken = [False]
        if all(taken):
            self.written += 1
        else:
            self.dropped += 1

    def _known(self) -> Mapping[str, Any]:
        return self.context()

    def counters(self) -> dict[str, int]:
        """Return lines `written`, `suppressed` and `dropped`."""
        return {
            "written": self.written,
            "suppressed": self.limit.suppressed,
            "dropped": self.dropped,
        }


def set_up(config: LogConfig) -> LogHandler:
    """Send all logging of this process through one handler, in place of the one for other commands."""
    handler = LogHandler(config)
    root = logging.getLogger()
    for old in list(root.handlers):
        if type(old) in (logging.StreamHandler, LogHandler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(config.level.upper())
    logging.captureWarnings(True)
    return handler


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # a mistake in a log call must not cost its line
        return str(record.msg)


def _trace(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return logging.Formatter().formatException(record.exc_info)
