"""What is known of a mesh at one moment: a row for each cell, and sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from networld_training.mesh.seen_cell import SeenCell

REPORT_VERSION = 1


@dataclass(frozen=True)
class CellRow:
    """One cell at one moment.

    Attributes:
        site: Its site.
        cell: Its name.
        task: What it does; None if its birth was not seen.
        state: `online`, `offline`, `lost`, `silent`, `removed` or `unknown`.
        age_s: Since its last message arrived; None if there was none.
        messages: How many arrived.
        message_bytes: Their payloads together.
        messages_per_s: In the last seconds.
        bytes_per_s: Payload in the last seconds.
        gaps: Slots that are missing between its messages.
        late: Messages that were repeated or overtaken.
        restarts: How often its epoch has grown.
        rejected: What it rejected of its neighbours, by its own words: counts by reason of each neighbour.
        unreadable: What could not be read of it here.
        heard: Neighbours in its last mean field, by its own words.
        neighbours: Its neighbours; None if its birth was not seen.
        contract: Tag of the contract of its messages, as hexadecimal digits.
        sealed: Whether its messages carry authentication tags.
        ready: Whether it is ready, by its own words.
        deadlines_missed: Slots in which it was late, by its own words.
    """

    site: str
    cell: str
    task: str | None
    state: str
    age_s: float | None
    messages: int
    message_bytes: int
    messages_per_s: float
    bytes_per_s: float
    gaps: int
    late: int
    restarts: int
    rejected: Mapping[str, Mapping[str, int]]
    unreadable: Mapping[str, int]
    heard: int | None
    neighbours: tuple[str, ...] | None
    contract: str | None
    sealed: bool
    ready: bool | None
    deadlines_missed: int | None

    @property
    def bytes_per_message(self) -> float | None:
        """Mean payload of a message; None if there was none."""
        return self.message_bytes / self.messages if self.messages else None

    @property
    def rejects(self) -> Counter[str]:
        """What it rejected, by reason."""
        sums: Counter[str] = Counter()
        for counts in self.rejected.values():
            sums.update(counts)
        return sums


@dataclass(frozen=True)
class MeshReport:
    """A mesh at one moment.

    Attributes:
        seconds: How long it was watched, or how much of a recording was played.
        connected: Whether the broker is believed to be there.
        cells: The cells, by site and name.
        foreign: Payloads that belong to no cell, by reason.
        other_bytes: Payloads of other topics, if those are watched.
    """

    seconds: float
    connected: bool
    cells: tuple[CellRow, ...]
    foreign: Mapping[str, int]
    other_bytes: int = 0

    @property
    def states(self) -> Counter[str]:
        """How many cells are in each state."""
        return Counter(row.state for row in self.cells)

    @property
    def messages_per_s(self) -> float:
        """Messages of all cells in the last seconds."""
        return sum(row.messages_per_s for row in self.cells)

    @property
    def bytes_per_s(self) -> float:
        """Payload of all cells in the last seconds."""
        return sum(row.bytes_per_s for row in self.cells)

    @property
    def speaking(self) -> int:
        """Cells that have sent a message in the last seconds."""
        return sum(row.messages_per_s > 0 for row in self.cells)

    @property
    def gaps(self) -> int:
        """Missing slots of all cells."""
        return sum(row.gaps for row in self.cells)

    @property
    def rejects(self) -> Counter[str]:
        """What all cells rejected, by reason."""
        sums: Counter[str] = Counter()
        for row in self.cells:
            sums.update(row.rejects)
        return sums

    def of_sites(self) -> dict[str, MeshReport]:
        """Return a report for each site."""
        sites: dict[str, list[CellRow]] = {}
        for row in self.cells:
            sites.setdefault(row.site, []).append(row)
        return {
            site: MeshReport(self.seconds, self.connected, tuple(rows), {})
            for site, rows in sites.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON data; mean rates over the whole time beside the last ones."""
        seconds = max(self.seconds, 1e-3)
        messages = sum(row.messages for row in self.cells)
        message_bytes = sum(row.message_bytes for row in self.cells)
        cells = len(self.cells)
        return {
            "version": REPORT_VERSION,
            "seconds": round(self.seconds, 3),
            "connected": self.connected,
            "totals": {
                "cells": cells,
                "states": dict(sorted(self.states.items())),
                "messages": messages,
                "message_bytes": message_bytes,
                "mean_messages_per_s": round(messages / seconds, 3),
                "mean_bytes_per_s": round(message_bytes / seconds, 3),
                "mean_bytes_per_s_per_cell": round(message_bytes / seconds / max(cells, 1), 3),
                "messages_per_s": round(self.messages_per_s, 3),
                "bytes_per_s": round(self.bytes_per_s, 3),
                "gaps": self.gaps,
                "rejects": dict(sorted(self.rejects.items())),
                "other_bytes": self.other_bytes,
            },
            "foreign": dict(sorted(self.foreign.items())),
            "cells": [
                {
                    **asdict(row),
                    "age_s": None if row.age_s is None else round(row.age_s, 3),
                    "messages_per_s": round(row.messages_per_s, 3),
                    "bytes_per_s": round(row.bytes_per_s, 3),
                }
                for row in self.cells
            ],
        }


def row_of(cell: SeenCell, now_s: float) -> CellRow:
    """Return a cell as it is now; takes a sample for its rates."""
    state, birth, status = cell.state(now_s), cell.birth(), cell.status()
    messages_per_s, bytes_per_s = cell.rates(now_s)
    return CellRow(
        site=cell.site,
        cell=cell.name,
        task=None if birth is None else birth.task,
        state=state,
        age_s=None if cell.arrived_s is None else max(now_s - cell.arrived_s, 0.0),
        messages=cell.messages,
        message_bytes=cell.message_bytes,
        messages_per_s=messages_per_s,
        bytes_per_s=bytes_per_s,
        gaps=cell.gaps,
        late=cell.late,
        restarts=cell.restarts,
        rejected={} if status is None else {key: dict(one) for key, one in status.rejected.items()},
        unreadable=dict(cell.unreadable),
        heard=None if status is None else status.heard,
        neighbours=None if birth is None else birth.neighbours,
        contract=None if cell.contract is None else cell.contract.hex(),
        sealed=cell.sealed,
        ready=None if status is None else status.ready,
        deadlines_missed=None if status is None else status.deadlines_missed,
    )
