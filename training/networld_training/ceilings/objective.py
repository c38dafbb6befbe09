"""What a ceiling is trained for: from outputs to actions, and from outputs to what they are worth."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from torch import Tensor

from networld_runtime.contract import FloatArray as NormalisedArray
from networld_training.radio.arrays import FloatArray


class Objective(Protocol):
    """The privileged view of one task; `D` inputs and `O` outputs for each cell."""

    @property
    def input_size(self) -> int:
        """Inputs `D` of the model."""

    @property
    def output_size(self) -> int:
        """Outputs `O` of the model."""

    @property
    def initial_bias(self) -> tuple[float, ...]:
        """Outputs of an untrained model, from which training starts."""

    def observe(self, task: Any) -> NormalisedArray:
        """Return what the cells see in this slot, scaled to about [-1, 1], `[E, K, D]`."""

    def decide(self, task: Any, output: np.ndarray[Any, Any]) -> FloatArray:
        """Return the actions `[E, K, C]` that outputs `[E, K, O]` stand for."""

    def loss(self, task: Any, output: Tensor) -> Tensor:
        """Return what outputs `[E, K, O]` cost in the present slot of `task`, to be minimised."""
