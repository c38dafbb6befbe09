"""Transports that record what a cell hears and says, and that play a recording to a cell."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from networld_runtime.mesh.recorder import Recorder
from networld_runtime.mesh.recording import RecordedMessage
from networld_runtime.mesh.topics import matches
from networld_runtime.mesh.transport import Handler, Transport, Watcher
from networld_runtime.realtime import monotonic_s


class RecordingTransport:
    """A transport that records all that goes through it, in the order in which the cell meets it.

    A payload is recorded before its handler is called, and one that is published before it is sent. A
    handler is not told whether the broker had retained a payload, so only what is watched is marked so.

    Args:
        inner: Carries the payloads.
        recorder: Where they are recorded; whoever made it closes it.
    """

    def __init__(self, inner: Transport, recorder: Recorder) -> None:
        self.counters = inner.counters
        self._inner = inner
        self._recorder = recorder
        self._handled: set[str] = set()
        self._filters: list[str] = []

    @property
    def connected(self) -> bool:
        """Whether the inner transport believes in its broker."""
        return self._inner.connected

    def connect(self) -> None:
        """Connect the inner transport.

        Raises:
            BrokerError: The broker cannot be reached or refuses us.
        """
        self._inner.connect()

    def publish(
        self, topic: str, payload: bytes, *, reliable: bool = False, retain: bool = False
    ) -> bool:
        """Record a payload and send it; return whether it is on its way."""
        self._recorder.record(topic, payload, retained=retain, published=True)
        return self._inner.publish(topic, payload, reliable=reliable, retain=retain)

    def subscribe(
        self, handlers: Mapping[str, Handler], *, reliable: bool = False, fresh: bool = False
    ) -> None:
        """Record what comes on these topics and call the handlers."""
        self._handled.update(handlers)
        recorded = {topic: partial(self._hear, topic, one) for topic, one in handlers.items()}
        self._inner.subscribe(recorded, reliable=reliable, fresh=fresh)

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Record no more of these topics, and take their handlers away."""
        self._handled.difference_update(topics)
        self._inner.unsubscribe(topics)

    def watch(self, topic_filter: str, watcher: Watcher) -> None:
        """Record what a filter matches and call the watcher."""
        if topic_filter not in self._filters:
            self._filters.append(topic_filter)
        self._inner.watch(topic_filter, partial(self._see, topic_filter, watcher))

    def close(self) -> None:
        """Close the inner transport."""
        self._inner.close()

    def _hear(self, topic: str, handler: Handler, payload: bytes) -> None:
        self._recorder.record(topic, payload)
        handler(payload)

    def _see(
        self, topic_filter: str, watcher: Watcher, topic: str, payload: bytes, retained: bool
    ) -> None:
        first = next(one for one in self._filters if matches(one, topic))
        if topic_filter == first and topic not in self._handled:  # else it is recorded elsewhere
            self._recorder.record(topic, payload, retained=retained)
        watcher(topic, payload, retained)


@dataclass
class Pace:
    """How fast a recording is played.

    Attributes:
        speed: 1 as it was, 2 twice as fast, infinite without waiting.
        clock: Monotonic clock in seconds.
        sleep: Waits for seconds.
    """

    speed: float = math.inf
    clock: Callable[[], float] = monotonic_s
    sleep: Callable[[float], None] = time.sleep
    _began_s: float | None = None

    def wait_until(self, time_s: float) -> None:
        """Wait until this time of the recording; time begins with the first call, at 0 s."""
        if self.speed == math.inf:
            return
        if self._began_s is None:
            self._began_s = self.clock()
        left_s = self._began_s + time_s / self.speed - self.clock()
        if left_s > 0:
            self.sleep(left_s)


@dataclass(frozen=True)
class Publication:
    """What a cell published while a recording was played to it."""

    topic: str
    payload: bytes
    reliable: bool
    retain: bool


class ReplayTransport:
    """A transport that plays a recording: no broker, no network, the same every time.

    Messages are delivered in the thread that calls `play`.

    Args:
        messages: What is played.
        pace: How fast; without waiting if None.

    Attributes:
        published: What was published, in order.
        now_s: Time of the recording, for whoever judges ages by a clock that can be given.
    """

    def __init__(self, messages: Iterable[RecordedMessage], pace: Pace | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self.connected = False
        self.published: list[Publication] = []
        self.now_s = 0.0
        self._messages = iter(messages)
        self._next: RecordedMessage | None = None
        self._pace = pace or Pace()
        self._handlers: dict[str, Handler] = {}
        self._fresh: set[str] = set()
        self._watchers: dict[str, Watcher] = {}

    def connect(self) -> None:
        """Be connected; `play` delivers."""
        self.connected = True
        self.counters["connections"] += 1

    def publish(
        self, topic: str, payload: bytes, *, reliable: bool = False, retain: bool = False
    ) -> bool:
        """Keep a payload in `published`."""
        if not self.connected:
            self.counters["unsent"] += 1
            return False
        self.counters["published"] += 1
        self.published.append(Publication(topic, payload, reliable, retain))
        return True

    def subscribe(
        self, handlers: Mapping[str, Handler], *, reliable: bool = False, fresh: bool = False
    ) -> None:
        """Call a handler with each payload on its topic that is played from now on."""
        del reliable
        self._handlers.update(handlers)
        self._fresh.update(handlers if fresh else ())

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Take handlers away."""
        for topic in topics:
            self._handlers.pop(topic, None)

    def watch(self, topic_filter: str, watcher: Watcher) -> None:
        """Call `watcher` with all that a filter matches and that is played from now on."""
        self._watchers[topic_filter] = watcher

    def close(self) -> None:
        """Deliver nothing more."""
        self.connected = False

    def play(self, until_s: float = math.inf) -> int:
        """Deliver the messages up to a time of the recording; return how many.

        Raises:
            DataError: The recording is damaged; what was before is delivered.
        """
        count = 0
        while self.connected:
            if self._next is None:
                self._next = next(self._messages, None)
            if self._next is None or self._next.time_s > until_s:
                break
            message, self._next = self._next, None
            self._pace.wait_until(message.time_s)
            self.now_s = message.time_s
            self._deliver(message)
            count += 1
        if until_s < math.inf:
            self._pace.wait_until(until_s)
            self.now_s = until_s
        return count

    def _deliver(self, message: RecordedMessage) -> None:
        for topic_filter, watcher in list(self._watchers.items()):
            if matches(topic_filter, message.topic):
                self._call(watcher, message.topic, message.payload, message.retained)
        handler = self._handlers.get(message.topic)
        if handler is None:
            return
        if message.retained and message.topic in self._fresh:
            self.counters["retained"] += 1
            return
        self._call(handler, message.payload)

    def _call(self, function: Callable[..., None], *values: object) -> None:
        try:
            function(*values)
        except Exception:
            self.counters["handler_errors"] += 1
