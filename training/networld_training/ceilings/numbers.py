"""The networks that a ceiling knows, by number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario


def network_numbers(scenarios: Iterable[Scenario]) -> Mapping[Network, int]:
    """Return the place of each network among those of all scenarios, in their order."""
    networks = dict.fromkeys(network for one in scenarios for network in one.networks)
    return {network: number for number, network in enumerate(networks)}
