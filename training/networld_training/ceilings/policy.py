"""A trained ceiling as a policy of the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from networld_runtime.errors import DataError
from networld_training.ceilings.model import CeilingModel
from networld_training.ceilings.objective import Objective
from networld_training.ceilings.objectives import find_objective
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network


class CeilingPolicy:
    """Acts on local observations and the mean of learned int8 messages, one slot late.

    Args:
        objective: Turns outputs into actions.
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

    @classmethod
    def load(cls, task: str, numbers: Mapping[Network, int], path: Path) -> CeilingPolicy:
        """Return the policy with the weights of a file.

        Raises:
            DataError: There is none, or it does not fit the task.
        """
        objective = find_objective(task)
        model = CeilingModel(objective.input_size, len(numbers), objective.output_size)
        repair = f"train it with `networld ceiling --task {task}`"
        if not path.is_file():
            raise DataError(str(path), f"missing; {repair}")
        try:
            model.load_state_dict(load_file(path))
        except (RuntimeError, SafetensorError) as error:
            raise DataError(str(path), f"does not fit the task ({error}); {repair}") from error
        return cls(objective, model, numbers)

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
