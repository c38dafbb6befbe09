"""The log: lines that machines read, a bounded number of them, and no wait for whoever reads them."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.watch import log_lines
from networld_runtime.watch.log_lines import (
    BURST_LINES,
    LINE_BYTES,
    REFILL_S,
    TEMPLATES,
    DescriptorSink,
    FileSink,
    JsonFormatter,
    LogHandler,
    RateLimit,
    previous_file,
    utc_text,
)
from networld_runtime.watch.settings import LogConfig

FLOOD = 100_000


class Pipe:
    """A logger whose lines end in a pipe, with a clock of its own."""

    def __init__(self, handler: LogHandler) -> None:
        self.now_s = 0.0
        self.handler = handler
        handler.limit = RateLimit(lambda: self.now_s)
        self.reading, writing = os.pipe()
        os.set_blocking(self.reading, False)
        self.writing = writing
        handler._sinks = [DescriptorSink(writing)]
        self.log = logging.Logger("networld_runtime.test", logging.DEBUG)
        self.log.addHandler(handler)

    def text(self) -> str:
        """Return what is in the pipe."""
        parts = b""
        try:
            while part := os.read(self.reading, 1 << 16):
                parts += part
        except BlockingIOError:
            pass
        return parts.decode()

    def lines(self) -> list[dict[str, Any]]:
        """Return what is in the pipe as JSON."""
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe(LogHandler(LogConfig()))
    yield one
    os.close(one.reading)
    os.close(one.writing)


def test_a_line_says_when_what_where_and_who(pipe: Pipe) -> None:
    pipe.handler.context = lambda: {"site": "demo", "cell": "cell-0", "slot": 12}
    pipe.log.warning("lost %s", "cell-1")
    (line,) = pipe.lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "networld_runtime.test",
        "message": "lost cell-1",
        "site": "demo",
        "cell": "cell-0",
        "slot": 12,
    }


def test_time_is_in_utc_with_milliseconds() -> None:
    assert utc_text(0) == "1970-01-01T00:00:00.000Z"
    assert utc_text(1_790_000_000.0625) == "2026-09-21T14:13:20.062Z"


def test_an_exception_is_text_on_the_same_line(pipe: Pipe) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        pipe.log.exception("failed")
    (line,) = pipe.lines()
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: first\nsecond")


@given(message=st.text(max_size=6000), trace=st.text(max_size=100))
def test_every_line_is_json_and_fits_a_pipe(message: str, trace: str) -> None:
    try:
        raise RuntimeError(trace * 100)
    except RuntimeError:
        info = sys.exc_info()
    record = logging.LogRecord("n", logging.INFO, "", 0, message, None, info)
    line = JsonFormatter(lambda: {"cell": "a"}).format(record, 3)
    assert len(line) <= LINE_BYTES
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert json.loads(line)["suppressed"] == 3


def test_surrogates_and_wrong_arguments_cost_no_line(pipe: Pipe) -> None:
    pipe.log.info("half a character: \ud800")
    pipe.log.info("number %d", "text")
    assert [line["message"] for line in pipe.lines()] == ["half a character: ?", "number %d"]


def test_a_flood_is_a_handful_of_lines_and_a_count(pipe: Pipe) -> None:
    for index in range(FLOOD):
        pipe.log.error("sensor %d failed", index)
    assert len(pipe.lines()) == BURST_LINES
    assert pipe.handler.counters() == {
        "written": BURST_LINES,
        "suppressed": FLOOD - BURST_LINES,
        "dropped": 0,
    }
    pipe.now_s += REFILL_S
    pipe.log.error("sensor %d failed", 1)
    pipe.log.error("sensor %d failed", 2)
    (line,) = pipe.lines()
    assert line["suppressed"] == FLOOD - BURST_LINES


def test_a_flood_over_an_hour_is_a_line_a_minute(pipe: Pipe) -> None:
    lines = 0
    for _ in range(FLOOD):
        pipe.now_s += 3600 / FLOOD
        pipe.log.error("failed")
        lines += pipe.text().count("\n")
    assert lines <= BURST_LINES + 60


def test_a_flood_of_different_messages_is_bounded_too(pipe: Pipe) -> None:
    lines = 0
    for index in range(FLOOD):
        pipe.log.error(f"failed {index}")  # the mistake that the bound is for
        lines += pipe.text().count("\n")
    assert lines <= TEMPLATES + BURST_LINES


def test_one_message_does_not_silence_another(pipe: Pipe) -> None:
    for _ in range(100):
        pipe.log.error("often")
    pipe.log.error("once")
    other = logging.Logger("networld_runtime.other")
    other.addHandler(pipe.handler)
    other.error("often")
    assert [line["message"] for line in pipe.lines()][-2:] == ["once", "often"]


def test_several_threads_share_one_budget(pipe: Pipe) -> None:
    def flood() -> None:
        for _ in range(2000):
            pipe.log.error("failed")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    counted = pipe.handler.counters()
    assert counted["written"] == BURST_LINES
    assert counted["written"] + counted["suppressed"] == 8000


def test_a_reader_that_stands_still_holds_nobody_up(pipe: Pipe) -> None:
    for index in range(1000):
        pipe.now_s += REFILL_S
        pipe.log.error("%d %s", index, "x" * 1000)
    assert pipe.handler.dropped > 0
    written = pipe.handler.written
    assert len(pipe.lines()) == written  # and every line that was written is whole
    pipe.now_s += REFILL_S
    pipe.log.error("again")
    assert pipe.lines()[-1]["message"] == "again"


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    os.close(pipe.reading)
    pipe.log.error("failed")
    assert pipe.handler.dropped == 1
    pipe.reading = os.open(os.devnull, os.O_RDONLY)


def test_a_file_is_written_too_and_its_size_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_lines, "FILE_BYTES", 2000)
    path = tmp_path / "agent.log"
    sink = FileSink(path)
    for index in range(1000):
        assert sink.write(f"line {index}\n".encode())
    assert path.read_text().splitlines()[-1] == "line 999"
    assert {one.name for one in tmp_path.iterdir()} == {"agent.log", "agent.log.1"}
    assert all(one.stat().st_size <= 2000 for one in tmp_path.iterdir())
    assert path.stat().st_mode & 0o777 == 0o600
    kept = previous_file(path).read_text().splitlines() + path.read_text().splitlines()
    assert kept == [f"line {index}" for index in range(1000 - len(kept), 1000)]


def test_a_file_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    handler = LogHandler(LogConfig(file=tmp_path / "none" / "agent.log"))
    pipe = Pipe(handler)
    handler._sinks.append(FileSink(tmp_path / "none" / "agent.log"))
    pipe.log.error("failed")
    assert handler.counters()["dropped"] == 1
    assert [line["message"] for line in pipe.lines()] == ["failed"]


SCRIPT = """
import logging, sys, warnings
from networld_runtime.watch.log_lines import set_up
from networld_runtime.watch.settings import LogConfig
logging.basicConfig(stream=sys.stderr)
set_up(LogConfig(format=sys.argv[1], level="warning"))
logging.getLogger("x").info("not shown")
for _ in range(100_000):
    logging.getLogger("x").error("failed")
warnings.warn("old", DeprecationWarning)
"""


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_real_process_floods_a_handful_of_lines(style: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", SCRIPT, style],
        capture_output=True,
        text=True,
        check=True,
    )
    used, unused = (done.stdout, done.stderr) if style == "json" else (done.stderr, done.stdout)
    assert unused == ""
    lines = used.splitlines()
    assert len(lines) <= BURST_LINES + 2
    if style == "json":
        assert [json.loads(line)["message"] for line in lines[:BURST_LINES]] == [
            "failed"
        ] * BURST_LINES
        assert "old" in json.loads(lines[-1])["message"]
    else:
        assert lines[:BURST_LINES] == ["ERROR x: failed"] * BURST_LINES
