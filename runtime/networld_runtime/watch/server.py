"""HTTP for operators: `/metrics`, `/live`, `/ready` and `/status`, from one thread that cannot be held up.

One selector serves all connections, so that their number changes neither threads nor memory. What clients
may cost is bounded: bytes and seconds for a request, seconds to take the answer, connections at a time, and
a pause after each round, so that a flood leaves the processor to the loop. A client that finds no room takes
the place of the one that has been there longest; one that sends its request at once is answered in any case.
"""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from io import BytesIO

from networld_runtime.watch.metrics import Metrics
from networld_runtime.watch.watch import Watch

_log = logging.getLogger(__name__)

THREAD = "watch-http"
REQUEST_BYTES = 4096
CLIENT_S = 2.0
CLIENTS = 16
WAITING = 128
ACCEPTED_PER_ROUND = 4
PAUSE_S = 0.01
POLL_S = 0.5
RETRY_S = 5.0
CACHE_S = 0.25
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
JSON_TYPE = "application/json"


@dataclass(frozen=True)
class Page:
    """An answer: status code, type and body."""

    code: int
    kind: str
    body: bytes


class Pages:
    """The four pages; the two long ones are rendered at most every `CACHE_S`, however many ask.

    Args:
        watch: What is told.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._metrics = Metrics()
        self._pages: dict[str, Callable[[], Page]] = {
            "/live": self._live,
            "/ready": self._ready,
            "/status": lambda: self._cached("/status", self._status),
            "/metrics": lambda: self._cached("/metrics", self._metrics_page),
        }
        self._cache: dict[str, tuple[float, Page]] = {}

    def page(self, path: str) -> Page | None:
        """Return the page at a path, None if there is none."""
        make = self._pages.get(path.partition("?")[0])
        return None if make is None else make()

    def _cached(self, path: str, make: Callable[[], Page]) -> Page:
        now_s = time.monotonic()
        then_s, page = self._cache.get(path, (-CACHE_S, None))
        if page is None or now_s - then_s >= CACHE_S:
            page = make()
            self._cache[path] = (now_s, page)
        return page

    def _live(self) -> Page:
        live, age_s = self._watch.live, self._watch.age_s
        return _json(200 if live else 503, {"live": live, "heartbeat_age_s": age_s})

    def _ready(self) -> Page:
        obstacles = self._watch.obstacles
        return _json(503 if obstacles else 200, {"ready": not obstacles, "obstacles": obstacles})

    def _status(self) -> Page:
        return _json(200, self._watch.status())

    def _metrics_page(self) -> Page:
        return Page(200, METRICS_TYPE, self._metrics.render(self._watch.status()))


def _json(code: int, data: object) -> Page:
    return Page(code, JSON_TYPE, json.dumps(data, sort_keys=True).encode() + b"\n")


class _Request(BaseHTTPRequestHandler):
    """One request that lies complete in memory; the standard library reads it."""

    server_version = "networld"
    sys_version = ""
    protocol_version = "HTTP/1.0"
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(self, head: bytes, pages: Pages) -> None:
        self.rfile = BytesIO(head)
        self._answer = self.wfile = BytesIO()
        self.client_address = ("", 0)
        self.close_connection = True
        self._pages = pages

    def answer(self) -> bytes:
        """Return the bytes to send."""
        self.handle_one_request()
        return self._answer.getvalue()

    def do_GET(self) -> None:
        """Answer with head and body."""
        self._send(body=True)

    def do_HEAD(self) -> None:
        """Answer with the head alone."""
        self._send(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: what a client sends is no news."""

    def _send(self, *, body: bool) -> None:
        page = self._pages.page(self.path)
        if page is None:
            self.send_error(404)
            return
        self.send_response(page.code)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if body:
            self.wfile.write(page.body)


@dataclass
class _Client:
    """A connection: what came so far, then what is still to be sent."""

    opened: socket.socket
    deadline_s: float
    head: bytes = b""
    answer: memoryview = field(default_factory=lambda: memoryview(b""))


