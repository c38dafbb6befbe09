"""Whether a bundle is any good, by the slots that it acts in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Probation:
    """Counts the slots of a bundle that has yet to prove itself.

    A slot is bad if its deadline was missed or something else stood in for the planner.

    Attributes:
        slots: Slots that it must act in.
        bad_slots: Bad ones among them with which it fails.
        seen: Slots so far.
        bad: Bad ones so far.
    """

    slots: int
    bad_slots: int
    seen: int = 0
    bad: int = 0

    def count(self, slots: int, missed: int, failures: int) -> None:
        """Count slots, the deadlines missed in them, and those in which something else stood in."""
        self.seen += slots
        self.bad += min(slots, missed + failures)

    @property
    def failed(self) -> bool:
        """Whether it is no good; known as soon as it is."""
        return self.bad >= self.bad_slots

    @property
    def passed(self) -> bool:
        """Whether it has proven itself."""
        return not self.failed and self.seen >= self.slots

    def __str__(self) -> str:
        return f"{self.bad} bad slots of {self.seen}"
