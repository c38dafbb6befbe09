"""What a store remembers, as one small file that is replaced in one step; and every way it may change.

This file alone says which bundle is in use: a process that is killed at any point leaves the record of before
or of after. The symbolic links `current` and `previous` show it, and are put right with the next change; they
are read only where a cell starts and finds the record damaged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

FORMAT = 1
FAILED_STARTS = 3
"""Starts of a bundle on probation that may end badly; at the next one the bundle before is taken."""
LONGEST_REASON = 300
MOST_FAILED = 32
MAXIMUM_RECORD_BYTES = 1 << 16

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """What a store remembers.

    Attributes:
        current: Digest of the bundle in use; None before the first activation.
        previous: Digest of the bundle to go back to, one that has proven itself; None if there is none.
        lowest_version: Version below which nothing is installed or activated any more.
        starts: Starts of the current bundle on probation that have not ended well; None once it has proven
            itself.
        failed: Why bundles were taken back, by digest.
    """

    current: str | None = None
    previous: str | None = None
    lowest_version: int = 0
    starts: int | None = None
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def on_probation(self) -> bool:
        """Whether the current bundle has yet to prove itself."""
        return self.starts is not None

    @property
    def proven(self) -> str | None:
        """The newest bundle that has proven itself, None if none has."""
        return self.previous if self.on_probation else self.current

    def activated(self, digest: str) -> Record:
        """Return the record after a bundle was activated; a failure of it is forgotten."""
        failed = {one: why for one, why in self.failed.items() if one != digest}
        if digest == self.proven:
            previous = self.previous if not self.on_probation else None
            return replace(self, current=digest, previous=previous, starts=None, failed=failed)
        return replace(self, current=digest, previous=self.proven, starts=0, failed=failed)

    def started(self) -> Record:
        """Return the record after a start was counted."""
        return self if self.starts is None else replace(self, starts=self.starts + 1)

    def forgiven(self) -> Record:
        """Return the record after a start ended well, or badly for no fault of the bundle's."""
        return self if self.starts is None else replace(self, starts=0)

    def committed(self, version: int) -> Record:
        """Return the record after the current bundle has proven itself."""
        return replace(self, starts=None, lowest_version=max(self.lowest_version, version))

    def taken_back(self, reason: str) -> Record:
        """Return the record after the current bundle failed and the previous one took its place.

        Raises:
            ValueError: There is no previous one.
        """
        if self.current is None or self.previous is None:
            raise ValueError("nothing to go back to")
        failed = {**self.failed, self.current: reason[:LONGEST_REASON]}
        kept = dict(list(failed.items())[-MOST_FAILED:])
        return replace(self, current=self.previous, previous=None, starts=None, failed=kept)

    def rolled_back(self) -> Record:
        """Return the record after a person went back; a bundle that had proven itself can be taken again.

        Raises:
            ValueError: There is no previous one.
        """
        if self.previous is None:
            raise ValueError("nothing to go back to")
        before = None if self.on_probation else self.current
        return replace(self, current=self.previous, previous=before, starts=None)

    def to_bytes(self) -> bytes:
        """Return the record as the file holds it."""
        return f"{json.dumps({'format': FORMAT, **asdict(self)}, indent=1)}\n".encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: The data is something else; says what.
        """
        try:
            found: dict[str, Any] = json.loads(data)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
        wanted = {"format", "current", "previous", "lowest_version", "starts", "failed"}
        if not isinstance(found, dict) or found.keys() != wanted:
            raise ValueError(f"expected an object of {', '.join(sorted(wanted))}")
        if found.pop("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        for key in ("current", "previous"):
            if found[key] is not None and not is_digest(found[key]):
                raise ValueError(f"{key} = {found[key]!r:.80}: expected a digest")
        for key in ("lowest_version", "starts"):
            value = found[key]
            if not (type(value) is int and value >= 0) and not (key == "starts" and value is None):
                raise ValueError(f"{key} = {value!r:.80}: expected a whole number, 0 or more")
        failed = found["failed"]
        if not isinstance(failed, dict) or not all(
            is_digest(digest) and isinstance(reason, str) for digest, reason in failed.items()
        ):
            raise ValueError("failed: expected reasons by digest")
        if found["current"] is None and (found["previous"], found["starts"]) != (None, None):
            raise ValueError("current = None, yet there is a previous bundle or a probation")
        return cls(**found)


def is_digest(value: object) -> bool:
    """Return whether a value is a SHA-256 in lower-case hexadecimal."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None
