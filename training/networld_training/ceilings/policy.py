"""A trained ceiling as a policy of the simulator, and its weights on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from networld_runtime.errors import DataError
from networld_runtime.files import write_atomically
from networld_training.ceilings.model import CeilingModel
from networld_training.ceilings.objective import Objective
from networld_training.ceilings.objectives import find_objective
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.ceiling import network_numbers, trained_for
from networld_training.tasks.network import Network
from networld_training.tasks.scenario import Scenario
from networld_training.tasks.spec import TaskSpec

TRAINED_FOR = "trained_for"


class CeilingPolicy:
    """Acts on what cells see and on the mean of learned int8 messages, one slot late.

    Args:
        objective: Says what cells see, and turns outputs into actions.
        model: A trained model.
        numbers: Number of each network that it knows.
    """

    def __init__(
        self, objective: Objective, model: CeilingModel, numbers: Mapping[Network, int]
    ) -> None:
        self._objective = objective
        self._model = model
        self._numbers = numbers
        self._before: np.ndarray[Any, Any] | None = None

    def reset(self) -> None:
        """Forget the last batch of episodes."""
        self._before = None

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot."""
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


def save_weights(
    path: Path,
    weights: Mapping[str, Tensor],
    spec: TaskSpec,
    scenarios: Sequence[Scenario],
    origin: Mapping[str, str],
) -> None:
    """Write weights with what they were trained for; a reader sees the old file or the new one."""
    metadata = {"task": spec.name, TRAINED_FOR: trained_for(spec, scenarios), **origin}
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    write_atomically(path, save(contiguous, metadata))


def load_policy(path: Path, spec: TaskSpec, scenarios: Sequence[Scenario]) -> CeilingPolicy:
    """Return the policy with the weights of a file.

    Raises:
        DataError: There is none, or it was trained for another interface or other scenarios.
    """
    repair = f"train it with `networld ceiling --task {spec.name}`"
    if not path.is_file():
        raise DataError(str(path), f"missing; {repair}")
    objective, numbers = find_objective(spec.name), network_numbers(scenarios)
    model = CeilingModel(objective.input_size, len(numbers), objective.output_size)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get(TRAINED_FOR) != trained_for(spec, scenarios):
            raise DataError(
                str(path),
                f"was trained for task {metadata.get('task')!r} with another interface or other "
                f"scenarios than those of task {spec.name!r} now; {repair}",
            )
        model.load_state_dict(weights)
    except (RuntimeError, SafetensorError) as error:
        raise DataError(str(path), f"holds no weights of this model ({error}); {repair}") from error
    return CeilingPolicy(objective, model, numbers)
