"""The information ceiling of a task: the shipped one as a policy, and which networks it knows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import Information, TaskSpec

if TYPE_CHECKING:
    from networld_training.ceilings.policy import CeilingPolicy

CEILING = "ceiling"
WEIGHTS = Path(__file__).parents[1] / "ceilings" / "weights"


class ShippedCeiling:
    """The best policy found that acts on what a deployed cell sees, in the networks it was trained for.

    Args:
        spec: Interface of the task.
        scenarios: The scenarios that it was trained in.
    """

    name = CEILING
    information: Information = "mean-field"

    def __init__(self, spec: TaskSpec, scenarios: Sequence[Scenario]) -> None:
        self._spec = spec
        self._scenarios = scenarios
        self._numbers = network_numbers(scenarios)

    def fits(self, network: Network) -> bool:
        """Return whether it was trained for this network."""
        return network in self._numbers

    def reset(self) -> None:
        """Forget the last batch of episodes."""
        self._policy.reset()

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot.

        Raises:
            DataError: There are no weights, or they were trained for something else.
        """
        return self._policy.act(task)

    @cached_property
    def _policy(self) -> CeilingPolicy:
        """The policy; torch takes a second that a list of all rules need not wait for."""
        from networld_training.ceilings.policy import load_policy  # noqa: PLC0415

        path = WEIGHTS / f"{self._spec.name}.safetensors"
        return load_policy(path, self._spec, self._scenarios)


def with_ceiling(scenarios: Iterable[Scenario]) -> tuple[Scenario, ...]:
    """Return the scenarios that a ceiling is trained in: all but those of many cells, which take long."""
    return tuple(scenario for scenario in scenarios if scenario.axis != "size")


def network_numbers(scenarios: Iterable[Scenario]) -> Mapping[Network, int]:
    """Return the place of each network among those of all scenarios, in their order."""
    networks = dict.fromkeys(network for one in scenarios for network in one.networks)
    return {network: number for number, network in enumerate(networks)}


def trained_for(spec: TaskSpec, scenarios: Iterable[Scenario]) -> str:
    """Return the SHA-256 of an interface and of scenarios in their order: weights fit no others."""
    parts = [spec.digest(), *(scenario.digest() for scenario in scenarios)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