class WatchServer:
    """Serves the pages of one cell until `stop`.

    If the address is taken, the cell goes on without being watched, says so once, and tries again: a monitor
    must not cost a network its coverage.

    Args:
        watch: What is told.
        host: Address to listen at.
        port: Port to listen at.
    """

    def __init__(self, watch: Watch, host: str, port: int) -> None:
        self._pages = Pages(watch)
        self._host, self._port = host, port
        self._stopping = threading.Event()
        self._clients: dict[int, _Client] = {}
        self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)

    def start(self) -> None:
        """Listen, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and end the thread."""
        self._stopping.set()
        self._thread.join(2 * POLL_S)

    def _run(self) -> None:
        told = False
        while not self._stopping.is_set():
            try:
                listener = _listen(self._host, self._port)
            except OSError as error:
                if not told:
                    told = True
                    _log.error(
                        "cannot listen at [watch] %s port %d (%s): the cell goes on unwatched",
                        self._host,
                        self._port,
                        error.strerror or error,
                    )
                self._stopping.wait(RETRY_S)
                continue
            if told:
                _log.warning("listening at [watch] %s port %d now", self._host, self._port)
            with listener, selectors.DefaultSelector() as selector:
                selector.register(listener, selectors.EVENT_READ)
                while not self._stopping.is_set():
                    self._round(selector, listener)
                for client in list(self._clients.values()):
                    self._drop(selector, client)

    def _round(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        ready = selector.select(POLL_S)
        for key, _ in ready:
            if key.fileobj is listener:
                self._accept(selector, listener)
            elif key.fd in self._clients:  # it may have had to make room in this very round
                self._serve(selector, self._clients[key.fd])
        now_s = time.monotonic()
        for client in list(self._clients.values()):
            if now_s > client.deadline_s:
                self._drop(selector, client)
        if ready:
            self._stopping.wait(PAUSE_S)

    def _accept(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_PER_ROUND):
            try:
                opened, _ = listener.accept()
            except OSError:  # nobody waits, or no descriptor is left
                return
            opened.setblocking(False)
            if len(self._clients) >= CLIENTS:
                self._drop(selector, next(iter(self._clients.values())))
            client = _Client(opened, time.monotonic() + CLIENT_S)
            self._clients[opened.fileno()] = client
            selector.register(opened, selectors.EVENT_READ)
            self._serve(selector, client)  # most requests are there already

    def _serve(self, selector: selectors.BaseSelector, client: _Client) -> None:
        """Read on, or send on, as far as it goes without waiting."""
        try:
            if not client.answer:
                if not self._read(client):
                    return
                selector.modify(client.opened, selectors.EVENT_WRITE)
            sent = client.opened.send(client.answer)
        except BlockingIOError:
            return
        except OSError:
            self._drop(selector, client)
            return
        except Exception:  # a page that fails concerns the client that asked for it alone
            _log.exception("no page for a client of [watch]")
            self._drop(selector, client)
            return
        client.answer = client.answer[sent:]
        if not client.answer:
            self._drop(selector, client)

    def _read(self, client: _Client) -> bool:
        """Return whether the request is complete and its answer lies ready."""
        received = client.opened.recv(REQUEST_BYTES + 1 - len(client.head))
        if not received:
            raise ConnectionResetError
        client.head += received
        if len(client.head) > REQUEST_BYTES:
            client.answer = memoryview(b"HTTP/1.0 431 Request Header Fields Too Large\r\n\r\n")
        elif b"\r\n\r\n" in client.head or b"\n\n" in client.head:
            client.answer = memoryview(_Request(client.head, self._pages).answer() or b"\r\n")
        else:
            return False
        client.deadline_s = time.monotonic() + CLIENT_S
        return True

    def _drop(self, selector: selectors.BaseSelector, client: _Client) -> None:
        if self._clients.pop(client.opened.fileno(), None) is None:
            return
        selector.unregister(client.opened)
        with contextlib.suppress(OSError):
            client.opened.shutdown(socket.SHUT_WR)
        client.opened.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=WAITING)
    listener.setblocking(False)
    return listener
