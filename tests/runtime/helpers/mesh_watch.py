"""What an onlooker sees of a site: its retained births and states, and what follows them."""

from __future__ import annotations

import json
import time
from collections.abc import Set

from networld_runtime.config import BrokerConfig
from networld_runtime.mesh.mqtt_transport import MqttTransport

PATIENCE_S = 20.0


class Watch:
    """Sees births and states of the site `test`; a context manager.

    Args:
        port: Port of the broker.
        name: Its client id.

    Attributes:
        newest: The newest payload by cell and leaf, as in `cell-0/birth`.
        retained: Which of them the broker had kept.
        seen: All that came, in order.
    """

    def __init__(self, port: int, name: str = "onlooker") -> None:
        self.newest: dict[str, bytes] = {}
        self.retained: set[str] = set()
        self.seen: list[tuple[str, bytes]] = []
        self._transport = MqttTransport(BrokerConfig(port=port), name)
        for leaf in ("birth", "state"):
            self._transport.watch(f"networld/v1/test/+/{leaf}", self._see)

    def __enter__(self) -> Watch:
        self._transport.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def until_retained(self, names: Set[str]) -> None:
        """Wait until the broker has brought these from what it kept."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not names <= self.retained:
            assert time.monotonic() < deadline_s, f"never came: {names - self.retained}"
            time.sleep(0.01)

    def until_state(self, cell: str, state: str) -> None:
        """Wait until the newest state of a cell is this one."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self.states().get(cell) != state:
            assert time.monotonic() < deadline_s, self.seen
            time.sleep(0.01)

    def states(self) -> dict[str, str]:
        """Return the newest state of each cell."""
        return {
            name.split("/")[0]: json.loads(payload)["state"]
            for name, payload in self.newest.items()
            if name.endswith("/state")
        }

    def _see(self, topic: str, payload: bytes, retained: bool) -> None:
        cell, leaf = topic.split("/")[3:]
        name = f"{cell}/{leaf}"
        self.newest[name] = payload
        self.seen.append((name, payload))
        if retained:
            self.retained.add(name)
