"""Attachment: the strongest cell first, then another only beyond the margin."""

from __future__ import annotations

import numpy as np
import pytest

from networld_training.radio.attachment import hand_over, strongest_cell


def test_the_strongest_cell_serves_at_first() -> None:
    gain = np.array([[[0.1, 0.3, 0.2], [5.0, 1.0, 4.0]]])
    assert strongest_cell(gain).tolist() == [[1, 0]]


@pytest.mark.parametrize(("better_db", "cell"), [(2.9, 0), (3.1, 1)])
def test_a_user_changes_beyond_the_margin_only(better_db: float, cell: int) -> None:
    gain = np.array([[[1.0, 10 ** (better_db / 10), 0.5]]])
    serving = np.zeros((1, 1), dtype=np.int64)
    assert hand_over(serving, gain).tolist() == [[cell]]
    assert hand_over(serving, gain, margin_db=0.0).tolist() == [[1]]
    assert gain[0, 0, 0] == 1.0
    assert serving.tolist() == [[0]]
