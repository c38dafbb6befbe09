"""What is seen of one cell from outside: its messages are counted, what it tells is kept for a reader."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from networld_runtime.errors import MessageError
from networld_runtime.mesh.peek import peek
from networld_training.mesh.told import Birth, State, Status, read_birth, read_state, read_status

LARGEST_GAP_SLOTS = 1000
"""A slot that is further ahead is no gap: somebody made it up, or the radio began anew."""
WINDOW_S = 5.0
SAMPLE_S = 0.25
SHORTEST_S = 1.0
"""A rate of less than this would jump about."""
SILENT_S = 2.0
SILENT_SLOTS = 10

Told = TypeVar("Told")


@dataclass
class SeenCell:
    """One cell as it is seen from outside.

    Attributes:
        site: Its site.
        name: Its name.
        first_s: When it was first seen; all times by the clock of whoever looks on.
        messages: How many messages of it arrived.
        message_bytes: Their payloads together.
        arrived_s: When the last of them arrived.
        gaps: Slots that are missing between its messages.
        late: Messages that were not newer than one before: repeated, or overtaken.
        restarts: How often its epoch has grown.
        unreadable: Payloads that could not be read, by topic and reason.
        contract: Tag of the contract of its last message.
        sealed: Whether its last message carried authentication tags.
        removed: Whether its retained state was deleted at the broker.
    """

    site: str
    name: str
    first_s: float
    messages: int = 0
    message_bytes: int = 0
    arrived_s: float | None = None
    gaps: int = 0
    late: int = 0
    restarts: int = 0
    unreadable: Counter[str] = field(default_factory=Counter)
    contract: bytes | None = None
    sealed: bool = False
    removed: bool = False
    _newest: tuple[int, int] | None = None
    _told: dict[str, bytes] = field(default_factory=dict)
    _read: dict[str, tuple[bytes, Any]] = field(default_factory=dict)
    _samples: deque[tuple[float, int, int]] = field(default_factory=deque)

    def take_message(self, payload: bytes, now_s: float) -> None:
        """Count a message."""
        self.messages += 1
        self.message_bytes += len(payload)
        self.arrived_s = now_s
        try:
            header = peek(payload)
        except MessageError as error:
            self.unreadable[f"message {error.reason}"] += 1
            return
        self.contract, self.sealed = header.contract, header.tags is not None
        newest, self._newest = self._newest, (header.epoch, header.slot)
        if newest is None:
            return
        if header.epoch > newest[0]:
            self.restarts += 1
        elif self._newest <= newest:
            self.late += 1
            self._newest = newest
        elif header.slot - newest[1] <= LARGEST_GAP_SLOTS:
            self.gaps += header.slot - newest[1] - 1

    def take_told(self, leaf: str, payload: bytes) -> None:
        """Keep the newest payload of `state`, `birth` or `status`; it is read when somebody looks."""
        if payload:
            self._told[leaf] = payload
        if leaf == "state":
            self.removed = not payload

    def state(self, now_s: float) -> str:
        """Return `online`, `offline`, `lost`, `silent`, `removed` or, if it has told none, `unknown`."""
        told = self._look("state", read_state)
        birth = self.birth()
        if self.removed:
            return "removed"
        # The will of a former boot may come after the birth of the next one.
        outdated = told is not None and birth is not None and told.epoch < birth.epoch
        if told is not None and told.state != "online" and not outdated:
            return told.state
        slot_s = 0.0 if birth is None else birth.slot_s
        since_s = self.first_s if self.arrived_s is None else self.arrived_s
        if now_s - since_s > max(SILENT_S, SILENT_SLOTS * slot_s):
            return "silent"
        return "unknown" if told is None else "online"

    def birth(self) -> Birth | None:
        """Return what it told at its birth, None if that cannot be read."""
        return self._look("birth", read_birth)

    def status(self) -> Status | None:
        """Return how it is in its own words, None if that cannot be read."""
        return self._look("status", read_status)

    def told_state(self) -> State | None:
        """Return what its state says, None if that cannot be read."""
        return self._look("state", read_state)

    def rates(self, now_s: float) -> tuple[float, float]:
        """Return messages/s and bytes/s of the last seconds; call it now and then, it takes samples."""
        samples = self._samples
        if not samples:
            samples.append((self.first_s, 0, 0))
        while len(samples) > 1 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
        then_s, messages, message_bytes = samples[0]
        if now_s - samples[-1][0] >= SAMPLE_S:
            samples.append((now_s, self.messages, self.message_bytes))
        passed_s = max(now_s - then_s, SHORTEST_S)
        return (
            (self.messages - messages) / passed_s,
            (self.message_bytes - message_bytes) / passed_s,
        )

    def _look(self, leaf: str, read: Callable[[bytes], Told]) -> Told | None:
        payload = self._told.get(leaf)
        if payload is None:
            return None
        before = self._read.get(leaf)
        if before is None or before[0] is not payload:
            found = None
            try:
                found = read(payload)
            except MessageError as error:
                self.unreadable[f"{leaf} {error.reason}"] += 1
            before = self._read[leaf] = payload, found
        result: Told | None = before[1]
        return result
