"""The ceilings that are shipped: one file of weights for each task."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from networld_training.ceilings.numbers import network_numbers
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.entry import CEILING
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import Information

if TYPE_CHECKING:
    from networld_training.ceilings.policy import CeilingPolicy

WEIGHTS = Path(__file__).parent / "weights"


class ShippedCeiling:
    """The best policy found that acts on what a deployed cell sees, in the networks it was trained for.

    Args:
        task: Name of the task.
        scenarios: All scenarios of the task.
    """

    name = CEILING
    information: Information = "mean-field"

    def __init__(self, task: str, scenarios: Sequence[Scenario]) -> None:
        self._task = task
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
            DataError: There are no weights, or they do not fit the task any more.
        """
        return self._policy.act(task)

    @cached_property
    def _policy(self) -> CeilingPolicy:
        """The policy; torch takes a second that a list of all rules need not wait for."""
        from networld_training.ceilings.policy import CeilingPolicy  # noqa: PLC0415

        return CeilingPolicy.load(self._task, self._numbers, WEIGHTS / f"{self._task}.safetensors")
