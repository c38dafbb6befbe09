"""How bytes travel between cells: the protocol that the loop knows, and an in-process bus for tests."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from networld_runtime.mesh.topics import matches

Handler = Callable[[bytes], None]
Watcher = Callable[[str, bytes, bool], None]
"""Takes topic, payload and whether the broker had retained it."""


@dataclass(frozen=True)
class LastWill:
    """What the broker publishes, retained and reliably, when a client is gone without a word."""

    topic: str
    payload: bytes


class Transport(Protocol):
    """Publish and subscribe on exact topics.

    Attributes:
        counters: Events since the start: `published`, `skipped` (the one before was still unsent),
            `unsent` (not connected, or too many wait), `denied` (by the broker's access rules), `given_up`
            (reliable, and one connection after the other ended with it),
            `handler_errors`, `connections`, `retained` (dropped, see `subscribe`).
    """

    counters: Counter[str]

    @property
    def connected(self) -> bool:
        """Whether the broker is believed to be there; only the age of messages is proof."""
        ...

    def connect(self) -> None:
        """Connect for the first time; later losses are mended in the background.

        Raises:
            BrokerError: The broker cannot be reached or refuses us.
        """
        ...

    def publish(
        self, topic: str, payload: bytes, *, reliable: bool = False, retain: bool = False
    ) -> bool:
        """Send a payload; return whether it is on its way.

        An unreliable payload is dropped while the one before on its topic is still unsent: the next
        slot brings a newer one. A retained payload is sent again after every reconnection.
        """
        ...

    def subscribe(
        self, handlers: Mapping[str, Handler], *, reliable: bool = False, fresh: bool = False
    ) -> None:
        """Call a handler with each payload on its topic, from the network thread.

        With `fresh` a payload that the broker retained from before is counted and dropped: an old
        order must not be obeyed again.
        """
        ...

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Take handlers away again; what is under way may be dropped or delivered."""
        ...

    def watch(self, topic_filter: str, watcher: Watcher) -> None:
        """Call `watcher` with all that is published on topics that a filter with `+` and `#` matches.

        For those who look on, and for a cell that looks for neighbours; else it subscribes to the topics that
        it needs.
        """
        ...

    def close(self) -> None:
        """Send what is still to be sent, briefly, and leave; the last will is not published."""
        ...


@dataclass
class MemoryBus:
    """A broker in the process: delivers in the order of publication, in the caller's thread."""

    retained: dict[str, bytes] = field(default_factory=dict)
    _members: list[MemoryTransport] = field(default_factory=list)
    _waiting: deque[tuple[str, bytes]] = field(default_factory=deque)
    _delivering: bool = False

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Deliver a payload to all subscribers; what handlers publish is delivered after it."""
        if retain:
            self.retained[topic] = payload
        self._waiting.append((topic, payload))
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._waiting:
                next_topic, next_payload = self._waiting.popleft()
                for member in list(self._members):
                    member.deliver(next_topic, next_payload)
        finally:
            self._delivering = False

    def join(self, member: MemoryTransport) -> None:
        """Let a transport receive from now on."""
        self._members.append(member)

    def leave(self, member: MemoryTransport) -> None:
        """Stop delivering to a transport."""
        if member in self._members:
            self._members.remove(member)


class MemoryTransport:
    """`Transport` over a `MemoryBus`: deterministic, for tests."""

    def __init__(self, bus: MemoryBus, will: LastWill | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self.connected = False
        self._bus = bus
        self._will = will
        self._handlers: dict[str, Handler] = {}
        self._fresh: set[str] = set()
        self._watchers: dict[str, Watcher] = {}

    def connect(self) -> None:
        """Join the bus and receive what is retained on the subscribed topics."""
        self.connected = True
        self.counters["connections"] += 1
        self._bus.join(self)
        for topic in self._handlers:
            self._deliver_retained(topic)
        for topic_filter in self._watchers:
            self._show_retained(topic_filter)

    def publish(
        self, topic: str, payload: bytes, *, reliable: bool = False, retain: bool = False
    ) -> bool:
        """Deliver at once; `reliable` changes nothing here."""
        del reliable
        if not self.connected:
            self.counters["unsent"] += 1
            return False
        self.counters["published"] += 1
        self._bus.publish(topic, payload, retain=retain)
        return True

    def subscribe(
        self, handlers: Mapping[str, Handler], *, reliable: bool = False, fresh: bool = False
    ) -> None:
        """Add handlers; retained payloads are delivered at once when connected."""
        del reliable
        self._handlers.update(handlers)
        self._fresh.update(handlers if fresh else ())
        if self.connected:
            for topic in handlers:
                self._deliver_retained(topic)

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Take handlers away at once."""
        for topic in topics:
            self._handlers.pop(topic, None)

    def watch(self, topic_filter: str, watcher: Watcher) -> None:
        """Call `watcher` with all that a filter matches, with what is retained at once when connected."""
        self._watchers[topic_filter] = watcher
        if self.connected:
            self._show_retained(topic_filter)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Hand a payload to the topic's handler, if there is one, and to all who watch."""
        handler = self._handlers.get(topic)
        if handler is not None:
            self._call(handler, payload)
        for topic_filter, watcher in list(self._watchers.items()):
            if matches(topic_filter, topic):
                self._call(watcher, topic, payload, False)

    def _call(self, function: Callable[..., None], *values: object) -> None:
        try:
            function(*values)
        except Exception:
            self.counters["handler_errors"] += 1

    def close(self) -> None:
        """Leave without publishing the last will."""
        self.connected = False
        self._bus.leave(self)

    def lose(self) -> None:
        """Vanish as a crashed process would: the bus publishes the last will."""
        self.close()
        if self._will is not None:
            self._bus.publish(self._will.topic, self._will.payload, retain=True)

    def _deliver_retained(self, topic: str) -> None:
        if topic not in self._bus.retained:
            return
        if topic in self._fresh:
            self.counters["retained"] += 1
        else:
            self.deliver(topic, self._bus.retained[topic])

    def _show_retained(self, topic_filter: str) -> None:
        for topic, payload in list(self._bus.retained.items()):
            if matches(topic_filter, topic):
                self._call(self._watchers[topic_filter], topic, payload, True)
