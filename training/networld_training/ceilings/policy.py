"""A trained ceiling as a policy of the simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from networld_runtime.errors import DataError
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import Information

if TYPE_CHECKING:
    from networld_training.ceilings.model import CeilingModel
    from networld_training.ceilings.objective import Objective

WEIGHTS = Path(__file__).parent / "weights"


class CeilingPolicy:
    """Acts on local observations and the mean of learned int8 messages, one slot late.

    Args:
        objective: Turns outputs into actions.
        model: A trained model.
        numbers: Number of the scenario of each network that it knows.
    """

    name = "ceiling"
    information: Information = "mean-field"

    def __init__(
        self, objective: Objective, model: CeilingModel, numbers: Mapping[Network, int]
    ) -> None:
        self._objective = objective
        self._model = model
        self._numbers = numbers
        self._before: np.ndarray[Any, Any] | None = None

    def fits(self, network: Network) -> bool:
        """Return whether it was trained for this network."""
        return network in self._numbers

    def reset(self) -> None:
        """Forget the last batch of episodes."""
        self._before = None

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot."""
        import torch  # noqa: PLC0415 - a second that other rules need not wait for

        observation = self._objective.observe(task)
        with torch.no_grad():
            output = self._model(
                torch.from_numpy(observation),
                None if self._before is None else torch.from_numpy(self._before),
                torch.from_numpy(task.neighbours),
                self._numbers[task.network],
            )
        self._before = observation
        return self._objective.decide(task, output.numpy())


def scenario_numbers(scenarios: Iterable[Scenario]) -> dict[Network, int]:
    """Return the place of each network's scenario among these."""
    numbered = enumerate(scenarios)
    return {network: number for number, one in numbered for network in one.networks}


def load_ceiling(task: str) -> CeilingPolicy:
    """Return the shipped ceiling of a task.

    Raises:
        DataError: There is none, or it does not fit the task any more.
    """
    from safetensors.torch import load_file  # noqa: PLC0415

    from networld_training.ceilings.model import CeilingModel  # noqa: PLC0415
    from networld_training.ceilings.objectives import find_objective  # noqa: PLC0415
    from networld_training.tasks.registry import find_task  # noqa: PLC0415

    path = WEIGHTS / f"{task}.safetensors"
    repair = f"train it with `networld ceiling --task {task}`"
    if not path.is_file():
        raise DataError(str(path), f"missing; {repair}")
    objective, scenarios = find_objective(task), find_task(task).scenarios
    model = CeilingModel(objective.input_size, len(scenarios), objective.output_size)
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise DataError(str(path), f"does not fit the task ({error}); {repair}") from error
    return CeilingPolicy(objective, model, scenario_numbers(scenarios.values()))
