"""What a cell tells of itself stays within its bounds."""

from __future__ import annotations

from networld_runtime.report import MOST_MISSING, Statistics


def test_missing_neighbours_are_told_of_a_bounded_number_of_cells() -> None:
    statistics = Statistics()
    for index in range(MOST_MISSING + 10):
        statistics.add_missing(["cell-0", f"cell-{index}"])
    told = statistics.to_json()["slots_missing"]
    assert len(told) == MOST_MISSING
    assert told["cell-0"] == MOST_MISSING + 11
