"""Scenarios: named, versioned sets of networks that people compare results on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from networld_training.tasks.network import Network

Axis = Literal[
    "training",
    "reference",
    "layout",
    "size",
    "distance",
    "density",
    "traffic",
    "speed",
    "bandwidth",
    "combined",
]


@dataclass(frozen=True)
class Scenario:
    """One or more networks under a versioned id; a changed network needs a new version.

    Attributes:
        id: `networld/<task>/<name>-v<version>`.
        axis: What is unlike the training family; `reference` lies within it.
        networks: The networks; the episode with seed s takes place in number s modulo their count.
    """

    id: str
    axis: Axis
    networks: tuple[Network, ...]

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.id.split("/")[1]

    @property
    def name(self) -> str:
        """The id without project, task and version."""
        return self.id.split("/")[2].rpartition("-v")[0]

    def network_of(self, seed: int) -> Network:
        """Return the network of the episode with this seed."""
        return self.networks[seed % len(self.networks)]

    def by_network(self, seeds: Sequence[int]) -> list[tuple[Network, list[int]]]:
        """Return each network with its seeds, in the order of the networks; those without seeds not."""
        groups = [
            (network, [seed for seed in seeds if seed % len(self.networks) == index])
            for index, network in enumerate(self.networks)
        ]
        return [(network, chosen) for network, chosen in groups if chosen]

    def digest(self) -> str:
        """Return the SHA-256 of all parameters, as hexadecimal digits."""
        data = {"id": self.id, "networks": [asdict(network) for network in self.networks]}
        canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
