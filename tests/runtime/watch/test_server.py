"""HTTP over real sockets: the pages, and clients that mean no good while a cell goes through its slots."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from small_cell import SmallCell

from networld_runtime.contract import Contract
from networld_runtime.watch import server as server_module
from networld_runtime.watch.server import CLIENTS, REQUEST_BYTES, THREAD, WatchServer
from networld_runtime.watch.watch import Watch

SLOTS = 30


class Served:
    """A cell, its watch and its server."""

    def __init__(self, cell: SmallCell, watch: Watch, port: int) -> None:
        self.cell, self.watch, self.port = cell, watch, port

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes, dict[str, str]]:
        """Ask as a well-behaved client does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """Open a connection that says nothing."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def go_on(self) -> None:
        """Go through slots as the loop does, and see that every one acted and the pages are there."""
        before = len(self.cell.radio.actions)
        for _ in range(SLOTS):
            self.cell.go()
            self.watch.round()
        assert len(self.cell.radio.actions) == before + SLOTS
        assert self.get("/live")[0] == 200
        code, body, _ = self.get("/metrics")
        assert code == 200
        assert b"networld_slots_total" in body


@pytest.fixture
def served(contract: Contract, tmp_path: Path, free_port: int) -> Iterator[Served]:
    cell = SmallCell(contract, tmp_path)
    watch = cell.watch()
    watch.round()
    server = WatchServer(watch, "127.0.0.1", free_port)
    server.start()
    one = Served(cell, watch, free_port)
    _until(lambda: _answers(free_port))
    yield one
    server.stop()
    assert THREAD not in {thread.name for thread in threading.enumerate()}


def test_pages(served: Served) -> None:
    served.go_on()
    code, body, headers = served.get("/status")
    assert code == 200
    assert headers["Content-Type"] == "application/json"
    status = json.loads(body)
    assert (status["site"], status["cell"], status["ready"]) == ("test", "a", True)
    assert json.loads(served.get("/ready")[1]) == {"ready": True, "obstacles": []}
    code, body, headers = served.get("/metrics?name=x")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert int(headers["Content-Length"]) == len(body)
    code, body, headers = served.get("/metrics", "HEAD")
    assert (code, body) == (200, b"")
    assert int(headers["Content-Length"]) > 1000


@pytest.mark.parametrize("path", ["/", "/metrics/", "/../etc/passwd", "/%6cive"])
def test_other_paths_are_not_there(served: Served, path: str) -> None:
    assert served.get(path)[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_only_get_and_head_are_taken(served: Served, method: str) -> None:
    assert served.get("/live", method)[0] == 501


def test_not_ready_and_not_live_have_codes_that_monitors_know(served: Served) -> None:
    served.cell.transport.lose()
    served.watch._next_snapshot_s = 0
    served.watch.round()
    code, body, _ = served.get("/ready")
    assert code == 503
    assert json.loads(body)["obstacles"] == ["no connection to the broker"]
    assert served.get("/live")[0] == 200
    served.watch._beat_s = time.monotonic() - 60
    code, body, _ = served.get("/live")
    assert code == 503
    assert json.loads(body)["heartbeat_age_s"] >= 60


def test_slow_senders_are_let_go_and_hold_nobody_up(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CLIENT_S", 0.5)
    stop = threading.Event()
    ended = []

    def drip(opened: socket.socket) -> None:
        with opened, suppress(OSError):
            opened.settimeout(0.05)
            while not stop.is_set():
                opened.sendall(b"G")
                with suppress(TimeoutError):
                    if opened.recv(1) == b"":
                        break
        ended.append(True)

    drips = [threading.Thread(target=drip, args=(served.connect(),)) for _ in range(3 * CLIENTS)]
    for one in drips:
        one.start()
    served.go_on()
    _until(lambda: len(ended) == len(drips))  # the server ended all of them
    stop.set()
    for one in drips:
        one.join()
    served.go_on()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"\0" * REQUEST_BYTES,
        b"\r\n\r\n",
        b"\n\n",
        b"GET\r\n\r\n",
        b"GET /live HTTP/9.9\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost" + b"\xff" * 50 + b"\r\n\r\n",
        b"GET /live HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n",
        b"GET " + b"/" * 3000 + b" HTTP/1.1\r\n\r\n",
        b"GET /live HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nbody",
        b"GET /live HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        b"GET http://[::1/live HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_garbage_gets_an_answer_or_an_end(served: Served, garbage: bytes) -> None:
    with served.connect() as opened:
        opened.sendall(garbage)
        opened.shutdown(socket.SHUT_WR)
        _read_all(opened)
    served.go_on()


def test_huge_requests_are_cut_off(served: Served) -> None:
    with served.connect() as opened:
        sent = 0
        with suppress(OSError):
            opened.sendall(b"GET /live HTTP/1.1\r\n")
            while sent < 64 << 20:
                sent += opened.send(b"X-Long: " + b"a" * 60_000)
        assert sent < 64 << 20
    with served.connect() as opened:
        opened.sendall(b"GET /live HTTP/1.1\r\n" + b"a" * (REQUEST_BYTES - 19))
        assert _read_all(opened).startswith(b"HTTP/1.0 431 ")
    served.go_on()


def test_a_client_that_takes_nothing_is_let_go(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CLIENT_S", 0.5)
    huge = "x" * (64 << 20)  # more than the buffers of any kernel hold
    monkeypatch.setattr(served.watch, "status", lambda: {"huge": huge})
    with served.connect() as opened:
        opened.sendall(b"GET /status HTTP/1.1\r\n\r\n")
        for _ in range(SLOTS):
            served.cell.go()
        assert served.get("/live")[0] == 200
        time.sleep(1)
        assert len(_read_all(opened)) < len(huge)


def test_many_connections_take_neither_threads_nor_descriptors(served: Served) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    threads, before = threading.active_count(), descriptors()
    with ExitStack() as stack:
        opened = [stack.enter_context(served.connect()) for _ in range(10 * CLIENTS)]
        served.go_on()
        assert threading.active_count() == threads
        assert descriptors() <= before + len(opened) + CLIENTS + 1
    served.go_on()
    _until(lambda: descriptors() <= before)


def test_flood_of_requests_is_answered_while_slots_go_on(served: Served) -> None:
    stop = threading.Event()
    codes = []

    def ask() -> None:
        while not stop.is_set():
            with suppress(OSError, http.client.HTTPException):
                codes.append(served.get("/metrics")[0])

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for one in askers:
        one.start()
    for _ in range(3):
        served.go_on()
    stop.set()
    for one in askers:
        one.join()
    assert set(codes) == {200}


def test_a_page_that_fails_is_logged_and_the_others_stay(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("broken page")

    monkeypatch.setattr(served.watch, "status", fail)
    with served.connect() as opened:
        opened.sendall(b"GET /status HTTP/1.1\r\n\r\n")
        assert _read_all(opened) == b""
    assert "broken page" in caplog.text
    assert served.get("/live")[0] == 200


def test_long_pages_are_made_at_most_four_times_a_second(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    status = served.watch.status

    def counted() -> dict[str, Any]:
        made.append(1)
        return status()

    monkeypatch.setattr(served.watch, "status", counted)
    began_s = time.monotonic()
    for _ in range(20):
        served.get("/metrics")
    assert len(made) <= (time.monotonic() - began_s) / server_module.CACHE_S + 1


def test_an_address_that_is_taken_is_told_once_and_taken_over_when_free(
    contract: Contract,
    tmp_path: Path,
    free_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(server_module, "RETRY_S", 0.05)
    cell = SmallCell(contract, tmp_path)
    with socket.create_server(("127.0.0.1", free_port)):
        server = WatchServer(cell.watch(), "127.0.0.1", free_port)
        server.start()
        _until(lambda: "cannot listen" in caplog.text)
        time.sleep(0.3)
        cell.go()
    _until(lambda: "listening at [watch]" in caplog.text)
    assert Served(cell, cell.watch(), free_port).get("/live")[0] == 200
    server.stop()
    told = [record.levelno for record in caplog.records if "[watch]" in record.message]
    assert told == [logging.ERROR, logging.WARNING]


def _read_all(opened: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while part := opened.recv(1 << 20):
            received += part
    return received


def _answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def _until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s, "it does not happen"
        time.sleep(0.02)
