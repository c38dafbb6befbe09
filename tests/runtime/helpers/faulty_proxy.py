"""A TCP proxy on loopback that does to a connection what bad networks do; seeded, and without root.

What TCP itself can show is done to bytes: delay with jitter, thin slices, a narrow link, silence in one
direction or both, connections that are reset or closed. TCP never loses, repeats or reorders, so that is
done to whole MQTT packets: those that MQTT does not promise to deliver, PUBLISH of QoS 0. Only the fixed
header is read, which is the same in MQTT 3.1.1 and 5; everything else passes as it is. Whatever was done
is counted, so that a test can assert that its fault was there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from packet_faults import Faults, Mangler
from raw_mqtt import PacketReader

UP: Final = "up"
DOWN: Final = "down"
"""From clients to the broker, and back."""
Direction = Literal["up", "down"]
BOTH: tuple[Direction, ...] = (UP, DOWN)
READ_BYTES = 65536
LARGEST_HELD_BYTES = 1 << 20
"""A link holds so much; whoever sends more has to wait, as with TCP's own buffers."""
PATIENCE_S = 20.0
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_Result = TypeVar("_Result")


@dataclass
class _Link:
    """One client's connection: a socket to each end."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class FaultyProxy:
    """Listens on a free port of loopback and carries every connection to a broker; a context manager.

    Faults may be changed at any time, also from another thread, and act on what passes from then on.

    Args:
        target: Port of the broker, on loopback.
        seed: The same seed does the same to the same packets of the n-th connection.

    Attributes:
        port: Where clients connect to.
        counters: What was done, with the direction as `_up` or `_down`: `bytes`, `packets`, `dropped`,
            `duplicated`, `reordered`, `delayed`, `slices`, `throttled`, `held`; and without one:
            `connections`, `refused` (no broker), `silences`, `resets`, `closes`.
        connected_s: When each connection that reached the broker was made, by the monotonic clock.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.counters: Counter[str] = Counter()
        self.connected_s: list[float] = []
        self.port = 0
        self._target = target
        self._seed = seed
        self._faults: dict[Direction, Faults] = dict.fromkeys(BOTH, Faults())
        self._links: list[_Link] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    def set(self, faults: Faults, *directions: Direction) -> None:
        """Do this from now on, in both directions if none is named."""
        for direction in directions or BOTH:
            self._faults[direction] = faults

    def silence(self, *directions: Direction) -> None:
        """Let nothing pass, not even the end of a connection, as a cable that was pulled.

        Whoever connects meanwhile is accepted and hears nothing.
        """
        self._call(self._silence(directions or BOTH, silent=True))

    def heal(self) -> None:
        """End every silence; what was held passes now, as TCP would send it again."""
        self._call(self._silence(BOTH, silent=False))

    def stall(self, seconds: float, *directions: Direction) -> None:
        """Let nothing pass for a while."""
        self.silence(*directions)
        self._loop.call_soon_threadsafe(self._loop.call_later, seconds, self._open)

    def reset(self) -> int:
        """End all connections by RST on both sides; return how many."""
        return self._call(self._cut(reset=True))

    def close_all(self) -> int:
        """End all connections by FIN on both sides; return how many."""
        return self._call(self._cut(reset=False))

    def _call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _listen(self) -> None:
        self._passing = {direction: asyncio.Event() for direction in BOTH}
        self._open()
        self._serving: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        self._open()
        await self._cut(reset=True)
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _silence(self, directions: tuple[Direction, ...], silent: bool) -> None:
        if not silent:
            self._open()
            return
        self.counters["silences"] += 1
        for direction in directions:
            self._passing[direction].clear()

    def _open(self) -> None:
        for event in self._passing.values():
            event.set()

    async def _cut(self, reset: bool) -> int:
        links, self._links = self._links, []
        self.counters["resets" if reset else "closes"] += len(links)
        for link in links:
            for task in link.tasks:
                task.cancel()
            for end in (link.client, link.broker):
                if reset:
                    _reset(end)
                else:
                    end.close()
        return len(links)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.counters["connections"]
        self.counters["connections"] += 1
        await self._passing[UP].wait()
        try:
            answer, broker = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self.counters["refused"] += 1
            _reset(writer)
            return
        self.connected_s.append(time.monotonic())
        for end in (writer, broker):
            end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(writer, broker)
        self._links.append(link)
        link.tasks += self._pump(UP, reader, broker, number)
        link.tasks += self._pump(DOWN, answer, writer, number)
        await asyncio.gather(*link.tasks, return_exceptions=True)
        if link in self._links:
            self._links.remove(link)
            writer.close()
            broker.close()

    def _pump(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        number: int,
    ) -> list[asyncio.Task[None]]:
        """Carry one direction in two tasks: one takes and mangles, the other sends in time."""
        line, chance = _Line(), random.Random(f"{self._seed} {number} {direction}")
        return [
            asyncio.create_task(self._take(direction, source, line, chance)),
            asyncio.create_task(self._send(direction, sink, line)),
        ]

    async def _take(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        line: _Line,
        chance: random.Random,
    ) -> None:
        packets = PacketReader()
        mangler = Mangler(self.counters, direction, chance)
        due_s = 0.0
        while True:
            try:
                chunk = await source.read(READ_BYTES)
            except OSError:  # reset by its end
                chunk = b""
            faults = self._faults[direction]
            out = [one for packet in packets.feed(chunk) for one in mangler.mangle(packet, faults)]
            if not chunk:
                out += [*mangler.rest(), packets.rest()]
            delay_s = faults.delay_s + faults.jitter_s * chance.uniform(-1, 1)
            due_s = max(due_s, time.monotonic() + delay_s)  # TCP keeps the order
            if delay_s > 0:
                self.counters[f"delayed_{direction}"] += 1
            await line.put(due_s, b"".join(out), ended=not chunk)
            if not chunk:
                return

    async def _send(self, direction: Direction, sink: asyncio.StreamWriter, line: _Line) -> None:
        passing = self._passing[direction]
        while True:
            due_s, data, ended = await line.get()
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            if not passing.is_set():
                self.counters[f"held_{direction}"] += 1
                await passing.wait()
            if ended and not data:
                sink.close()  # the end of one direction is the end of both, as with every broker
                return
            faults = self._faults[direction]
            for piece in _slices(data, faults.slice_bytes):
                sink.write(piece)
                await sink.drain()
                self.counters[f"bytes_{direction}"] += len(piece)
                if faults.slice_bytes is not None:
                    self.counters[f"slices_{direction}"] += 1
                    await asyncio.sleep(0)
                if faults.bandwidth_bytes_per_s is not None:
                    self.counters[f"throttled_{direction}"] += 1
                    await asyncio.sleep(len(piece) / faults.bandwidth_bytes_per_s)
            if ended:
                sink.close()
                return


class _Line:
    """Bytes on their way, each with the time at which it is due; holds so much and no more."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, bytes, bool]] = deque()
        self._bytes = 0
        self._changed = asyncio.Condition()

    async def put(self, due_s: float, data: bytes, ended: bool) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._bytes < LARGEST_HELD_BYTES)
            self._bytes += len(data)
            self._waiting.append((due_s, data, ended))
            self._changed.notify_all()

    async def get(self) -> tuple[float, bytes, bool]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting)
            due_s, data, ended = self._waiting.popleft()
            self._bytes -= len(data)
            self._changed.notify_all()
            return due_s, data, ended


def _slices(data: bytes, size: int | None) -> Iterator[bytes]:
    step = size or max(len(data), 1)
    for start in range(0, len(data), step):
        yield data[start : start + step]


def _reset(end: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):  # closed already
        opened: socket.socket = end.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    end.transport.abort()
