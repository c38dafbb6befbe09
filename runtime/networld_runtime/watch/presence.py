"""Says once that something is lost, and once that it is back."""

from __future__ import annotations

import logging
from collections.abc import Collection

_log = logging.getLogger(__name__)


class Presence:
    """Who was there when last looked at.

    Args:
        lost: Template of the message about a loss; takes the name.
        back: Template of the message about a return; takes the name.
    """

    def __init__(self, lost: str, back: str) -> None:
        self._lost, self._back = lost, back
        self._away: set[str] = set()

    @property
    def away(self) -> list[str]:
        """Names of those that are lost now."""
        return sorted(self._away)

    def keep(self, names: Collection[str]) -> None:
        """Forget all others: nobody looks for them any more."""
        self._away.intersection_update(names)

    def see(self, name: str, present: bool) -> None:
        """Note whether `name` is there; only a change is logged."""
        if present and name in self._away:
            self._away.discard(name)
            _log.warning(self._back, name)
        elif not present and name not in self._away:
            self._away.add(name)
            _log.warning(self._lost, name)
