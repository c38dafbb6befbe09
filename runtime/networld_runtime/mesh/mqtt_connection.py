"""One MQTT connection from its greeting to its end: paho's client over a socket that is open already.

All of it happens on the network loop's thread, so paho is never used by two threads. Nothing of a
connection outlives it: the next one has a client of its own.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from networld_runtime.mesh.broker_socket import BrokerSocket
from networld_runtime.mesh.network_loop import NetworkLoop
from networld_runtime.mesh.transport import LastWill

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

LARGEST_PACKET_BYTES = 1 << 20
"""Four times the largest message that cells exchange, an episode's log; a broker must not fill our memory."""
PACKETS_PER_TURN = 64
CHECK_S = 0.5

Reasons = Sequence[ReasonCode]


@dataclass(frozen=True)
class Greeting:
    """What a connection begins with."""

    client_id: str
    protocol: MQTTProtocolVersion
    username: str | None
    password: str | None
    keep_alive_s: int
    will: LastWill | None


@dataclass(frozen=True)
class Ending:
    """How a connection ended.

    Attributes:
        reason: In a few words.
        welcomed: Whether the broker had accepted us.
        lived_s: How long, since it was welcomed.
        refusal: Why the broker did not accept us, if it said so.
        by_broker: Whether the other side ended it, not silence or ourselves.
        error: What the last read failed with.
    """

    reason: str
    welcomed: bool
    lived_s: float
    refusal: ReasonCode | None
    by_broker: bool
    error: OSError | None


@dataclass(frozen=True)
class Events:
    """Whom a connection tells.

    Attributes:
        welcomed: The broker accepted us.
        message: Takes topic, payload and whether it was retained; must not use the connection.
        ended: It is over; told once.
    """

    welcomed: Callable[[], None]
    message: Callable[[str, bytes, bool], None]
    ended: Callable[[Ending], None]


class _Client(mqtt.Client):
    """paho's client, given its socket. It makes its own otherwise, which blocks the caller."""

    def __init__(self, opened: BrokerSocket, greeting: Greeting) -> None:
        self._opened = opened
        super().__init__(
            CallbackAPIVersion.VERSION2, client_id=greeting.client_id, protocol=greeting.protocol,
            reconnect_on_failure=False,
        )  # fmt: skip

    @property
    def announced_bytes(self) -> int:
        """Length of the packet that is arriving."""
        return self._in_packet["remaining_length"]

    @property
    def between_packets(self) -> bool:
        """Whether the next byte begins a packet."""
        return self._in_packet["command"] == 0

    def _create_socket(self) -> SocketLike:
        return self._opened

    def _mid_generate(self) -> int:
        """Return a number for a packet; paho would give that of one that waits for an answer once more."""
        number = super()._mid_generate()
        while number in self._out_messages:
            number = super()._mid_generate()
        return number


