"""A network of the scheduling task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from networld_training.tasks.network import Check, Network, whole


@dataclass(frozen=True)
class SchedNetwork(Network):
    """One network of the scheduling task; see `Network` for what all tasks share.

    Attributes:
        offered_mbit_s: Traffic that arrives per cell on average; every user has the same share, so that a
            crowded cell has more.
        file_bytes: Size of a file.
        buffer_files: Largest number of files that wait for a user; one more is dropped.
        waiting_files: Largest mean number of files that wait for a user at the start; an episode draws
            its own, uniform from 0.
        averaging: Weight of the present slot in a user's average rate.
    """

    name: str = "umi200"
    slot_s: float = 0.01
    slots: int = 200
    large_scale_slots: int = 10
    offered_mbit_s: float = 19.2
    file_bytes: int = 100_000
    buffer_files: int = 12
    waiting_files: float = 1.0
    averaging: float = 0.05

    def _checks(self) -> Iterator[Check]:
        yield from super()._checks()
        yield "offered_mbit_s", 0 < self.offered_mbit_s <= 1e4, "more than 0, at most 10000"
        yield whole(self, "file_bytes", 1, 10**9)
        yield whole(self, "buffer_files", 1, 1000)
        yield "waiting_files", 0 <= self.waiting_files <= 1000, "0 to 1000"
        yield "averaging", 0 < self.averaging < 1, "between 0 and 1"

    @property
    def file_bits(self) -> int:
        """Size of a file in bits."""
        return 8 * self.file_bytes

    @property
    def files_per_slot(self) -> float:
        """Mean number of files that arrive per user and slot."""
        bits = self.offered_mbit_s * 1e6 / self.users_per_cell * self.slot_s
        return bits / self.file_bits
