"""AdamW in NumPy and the learning-rate schedule that training and adaptation share."""

from __future__ import annotations

import numpy as np

from networld_runtime.contract import FloatArray


class AdamW:
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) on one flat float32 vector."""

    def __init__(self, size: int, weight_decay: float) -> None:
        self.weight_decay = weight_decay
        self.mean = np.zeros(size, dtype=np.float32)
        self.square = np.zeros(size, dtype=np.float32)
        self.count = 0

    def step(self, vector: FloatArray, gradient: FloatArray, learning_rate: float) -> FloatArray:
        """Return `vector` after one step."""
        self.count += 1
        self.mean = np.float32(0.9) * self.mean + np.float32(0.1) * gradient
        self.square = np.float32(0.999) * self.square + np.float32(0.001) * gradient * gradient
        mean = self.mean / (1 - 0.9**self.count)
        square = self.square / (1 - 0.999**self.count)
        change = mean / (np.sqrt(square) + 1e-8) + self.weight_decay * vector
        return np.asarray(vector - learning_rate * change, dtype=np.float32)


def one_cycle(progress: float) -> float:
    """Return the factor of the peak learning rate: up over the first tenth, then a cosine to zero."""
    if progress < 0.1:
        return progress / 0.1
    return float(0.5 * (1 + np.cos(np.pi * (progress - 0.1) / 0.9)))
