"""How a mesh went on over time, in a memory that does not grow with the recording."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from networld_training.mesh.mesh_report import MeshReport

BINS = 240
MOST_CELLS = 512
"""More would be no picture any more."""

FloatArray = npt.NDArray[np.float64]


class History:
    """The newest report of each of a number of equal times.

    Args:
        duration_s: How long all of it takes.

    Attributes:
        last: The newest report of all; None before the first.
    """

    def __init__(self, duration_s: float) -> None:
        self.duration_s = max(duration_s, 1e-3)
        self.last: MeshReport | None = None
        self._names: dict[tuple[str, str], None] = {}
        self._bins: dict[int, MeshReport] = {}

    def add(self, report: MeshReport) -> None:
        """Take a report; it replaces one of nearly the same time."""
        place = min(int(BINS * report.seconds / self.duration_s), BINS - 1)
        self._bins[place] = report
        self.last = report
        for row in report.cells[:MOST_CELLS]:
            self._names.setdefault((row.site, row.cell))

    @property
    def times_s(self) -> FloatArray:
        """Times of the reports `[T]`."""
        return np.array([self._bins[place].seconds for place in sorted(self._bins)])

    @property
    def cells(self) -> list[tuple[str, str]]:
        """Site and name of the cells `[N]`, in the order of the last report."""
        if self.last is None:
            return []
        known = [(row.site, row.cell) for row in self.last.cells]
        return [one for one in known if one in self._names]

    def values(self, attribute: str) -> FloatArray:
        """Return an attribute of `CellRow` of all cells over time `[N, T]`; NaN where there is none."""
        index = {one: place for place, one in enumerate(self.cells)}
        result = np.full((len(index), len(self._bins)), np.nan)
        for column, place in enumerate(sorted(self._bins)):
            for row in self._bins[place].cells:
                value = getattr(row, attribute)
                if (row.site, row.cell) in index and value is not None:
                    result[index[row.site, row.cell], column] = value
        return result

    def rejects(self) -> dict[str, FloatArray]:
        """Return how many messages were rejected by all cells until each time `[T]`, by reason."""
        reports = [self._bins[place] for place in sorted(self._bins)]
        reasons = sorted({reason for report in reports for reason in report.rejects})
        return {
            reason: np.array([float(report.rejects[reason]) for report in reports])
            for reason in reasons
        }

    def gaps(self) -> FloatArray:
        """Return how many slots were missing of all cells until each time `[T]`."""
        return np.array([float(self._bins[place].gaps) for place in sorted(self._bins)])
