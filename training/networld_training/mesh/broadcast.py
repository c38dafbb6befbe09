"""Playing a recording to a broker, in the names of the cells that were recorded."""

from __future__ import annotations

import time

from networld_runtime.errors import BrokerError, ConfigError, MessageError
from networld_runtime.mesh.recording import RecordingHeader
from networld_runtime.mesh.transport import Transport
from networld_training.mesh.seen_mesh import ALL_SITES, TOLD, filters
from networld_training.mesh.told import read_state

LISTEN_S = 1.0
"""Retained states come at once; a second is long."""
SEND_S = 5.0
RETRY_S = 0.002
UNRELIABLE = ("message", "observation", "action")


class Broadcast:
    """Publishes recorded messages; what cells tell is retained as theirs was, and deleted at the end.

    Args:
        transport: To the broker, not yet connected.
        header: Of the recording.
        as_site: The site to speak as; None for the recorded one.

    Raises:
        ConfigError: A recording of all sites cannot be played as one.
    """

    def __init__(self, transport: Transport, header: RecordingHeader, as_site: str | None) -> None:
        if as_site is not None and header.site == ALL_SITES:
            raise ConfigError(
                f"--as-site {as_site}", "the recording holds several sites; leave it out"
            )
        self.sent = 0
        self._transport = transport
        self._as_site = as_site
        self._site = as_site or header.site
        self._online: set[str] = set()
        self._retained: set[str] = set()
        self._failure: BrokerError | None = None
        self._listening = True
        (state_filter,) = [one for one in filters(self._site, False) if one.endswith("/state")]
        transport.watch(state_filter, self._listen)

    def check_quiet(self) -> None:
        """Make sure that no real cell is spoken for; call it once the transport is connected.

        Raises:
            ConfigError: A cell of this site is online at the broker.
        """
        time.sleep(LISTEN_S)
        self._listening = False
        if self._online:
            first = min(self._online)
            raise ConfigError(
                f"site {self._site}",
                f"{len(self._online)} cells are online at this broker ({first}), and a replay would "
                "speak in their names; give another name with --as-site NAME",
            )

    def send(self, topic: str, payload: bytes, retained: bool) -> None:
        """Publish what was recorded; never raises, `check` tells."""
        del retained  # by the protocol, not by when the recording began
        levels = topic.split("/")
        if len(levels) != 5 or self._failure is not None:
            return  # no topic of a cell
        if self._as_site is not None:
            levels[2] = self._as_site
            topic = "/".join(levels)
        kept = levels[-1] in TOLD
        if kept:
            self._retained.add(topic)
        try:
            self._publish(topic, payload, levels[-1] not in UNRELIABLE, kept)
            self.sent += 1
        except BrokerError as error:
            self._failure = error

    def check(self) -> None:
        """Look after what was sent.

        Raises:
            BrokerError: The broker took nothing for some seconds.
        """
        if self._failure is not None:
            raise self._failure

    def leave(self) -> None:
        """Delete what was retained, if the broker is there: nobody shall take the cells for alive."""
        if self._failure is None:
            for topic in sorted(self._retained):
                self._publish(topic, b"", True, True)
        self._retained.clear()

    def _publish(self, topic: str, payload: bytes, reliable: bool, retain: bool) -> None:
        deadline_s = time.monotonic() + SEND_S
        while not self._transport.publish(topic, payload, reliable=reliable, retain=retain):
            if time.monotonic() > deadline_s:
                raise BrokerError("--broker", f"takes no messages for {SEND_S:.0f} s")
            time.sleep(RETRY_S)

    def _listen(self, topic: str, payload: bytes, retained: bool) -> None:
        del retained
        if not self._listening:
            return
        try:
            online = read_state(payload).state == "online"
        except MessageError:
            return
        if online:
            self._online.add(topic.split("/")[3])
