"""Which version of MQTT a broker is greeted with: 5 if it takes it, else 3.1.1, and what worked last."""

from __future__ import annotations

from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

VERSIONS = {"5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}
UNSUPPORTED = 0x84
NOT_BY_VERSION = {0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x97, 0x9F}
"""Refusals that say that the greeting was understood: name, password, rights, or the broker's load."""
FAILURES_OF_A_PROVEN = 3


class ProtocolChoice:
    """Chooses between versions by what brokers answer.

    A broker that does not know version 5 says so, or ends the connection, or speaks nonsense: each does it
    in its own way. One version that worked is doubted only after several such ends, since a broker that
    is going down ends connections too.

    Args:
        configured: `auto`, `5` or `3.1.1`.
    """

    def __init__(self, configured: str) -> None:
        self._names = list(VERSIONS) if configured == "auto" else [configured]
        self._proven = False
        self._failures = 0

    @property
    def name(self) -> str:
        """The version to greet with."""
        return self._names[0]

    @property
    def version(self) -> MQTTProtocolVersion:
        """The same for paho."""
        return VERSIONS[self.name]

    @property
    def doubtful(self) -> bool:
        """Whether another version may have to be tried."""
        return len(self._names) > 1 and not self._proven

    def worked(self) -> None:
        """Take note that the broker accepted the greeting."""
        self._proven = True
        self._failures = 0

    def failed(self, refusal: ReasonCode | None) -> bool:
        """Take note that it did not; return whether the older version is now to be tried at once."""
        if len(self._names) == 1:
            return False
        if refusal is not None and refusal.value in NOT_BY_VERSION:
            return False
        self._failures += 1
        plain = refusal is not None and refusal.value == UNSUPPORTED
        if self._proven and not plain and self._failures < FAILURES_OF_A_PROVEN:
            return False
        self._names.reverse()
        self._failures = 0
        self._proven = False
        return self.name != "5"  # back at 5, both have failed and there is no hurry
