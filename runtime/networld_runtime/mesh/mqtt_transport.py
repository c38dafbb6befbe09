"""`Transport` over MQTT: what is published and heard, and a connection that always comes back.

What a cell calls from its threads only takes notes; the connection is used on the network loop's
thread alone. MQTT 5 tells what a broker denies; where one speaks 3.1.1 only, so do we.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial

from paho.mqtt.reasoncodes import ReasonCode

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError
from networld_runtime.mesh.broker_link import BrokerLink
from networld_runtime.mesh.broker_tls import check_files
from networld_runtime.mesh.mqtt_connection import Ending, Events, Reasons
from networld_runtime.mesh.network_loop import NetworkLoop
from networld_runtime.mesh.outbox import MOST_TRIES, Outbox, Outgoing
from networld_runtime.mesh.topics import matches
from networld_runtime.mesh.transport import Handler, LastWill, Watcher

_log = logging.getLogger(__name__)

FLUSH_S = 0.5


class MqttTransport:
    """One MQTT connection of one cell.

    Args:
        broker: Address, credentials and times.
        client_id: Unique at the broker; two clients of one name throw each other out.
        will: Published by the broker when this client is gone without a word.
        loop: Serves the connection beside those of others; None starts one that ends with `close`.

    Raises:
        ConfigError: The password or a file of TLS cannot be used.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        client_id: str,
        will: LastWill | None = None,
        loop: NetworkLoop | None = None,
    ) -> None:
        check_files(broker)
        self.counters: Counter[str] = Counter()
        self._owns_loop = loop is None
        self._loop = NetworkLoop() if loop is None else loop
        # What both the cell's threads and the loop's use is under this lock; nothing is called with it held.
        self._lock = threading.Lock()
        self._handlers: dict[str, Handler] = {}
        self._fresh: set[str] = set()
        self._watchers: dict[str, Watcher] = {}
        self._subscriptions: dict[str, int] = {}
        self._new_subscriptions: dict[str, int] = {}
        self._outbox = Outbox()
        self._connected = False
        self._closing = False
        events = Events(self._on_welcomed, self._on_message, self._on_ended)
        self._link = BrokerLink(broker, client_id, will, self._loop, events)

    @property
    def connected(self) -> bool:
        """Whether the broker is believed to be there; it can be deaf, only message age is proof."""
        return self._connected

    @property
    def protocol(self) -> str:
        """The version of MQTT that is spoken, or tried next."""
        return self._link.protocol.name

    def connect(self) -> None:
        """Connect for the first time, trying until `connect_timeout_s` is over.

        Raises:
            BrokerError: Nobody answers at the address, or the broker refuses us.
        """
        try:
            self._link.connect()
        except BrokerError:
            self.close()
            raise

    def publish(
        self, topic: str, payload: bytes, *, reliable: bool = False, retain: bool = False
    ) -> bool:
        """Send a payload; see `Transport.publish`. Returns whether it is on its way."""
        outgoing = Outgoing(topic, payload, reliable, retain)
        with self._lock:
            outcome = self._outbox.admit(outgoing, connected=self._connected, closing=self._closing)
            self.counters[outcome] += 1
        if outcome == "published":
            self._loop.call_soon(self._send, outgoing)
        return outcome == "published"

    def subscribe(
        self, handlers: Mapping[str, Handler], *, reliable: bool = False, fresh: bool = False
    ) -> None:
        """Add handlers, called from the network thread; made again on every connection."""
        with self._lock:
            self._fresh.update(handlers if fresh else ())
            self._handlers.update(handlers)
            self._new_subscriptions.update(dict.fromkeys(handlers, 1 if reliable else 0))
        self._loop.call_soon(self._subscribe_new)

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Take handlers away again; what is under way may be delivered to nobody."""
        with self._lock:
            for topic in topics:
                for known in (self._handlers, self._subscriptions, self._new_subscriptions):
                    known.pop(topic, None)
                self._fresh.discard(topic)
        self._loop.call_soon(self._unsubscribe, list(topics))

    def watch(self, topic_filter: str, watcher: Watcher) -> None:
        """Call `watcher`, from the network thread, with all that a filter matches."""
        with self._lock:
            self._watchers[topic_filter] = watcher
            self._new_subscriptions[topic_filter] = 1
        self._loop.call_soon(self._subscribe_new)

    def close(self) -> None:
        """Wait briefly for what must arrive, say goodbye and, if the loop is our own, end it."""
        deadline_s = time.monotonic() + FLUSH_S
        while self._connected and self._outbox.reliable and time.monotonic() < deadline_s:
            time.sleep(0.005)
        self._closing = True
        self._link.close()
        if self._owns_loop:
            self._loop.close()

    # What follows runs on the loop's thread.

    def _send(self, outgoing: Outgoing) -> None:
        connection = self._link.connection
        with self._lock:
            if connection is None:
                self._outbox.lost(outgoing)
                return
            if not self._outbox.sends(outgoing):
                return
        connection.publish(
            outgoing.topic,
            outgoing.payload,
            1 if outgoing.reliable else 0,
            outgoing.retain,
            partial(self._on_sent, outgoing),
        )

    def _on_sent(self, outgoing: Outgoing, reasons: Reasons) -> None:
        with self._lock:
            following = self._outbox.sent(outgoing)
        if following is not None:
            self._loop.call_soon(self._send, following)
        self._note_denial("publishing on", outgoing.topic, reasons[0])

    def _subscribe_new(self) -> None:
        connection = self._link.connection
        if connection is None:
            return  # all are made when the connection begins
        with self._lock:
            topics = list(self._new_subscriptions.items())
            self._subscriptions.update(topics)
            self._new_subscriptions.clear()
        if topics:
            connection.subscribe(topics, partial(self._on_subscribed, topics))

    def _unsubscribe(self, topics: list[str]) -> None:
        with self._lock:  # subscribed to again meanwhile
            over = [topic for topic in topics if topic not in self._handlers]
        if self._link.connection is not None and over:
            self._link.connection.unsubscribe(over)

    def _on_subscribed(self, topics: list[tuple[str, int]], reasons: Reasons) -> None:
        for (topic, _), reason in zip(topics, reasons, strict=False):
            self._note_denial("subscribing to", topic, reason)

    def _note_denial(self, what: str, topic: str, reason: ReasonCode) -> None:
        if reason.is_failure:
            self.counters["denied"] += 1
            self._link.tell(
                f"the broker denies {what} {topic} ({reason}): look into its access rules"
            )

    def _on_welcomed(self) -> None:
        connection = self._link.connection
        if connection is None:
            return
        with self._lock:
            self._connected = True
            self.counters["connections"] += 1
            self._subscriptions.update(self._new_subscriptions)
            self._new_subscriptions.clear()
            topics = list(self._subscriptions.items())
            beginning = self._outbox.begin(closing=self._closing)
        if topics:
            connection.subscribe(topics, partial(self._on_subscribed, topics))
        for outgoing in beginning:
            self._send(outgoing)

    def _on_ended(self, ending: Ending) -> None:
        del ending
        with self._lock:
            self._connected = False
            given_up = self._outbox.ended()
        if given_up is not None:
            self.counters["given_up"] += 1
            self._link.tell(
                f"the broker ended {MOST_TRIES} connections instead of taking {len(given_up.payload)} bytes "
                f"on {given_up.topic}, which are given up: does it allow so many?"
            )

    def _on_message(self, topic: str, payload: bytes, retained: bool) -> None:
        for topic_filter, watcher in list(self._watchers.items()):
            if matches(topic_filter, topic):
                self._call(topic, watcher, topic, payload, retained)
        handler = self._handlers.get(topic)
        if handler is None:
            return
        if retained and topic in self._fresh:
            self.counters["retained"] += 1
            return
        self._call(topic, handler, payload)

    def _call(self, topic: str, function: Callable[..., None], *values: object) -> None:
        try:
            function(*values)
        except Exception:
            self.counters["handler_errors"] += 1
            if self.counters["handler_errors"] == 1:  # the counter tells of the others
                _log.exception("handler of %s failed", topic)
