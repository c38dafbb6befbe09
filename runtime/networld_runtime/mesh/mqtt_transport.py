"""`Transport` over MQTT 3.1.1, which every broker speaks, with paho's network thread."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError
from networld_runtime.mesh.topics import matches
from networld_runtime.mesh.transport import Handler, LastWill, Watcher

_log = logging.getLogger(__name__)

FLUSH_S = 0.5
RETRY_S = 0.2
LONGEST_RECONNECT_S = 5
QUEUED_RELIABLE = 32


class MqttTransport:
    """One MQTT connection of one cell.

    Args:
        broker: Address, credentials and times.
        client_id: Unique at the broker; two clients of one name throw each other out.
        will: Published by the broker when this client is gone without a word.
    """

    def __init__(self, broker: BrokerConfig, client_id: str, will: LastWill | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._broker = broker
        self._handlers: dict[str, Handler] = {}
        self._fresh: set[str] = set()
        self._watchers: dict[str, Watcher] = {}
        self._subscriptions: dict[str, int] = {}
        self._retained: dict[str, bytes] = {}
        self._unsent: dict[str, mqtt.MQTTMessageInfo] = {}
        self._reliable: list[mqtt.MQTTMessageInfo] = []
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._refusal: str | None = None
        self._closing = False
        self._lost = False
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv311
        )
        # An exception in a callback would otherwise end the network thread without a trace.
        self._client.suppress_exceptions = True
        self._client.max_queued_messages_set(QUEUED_RELIABLE)
        # paho doubles the delay without jitter, so cells would all come back at the same instant.
        shortest_s: Any = random.uniform(0.5, 1.5)  # annotated as an integer, used as a number
        self._client.reconnect_delay_set(shortest_s, LONGEST_RECONNECT_S)
        self._client.connect_timeout = broker.connect_timeout_s
        if broker.username is not None:
            self._client.username_pw_set(broker.username, broker.password())
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._client.on_socket_open = _send_at_once
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    @property
    def connected(self) -> bool:
        """Whether paho believes in the connection; it can be deaf, only message age is proof."""
        return self._client.is_connected()

    def connect(self) -> None:
        """Connect for the first time, trying until `connect_timeout_s` is over.

        Raises:
            BrokerError: Nobody answers at the address, or the broker refuses us.
        """
        deadline_s = time.monotonic() + self._broker.connect_timeout_s
        while True:
            try:
                self._client.connect(
                    self._broker.host, self._broker.port, self._broker.keep_alive_s
                )
                break
            except (OSError, UnicodeError) as error:  # UnicodeError: not a name of a host
                if time.monotonic() + RETRY_S > deadline_s:
                    raise self._error(
                        f"cannot connect: {getattr(error, 'strerror', None) or error}"
                    ) from error
                time.sleep(RETRY_S)
        self._client.loop_start()
        answered = self._answered.wait(max(deadline_s - time.monotonic(), RETRY_S))
        if answered and self._refusal is None:
            return
        self.close()
        if self._refusal is not None:
            raise self._error(f"refused the connection: {self._refusal}")
        raise self._error("accepts the connection but does not answer as an MQTT broker")

    def publish(
        self, topic: str, payload: bytes, *, reliable: bool = False, retain: bool = False
    ) -> bool:
        """Send a payload; see `Transport.publish`. Returns whether it is on its way."""
        if retain:
            self._retained[topic] = payload
        if not reliable and self._is_unsent(topic):
            self.counters["skipped"] += 1
            return False
        if not self.connected and (retain or not reliable):
            self.counters["unsent"] += 1  # what is retained is sent on the next connection
            return False
        info = self._client.publish(topic, payload, qos=1 if reliable else 0, retain=retain)
        if info.rc not in (mqtt.MQTT_ERR_SUCCESS, mqtt.MQTT_ERR_NO_CONN):
            self.counters["unsent"] += 1
            return False
        if reliable:
            self._reliable = [one for one in self._reliable if _is_waiting(one)] + [info]
        else:
            self._unsent[topic] = info
        self.counters["published"] += 1
        return True

    def subscribe(
        self, handlers: Mapping[str, Handler], *, reliable: bool = False, fresh: bool = False
    ) -> None:
        """Add handlers, called from the network thread; made again on every connection."""
        quality = 1 if reliable else 0
        self._fresh.update(handlers if fresh else ())
        self._handlers.update(handlers)
        self._subscriptions.update(dict.fromkeys(handlers, quality))
        if self.connected and handlers:
            self._client.subscribe([(topic, quality) for topic in handlers])

    def unsubscribe(self, topics: Collection[str]) -> None:
        """Take handlers away again; what is under way may be delivered to nobody."""
        for topic in topics:
            self._handlers.pop(topic, None)
            self._subscriptions.pop(topic, None)
        if self.connected and topics:
            self._client.unsubscribe(list(topics))

    def watch(self, topic_filter: str, watcher: Watcher) -> None:
        """Call `watcher`, from the network thread, with all that a filter matches."""
        self._watchers[topic_filter] = watcher
        self._subscriptions[topic_filter] = 1
        if self.connected:
            self._client.subscribe(topic_filter, 1)

    def close(self) -> None:
        """Wait briefly for what must arrive, say goodbye and stop the network thread."""
        self._closing = True
        was_connected = self.connected
        deadline_s = time.monotonic() + FLUSH_S
        while was_connected and time.monotonic() < deadline_s:
            if not any(_is_waiting(info) for info in self._reliable):
                break
            time.sleep(0.005)
        self._ended.clear()
        self._client.disconnect()
        if was_connected:
            opened = self._client.socket()
            if not self._ended.wait(FLUSH_S) and opened is not None:
                _cut(opened)  # a peer that reads nothing would hold the thread until the keep-alive
            self._client.loop_stop()
        # Without a connection the thread may sit in a slow connect; it is a daemon and ends with us.

    def _is_unsent(self, topic: str) -> bool:
        info = self._unsent.get(topic)
        return info is not None and _is_waiting(info)

    def _on_connect(
        self,
        client: mqtt.Client,
        userdata: Any,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del userdata, flags, properties
        if reason.is_failure:
            self._refusal = str(reason)
            self._answered.set()
            return
        self.counters["connections"] += 1
        if self._lost:
            self._lost = False
            _log.warning("broker is back, connection %d", self.counters["connections"])
        if self._subscriptions:
            client.subscribe(list(self._subscriptions.items()))
        if not self._closing:
            for topic, payload in list(self._retained.items()):
                client.publish(topic, payload, qos=1, retain=True)
        self._refusal = None
        self._answered.set()

    def _on_disconnect(
        self,
        client: mqtt.Client,
        userdata: Any,
        flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, flags, properties
        self._ended.set()
        # Every attempt that fails ends here too; one line says that it is lost, one that it is back.
        if not self._closing and not self._lost and self.counters["connections"]:
            self._lost = True
            _log.warning("lost the broker (%s), trying again in the background", reason)

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        del client, userdata
        topic, payload, retained = message.topic, bytes(message.payload), message.retain
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

    def _error(self, problem: str) -> BrokerError:
        address = f"{self._broker.host}:{self._broker.port}"
        hint = "is the broker running, and are host and port under [broker] right?"
        if self._refusal is not None:
            hint = "check username and password_file under [broker]"
        return BrokerError(address, f"{problem}; {hint}")


def _is_waiting(info: mqtt.MQTTMessageInfo) -> bool:
    try:
        return not info.is_published()
    except (RuntimeError, ValueError):  # lost with its connection
        return False


def _cut(opened: Any) -> None:
    with contextlib.suppress(OSError):  # gone already
        opened.shutdown(socket.SHUT_RDWR)


def _send_at_once(client: mqtt.Client, userdata: Any, opened: Any) -> None:
    """Turn Nagle's algorithm off: with it a message waits 8 to 18 ms for nothing."""
    del client, userdata
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
