"""Scores by hand."""

from __future__ import annotations

import numpy as np
import pytest

from networld_runtime.errors import DataError
from networld_training.tasks.scoring import normalised_score


def test_scores_by_hand() -> None:
    scores = normalised_score([1.0, 2.0, 3.0, 4.0], random=1.0, expert=3.0)
    assert scores == pytest.approx([0, 50, 100, 150])


@pytest.mark.parametrize("expert", [1.0, np.nan, np.inf])
def test_references_must_differ(expert: float) -> None:
    with pytest.raises(DataError, match="random is 1"):
        normalised_score([1.0], random=1.0, expert=expert)
