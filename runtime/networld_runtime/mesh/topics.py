"""MQTT topics: `networld/v1/{site}/{cell}/...`; each topic has one writer, named below."""

from __future__ import annotations

import re
from dataclasses import dataclass

PROTOCOL_VERSION = 1
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True)
class CellTopics:
    """The topics of one cell.

    Attributes:
        site: Name of the network, lower-case letters, digits and dashes.
        cell: Name of the cell, same alphabet.
    """

    site: str
    cell: str

    def _topic(self, leaf: str) -> str:
        return f"networld/v{PROTOCOL_VERSION}/{self.site}/{self.cell}/{leaf}"

    @property
    def message(self) -> str:
        """Mean-field message, QoS 0, not retained."""
        return self._topic("message")

    @property
    def log(self) -> str:
        """Logs of episodes for the neighbours, after the order `adapt`; QoS 1, not retained."""
        return self._topic("log")

    @property
    def state(self) -> str:
        """`online`, `offline` or `lost` with the boot's epoch, QoS 1, retained; also the last will."""
        return self._topic("state")

    @property
    def birth(self) -> str:
        """What this cell runs (contract hash, software, slot, neighbours), QoS 1, retained."""
        return self._topic("birth")

    @property
    def status(self) -> str:
        """Health, bundle and counters (`watch.status`), QoS 1, retained; stale unless `state` is `online`."""
        return self._topic("status")

    @property
    def command(self) -> str:
        """Orders to the cell, QoS 1, not retained."""
        return self._topic("command")

    @property
    def report(self) -> str:
        """Answers of the cell, QoS 1, not retained."""
        return self._topic("report")

    @property
    def observation(self) -> str:
        """What the radio measured for this cell, QoS 0; written by the radio."""
        return self._topic("observation")

    @property
    def action(self) -> str:
        """What the cell decided, QoS 0."""
        return self._topic("action")


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether an MQTT filter takes a topic: `+` is any one level, a last `#` all that follow."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(
        one in ("+", level) for one, level in zip(wanted, levels, strict=True)
    )
