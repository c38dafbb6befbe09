"""A connection to a broker that always comes back: attempts, versions, delays, and what is said of them."""

from __future__ import annotations

import logging
import threading

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError
from networld_runtime.mesh.back_off import BackOff
from networld_runtime.mesh.broker_socket import BrokerSocket, explain, is_final, open_socket
from networld_runtime.mesh.mqtt_connection import Ending, Events, Greeting, MqttConnection
from networld_runtime.mesh.network_loop import NetworkLoop
from networld_runtime.mesh.protocol_choice import UNSUPPORTED, ProtocolChoice
from networld_runtime.mesh.transport import LastWill

_log = logging.getLogger(__name__)

FLUSH_S = 0.5
MOST_TOLD = 100
DOUBTFUL_SHARE = 0.2
"""How much of `connect_timeout_s` the answer to a greeting may take while another version may be needed."""
PASSING = {0x88, 0x89, 0x97, 0x9F}
"""Refusals that pass: the broker is not available, is busy, or has a quota or a rate that we exceed."""
NO_MQTT = (
    "accepts the connection but does not answer as an MQTT broker; is it another service, or is "
    "[broker] port the one for TLS?"
)


class BrokerLink:
    """One connection after the other to one broker, on the loop's thread.

    Args:
        broker: Address, credentials and times.
        client_id: Unique at the broker.
        will: Published by the broker when this client is gone without a word.
        loop: Serves the connections.
        events: Told of each connection; `ended` only of those that were welcomed.

    Attributes:
        connection: The one that the broker welcomed and that has not ended; None between two.
        protocol: Chooses the version of MQTT.
        back_off: Chooses the delays.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        client_id: str,
        will: LastWill | None,
        loop: NetworkLoop,
        events: Events,
    ) -> None:
        self.connection: MqttConnection | None = None
        self.protocol = ProtocolChoice(broker.protocol)
        self.back_off = BackOff()
        self._broker = broker
        self._client_id = client_id
        self._will = will
        self._loop = loop
        self._events = events
        self._answered = threading.Event()
        self._ended = threading.Event()
        self._ended.set()
        self._current: MqttConnection | None = None  # welcomed or not
        self._attempt = 0
        self._connections = 0
        self._closing = False
        self._lost = False
        self._problem: str | None = None
        self._refused = False
        self._told: set[str] = set()

    def connect(self) -> None:
        """Connect for the first time, trying until `connect_timeout_s` is over; from any thread.

        Raises:
            BrokerError: Nobody answers at the address, or the broker refuses us.
        """
        self._loop.start()
        self._loop.call_soon(self._try)
        answered = self._answered.wait(self._broker.connect_timeout_s)
        if answered and not self._refused:
            return
        self.close()
        problem = (
            self._problem or "cannot connect: no answer; are host and port under [broker] right?"
        )
        raise BrokerError(f"{self._broker.host}:{self._broker.port}", problem)

    def close(self) -> None:
        """Say goodbye and come back no more; from any thread but the loop's."""
        self._closing = True
        self._loop.call_soon(self._leave)
        if not self._ended.wait(FLUSH_S):  # a peer that reads nothing takes no goodbye
            self._loop.call_soon(self._cut)
            self._ended.wait(FLUSH_S)

    def tell(self, problem: str) -> None:
        """Log a problem, once however often it is met."""
        if problem not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(problem)
            _log.warning("%s", problem)

    def _try(self) -> None:
        """Open a socket on a thread of its own: a name or an address may take seconds to answer."""
        if self._closing or self._current is not None:
            return
        self._attempt += 1
        opening = threading.Thread(
            target=self._open, args=(self._attempt,), name="network-connect", daemon=True
        )
        try:
            opening.start()
        except RuntimeError as error:  # no more threads
            self._failed(self._attempt, error)

    def _open(self, attempt: int) -> None:
        """Connect; the one thing that does not run on the loop's thread."""
        try:
            password = self._broker.password()
            opened = open_socket(self._broker)
        except Exception as error:
            self._loop.call_soon(self._failed, attempt, error)
        else:
            if not self._loop.call_soon(self._opened, attempt, opened, password):
                opened.close()

    def _failed(self, attempt: int, error: BaseException) -> None:
        if attempt == self._attempt:
            self._problem = explain(error, self._broker)
            self._retry(final=is_final(error))

    def _opened(self, attempt: int, opened: BrokerSocket, password: str | None) -> None:
        if self._closing or attempt != self._attempt:
            opened.close()
            return
        broker = self._broker
        greeting = Greeting(
            client_id=self._client_id,
            protocol=self.protocol.version,
            username=broker.username,
            password=password,
            keep_alive_s=broker.keep_alive_s,
            will=self._will,
        )
        self._ended.clear()
        self._problem = NO_MQTT
        events = Events(self._on_welcomed, self._events.message, self._on_ended)
        self._current = MqttConnection(self._loop, opened, greeting, events)
        self._current.greet()
        # amqtt never answers a greeting of version 5 that holds a will: there must be time for the other.
        share = DOUBTFUL_SHARE if self.protocol.doubtful else 1.0
        self._loop.call_later(share * broker.connect_timeout_s, self._give_up, self._current)

    def _give_up(self, connection: MqttConnection) -> None:
        if connection is self._current and self.connection is None:
            connection.cut("no answer to the greeting")

    def _on_welcomed(self) -> None:
        self.connection = self._current
        self.protocol.worked()
        self._problem = None
        self._connections += 1
        if self._lost:
            self._lost = False
            _log.warning("broker is back, connection %d", self._connections)
        self._events.welcomed()
        self._answered.set()

    def _on_ended(self, ending: Ending) -> None:
        self.connection = self._current = None
        if ending.welcomed:
            self._events.ended(ending)
        self._ended.set()
        if self._closing:
            return
        if ending.welcomed:
            self._note_loss(ending)
            self._retry(final=False)
        else:
            self._not_welcomed(ending)

    def _note_loss(self, ending: Ending) -> None:
        """Say once that the connection is lost, or once that connections are lost again and again."""
        self.back_off.ended(ending.lived_s, ending.by_broker)
        if self.back_off.suspect:
            self.tell(
                f"the broker ends our connections soon after they begin: does another client call "
                f"itself {self._client_id}? Give every cell of a site a name of its own"
            )
        elif not self._lost:
            self._lost = True
            _log.warning("lost the broker (%s), trying again in the background", ending.reason)

    def _not_welcomed(self, ending: Ending) -> None:
        """Find out why a connection ended before the broker accepted us.

        With TLS 1.3 a broker looks at certificates this late.
        """
        refusal, final = ending.refusal, ending.error is not None and is_final(ending.error)
        if not final and self.protocol.failed(refusal):
            self._retry(final=False, at_once=True)
            return
        if refusal is not None:
            final = refusal.value not in PASSING
            hint = "check username and password_file under [broker]"
            if refusal.value == UNSUPPORTED:
                hint = f"it speaks no MQTT {self.protocol.name}: set [broker] protocol to auto"
            self._problem = f"refused the connection: {refusal}; {hint}"
        elif ending.error is not None and self._broker.tls_ca_file is not None:
            self._problem = explain(ending.error, self._broker)
        self._retry(final=final)

    def _retry(self, *, final: bool, at_once: bool = False) -> None:
        """Try again later; before the first connection, not if that can bring nothing else."""
        if self._closing:
            return
        if final:
            if not self._answered.is_set():
                self._refused = True
                self._answered.set()
                return
            self.tell(f"the broker {self._problem}")
        self._loop.call_later(0 if at_once else self.back_off.delay_s(), self._try)

    def _leave(self) -> None:
        if self._current is None:
            self._ended.set()
        else:
            self._current.leave()

    def _cut(self) -> None:
        if self._current is not None:
            self._current.cut("closed")
