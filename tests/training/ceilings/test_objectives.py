"""What ceilings are trained for, by task."""

from __future__ import annotations

import pytest

from networld_runtime.errors import ConfigError
from networld_training.ceilings.objectives import OBJECTIVES, find_objective


def test_objectives_are_found_by_task_and_others_are_told() -> None:
    assert find_objective("sched") is OBJECTIVES["sched"]
    with pytest.raises(ConfigError, match="task 'carrier': has no objective of a ceiling"):
        find_objective("carrier")
