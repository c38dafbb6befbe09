"""All cells that are seen at a broker or in a recording."""

from __future__ import annotations

import threading
from collections import Counter

from networld_runtime.mesh.topics import NAME_PATTERN, PROTOCOL_VERSION
from networld_training.mesh.mesh_report import MeshReport, row_of
from networld_training.mesh.seen_cell import SeenCell
from networld_training.mesh.told import LARGEST_BYTES

ALL_SITES = "+"
MOST_CELLS = 4096
TOLD = ("state", "birth", "status")
OTHERS = ("log", "command", "report", "observation", "action")
_PREFIX = ["networld", f"v{PROTOCOL_VERSION}"]


def filters(site: str, all_topics: bool) -> list[str]:
    """Return the MQTT filters of what is looked at: messages and what cells tell, or all there is."""
    leaves = ("message", *TOLD, *(OTHERS if all_topics else ()))
    return ["/".join([*_PREFIX, site, "+", leaf]) for leaf in leaves]


class SeenMesh:
    """Counts what passes; the network thread calls `take`, whoever draws calls `look`.

    Attributes:
        foreign: Payloads that belong to no cell: `topic` (no topic of a cell), `too_many` (more cells than
            are kept), `size` (what a cell tells is too large).
        other_bytes: Payloads of the other topics of cells, such as logs and observations.
    """

    def __init__(self) -> None:
        self.foreign: Counter[str] = Counter()
        self.other_bytes = 0
        self._lock = threading.Lock()
        self._cells: dict[tuple[str, str], SeenCell] = {}
        self._topics: dict[str, tuple[SeenCell, str]] = {}

    def take(self, topic: str, payload: bytes, retained: bool, now_s: float) -> None:
        """Count a payload that arrived `now_s` after the watch began."""
        with self._lock:
            known = self._topics.get(topic) or self._meet(topic, bool(payload), now_s)
            if known is None:
                return
            cell, leaf = known
            if leaf == "message":
                if not retained:  # a message that a broker kept says nothing about now
                    cell.take_message(payload, now_s)
            elif leaf in OTHERS:
                self.other_bytes += len(payload)
            elif len(payload) > LARGEST_BYTES[leaf]:
                self.foreign["size"] += 1
            else:
                cell.take_told(leaf, payload)

    def look(self, now_s: float, connected: bool = True) -> MeshReport:
        """Return what is known now, `now_s` after the watch began."""
        with self._lock:
            rows = [row_of(self._cells[key], now_s) for key in sorted(self._cells, key=_natural)]
            return MeshReport(
                seconds=now_s,
                connected=connected,
                cells=tuple(rows),
                foreign=dict(self.foreign),
                other_bytes=self.other_bytes,
            )

    def _meet(
        self, topic: str, payload_is_there: bool, now_s: float
    ) -> tuple[SeenCell, str] | None:
        levels = topic.split("/")
        names, leaf = levels[2:4], levels[-1]
        if (
            len(levels) != 5
            or levels[:2] != _PREFIX
            or not all(NAME_PATTERN.fullmatch(name) for name in names)
            or leaf not in ("message", *TOLD, *OTHERS)
        ):
            self.foreign["topic"] += 1
            return None
        key = names[0], names[1]
        cell = self._cells.get(key)
        if cell is None:
            if not payload_is_there:  # what was deleted of a cell that is not known
                return None
            if len(self._cells) >= MOST_CELLS:
                self.foreign["too_many"] += 1
                return None
            cell = self._cells[key] = SeenCell(*key, first_s=now_s)
        self._topics[topic] = cell, leaf
        return cell, leaf


def _natural(key: tuple[str, str]) -> tuple[str, str, int, str]:
    """Sort `cell-10` behind `cell-9`."""
    stem = key[1].rstrip("0123456789")
    digits = key[1][len(stem) :]
    return key[0], stem, int(digits or 0), digits