class MqttConnection:
    """A connection; every method belongs to the loop's thread.

    Args:
        loop: Serves it.
        opened: The socket, which it owns from now on.
        greeting: What it begins with.
        events: Whom it tells.
    """

    def __init__(
        self, loop: NetworkLoop, opened: BrokerSocket, greeting: Greeting, events: Events
    ) -> None:
        self._loop = loop
        self._socket = opened
        self._descriptor = opened.fileno()
        self._greeting = greeting
        self._events = events
        self._refusal: ReasonCode | None = None
        self._reason = ""
        self._accepted = False
        self._welcomed_s: float | None = None
        self._waiting: dict[int, Callable[[Reasons], None]] = {}
        self._writing = False
        self._leaving = False
        self._over = False
        self._has_properties = greeting.protocol == mqtt.MQTTv5
        self._client = _Client(opened, greeting)
        self._client.suppress_exceptions = True  # one in a callback would leave paho half done
        if greeting.username is not None:
            self._client.username_pw_set(greeting.username, greeting.password)
        if greeting.will is not None:
            self._client.will_set(greeting.will.topic, greeting.will.payload, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.on_subscribe = self._on_subscribe
        # Only with this set does paho leave the writing to a loop that is not its own.
        self._client.on_socket_register_write = _leave_to_the_loop

    def greet(self) -> None:
        """Send the first packet and serve the socket from now on."""
        self._loop.watch(self._descriptor, self._ready)
        self._step(self._connect)
        self._check()

    def publish(
        self,
        topic: str,
        payload: bytes,
        quality: int,
        retain: bool,
        done: Callable[[Reasons], None],
    ) -> None:
        """Send a payload, as far as the system takes it now.

        Args:
            topic: Where to.
            payload: What.
            quality: 0, at most once; 1, until the broker acknowledges it.
            retain: Whether the broker keeps it.
            done: Told once it was handed to the system (0) or acknowledged (1).
        """
        if self._over:
            return
        self._waiting[self._client.publish(topic, payload, quality, retain).mid] = done
        self._step(self._write)

    def subscribe(
        self, qualities: Sequence[tuple[str, int]], done: Callable[[Reasons], None]
    ) -> None:
        """Subscribe to all topics in one packet; `done` takes a reason for each."""
        if self._over:
            return
        _, number = self._client.subscribe(list(qualities))
        if number is not None:
            self._waiting[number] = done
        self._step(self._write)

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """End subscriptions, all in one packet."""
        if self._over:
            return
        self._client.unsubscribe(list(topics))
        self._step(self._write)

    def leave(self) -> None:
        """Say goodbye; it ends once that is sent."""
        if self._over:
            return
        self._leaving = True
        self._client.disconnect()
        self._step(self._write)

    def cut(self, reason: str) -> None:
        """End it at once, without a word."""
        if self._over:
            return
        self._over = True
        self._loop.unwatch(self._descriptor)
        self._socket.close()
        now_s = time.monotonic()
        self._events.ended(
            Ending(
                reason=self._reason or reason,
                welcomed=self._welcomed_s is not None,
                lived_s=0.0 if self._welcomed_s is None else now_s - self._welcomed_s,
                refusal=self._refusal,
                by_broker=not reason and not self._leaving,
                error=self._socket.error,
            )
        )

    def _connect(self) -> None:
        greeting = self._greeting
        clean: dict[str, Any] = {}
        if greeting.protocol == mqtt.MQTTv5:
            clean["clean_start"] = True  # and a session ends with its connection if nothing is said
        self._client.connect("unused", 1, greeting.keep_alive_s, **clean)
        self._write()

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_READ:
            self._step(self._read)
        if events & selectors.EVENT_WRITE:
            self._step(self._write)

    def _read(self) -> None:
        for _ in range(PACKETS_PER_TURN):
            taken = None
            if self._accepted and self._client.between_packets:
                taken = self._socket.take_publication(properties=self._has_properties)
            if taken is not None:
                self._events.message(taken.topic, taken.payload, taken.retained)
            else:
                self._client.loop_read()
            if self._client.socket() is None:
                return
            if self._client.announced_bytes > LARGEST_PACKET_BYTES:
                raise OverflowError(f"a packet of {self._client.announced_bytes} bytes")
            if not self._socket.buffered:
                break
            if self._accepted and self._welcomed_s is None:
                self._loop.call_soon(self._ready, selectors.EVENT_READ)  # after we were told
                break
        else:
            self._loop.call_soon(self._ready, selectors.EVENT_READ)  # first it is the others' turn
        if self._client.want_write():
            self._write()

    def _write(self) -> None:
        if self._client.socket() is None:
            return
        self._client.loop_write()
        writing = self._client.socket() is not None and self._client.want_write()
        if writing != self._writing and self._client.socket() is not None:
            self._writing = writing
            self._loop.watch(self._descriptor, self._ready, write=writing)

    def _check(self) -> None:
        """Keep the connection alive, or find that it is not, twice a second."""
        if self._over:
            return
        self._step(self._keep_alive)
        self._loop.call_later(CHECK_S, self._check)

    def _keep_alive(self) -> None:
        self._client.loop_misc()
        if self._client.socket() is None:
            self.cut("silence")
        elif self._client.want_write():
            self._write()

    def _step(self, step: Callable[[], None]) -> None:
        """Use paho, and look afterwards what has become of the connection."""
        if self._over:
            return
        try:
            step()
        except Exception as error:
            self.cut(f"cannot be understood: {error or type(error).__name__}")
            return
        if self._client.socket() is None:
            self.cut("")
        elif self._accepted and self._welcomed_s is None:
            self._welcomed_s = time.monotonic()
            self._events.welcomed()

    # The callbacks only take notes: paho holds locks around them that ending a connection needs too.

    def _on_connect(
        self,
        client: mqtt.Client,
        userdata: Any,
        flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, flags, properties
        if reason.is_failure:
            self._refusal = reason
        else:
            self._accepted = True

    def _on_disconnect(
        self,
        client: mqtt.Client,
        userdata: Any,
        flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, flags, properties
        self._reason = str(reason)  # may be called twice for one end

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        del client, userdata
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # nobody subscribes to what is no text
        self._events.message(topic, bytes(message.payload), message.retain)

    def _on_publish(
        self,
        client: mqtt.Client,
        userdata: Any,
        number: int,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        self._done(number, [reason])

    def _on_subscribe(
        self,
        client: mqtt.Client,
        userdata: Any,
        number: int,
        reasons: list[ReasonCode],
        properties: Properties | None,
    ) -> None:
        del client, userdata, properties
        self._done(number, reasons)

    def _done(self, number: int, reasons: Reasons) -> None:
        done = self._waiting.pop(number, None)
        if done is not None:
            done(reasons)


def _leave_to_the_loop(*_: object) -> None:
    """Do nothing: whoever hands something to paho has it written right after."""
