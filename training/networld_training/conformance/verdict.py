"""How a check says what it found, and that of an array."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class ViolationError(Exception):
    """What is checked does not do what the check demands."""


class NotApplicableError(Exception):
    """There is nothing to check; says why."""


def check_array(
    what: str, values: object, shape: tuple[int, ...], dtype: npt.DTypeLike | None = None
) -> None:
    """Demand an array of a shape with finite values.

    Args:
        what: Names it in the message.
        values: What should be one.
        shape: The shape.
        dtype: Its type; None takes any.

    Raises:
        ViolationError: It is something else; says what, or where the first value that is not finite is.
    """
    if not isinstance(values, np.ndarray) or values.shape != shape:
        found = getattr(values, "shape", type(values).__name__)
        raise ViolationError(f"{what}: {found}, expected an array {shape}")
    if dtype is not None and values.dtype != dtype:
        raise ViolationError(f"{what}: {values.dtype}, expected {np.dtype(dtype)}")
    if not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ViolationError(f"{what}: {values[place]} at {list(place)}, expected finite numbers")
