"""Which cell serves a user: the strongest on average, kept until another is better by a margin."""

from __future__ import annotations

import numpy as np

from networld_training.radio.arrays import FloatArray, IntArray

HANDOVER_MARGIN_DB = 3.0


def strongest_cell(large_scale_gain: FloatArray) -> IntArray:
    """Return the cell that each user receives best `[E, U]`, from gains `[E, U, K]`."""
    return np.asarray(np.argmax(large_scale_gain, axis=-1))


def hand_over(
    serving_cell: IntArray, large_scale_gain: FloatArray, margin_db: float = HANDOVER_MARGIN_DB
) -> IntArray:
    """Return the cells after handover `[E, U]`.

    Args:
        serving_cell: Cells before it `[E, U]`.
        large_scale_gain: Linear gains without fading `[E, U, K]`.
        margin_db: By how much another cell must be better than the serving one.
    """
    candidates = np.array(large_scale_gain)
    serving = serving_cell[..., None]
    held = np.take_along_axis(candidates, serving, axis=-1) * 10 ** (margin_db / 10)
    np.put_along_axis(candidates, serving, held, axis=-1)
    return np.asarray(np.argmax(candidates, axis=-1))
