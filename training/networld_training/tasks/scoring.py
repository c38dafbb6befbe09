"""Normalised scores: 0 is what random does, 100 what the expert does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from networld_runtime.errors import DataError


def normalised_score(
    values: npt.ArrayLike, random: float, expert: float
) -> npt.NDArray[np.float64]:
    """Return 100 (values - random) / (expert - random), any shape; it may exceed 100.

    Args:
        values: A metric, in the unit of the references.
        random: The metric of the random policy on the same episodes.
        expert: The metric of the expert on the same episodes.

    Raises:
        DataError: The references are equal or not finite.
    """
    gap = expert - random
    if not np.isfinite(gap) or gap == 0:
        raise DataError("score", f"random is {random}, expert {expert}; expected two finite values")
    return np.asarray(100 * (np.asarray(values, dtype=np.float64) - random) / gap)
