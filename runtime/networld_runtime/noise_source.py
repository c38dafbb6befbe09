"""Noise that plans start from, drawn before the slot that needs it where there is time."""

from __future__ import annotations

import numpy as np

from networld_runtime.contract import FloatArray


class NoiseSource:
    """Unit normal noise of one cell.

    What is drawn ahead is what would have been drawn later: plans do not depend on whether there was time.

    Args:
        seed: Seed or generator.
    """

    def __init__(self, seed: int | np.random.Generator) -> None:
        self._random = np.random.default_rng(seed)
        self._ready: FloatArray | None = None
        self._shape: tuple[int, ...] | None = None

    def draw(self, shape: tuple[int, ...]) -> FloatArray:
        """Return noise of a shape."""
        ready, self._ready, self._shape = self._ready, None, shape
        if ready is not None and ready.shape == shape:
            return ready
        return self._random.standard_normal(shape, dtype=np.float32)

    def draw_ahead(self) -> None:
        """Draw what will be asked for next, if it is of the shape that was asked for last."""
        if self._ready is None and self._shape is not None:
            self._ready = self._random.standard_normal(self._shape, dtype=np.float32)
