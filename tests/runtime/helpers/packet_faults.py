"""What is done to MQTT packets on their way: `faulty_proxy` does it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from raw_mqtt import is_qos_0_publish


@dataclass(frozen=True)
class Faults:
    """What is done in one direction; as made, nothing.

    Attributes:
        delay_s: How much later everything arrives.
        jitter_s: Up to so much is added to the delay or taken from it, evenly; bytes stay in order.
        slice_bytes: Everything is sent in pieces of this size; None: as it came.
        bandwidth_bytes_per_s: So much passes in a second; None: all.
        drop: Probability that a QoS 0 PUBLISH is lost.
        duplicate: Probability that one comes twice.
        reorder: Probability that one is overtaken by the one to three that follow it.
    """

    delay_s: float = 0.0
    jitter_s: float = 0.0
    slice_bytes: int | None = None
    bandwidth_bytes_per_s: float | None = None
    drop: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0


class Mangler:
    """Loses, repeats and reorders packets that nobody promised to deliver.

    Args:
        counters: Where it counts what it did, with the direction.
        direction: Of the one connection that it is for.
        chance: Draws.
    """

    def __init__(self, counters: Counter[str], direction: str, chance: random.Random) -> None:
        self._counters = counters
        self._direction = direction
        self._chance = chance
        self._held: list[tuple[int, bytes]] = []

    def mangle(self, packet: bytes, faults: Faults) -> list[bytes]:
        """Return what goes on instead of a packet."""
        self._count("packets")
        if not is_qos_0_publish(packet):
            return [packet]
        # All three are drawn in any case: changing one probability does not change what the others do.
        drop, duplicate, reorder = (self._chance.random() for _ in range(3))
        if drop < faults.drop:
            self._count("dropped")
            return []
        copies = [packet]
        if duplicate < faults.duplicate:
            self._count("duplicated")
            copies.append(packet)
        if reorder < faults.reorder:
            self._count("reordered")
            self._held.append((self._chance.randint(1, 3), b"".join(copies)))
            return []
        held, self._held = self._held, []
        overtaken = [data for left, data in held if left <= 1]
        self._held = [(left - 1, data) for left, data in held if left > 1]
        return [*copies, *overtaken]

    def rest(self) -> list[bytes]:
        """Return what was held to be overtaken, at the end of the stream."""
        held, self._held = self._held, []
        return [data for _, data in held]

    def _count(self, what: str) -> None:
        self._counters[f"{what}_{self._direction}"] += 1
