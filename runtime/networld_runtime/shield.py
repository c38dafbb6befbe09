"""What every action passes before the radio: finite, allowed, no further from the last one than may be."""

from __future__ import annotations

from collections import Counter

import numpy as np

from networld_runtime.contract import ActionBins, BoolArray, Contract, FloatArray

STILL_SLOTS = 3
"""So long an action is held as it was."""
FADE = 0.8
"""Share of the distance to the safe action that is left after another slot."""
LONGEST_HOLD_SLOTS = 25
"""Then only the safe action is left."""


class Shield:
    """Checks actions, limits how fast they change, and holds the last one where there is no new one.

    Attributes:
        counters: `limited`: actions that wanted to change faster than they may.

    Args:
        contract: Says what is allowed, and what is safe.
        largest_change: How much a number may change in a slot, in its own unit; switching off and on is no
            change of a number. None for no limit.
    """

    def __init__(self, contract: Contract, largest_change: float | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self.largest_change = largest_change
        self._contract = contract
        self._safe = np.array(contract.safe_action, dtype=np.float32)
        self._held = self._done = self._safe  # what is held, and what was done last
        self._acted = False
        self._held_slots = 0
        self._numbers = [
            (index, component)
            for index, component in enumerate(contract.actions)
            if isinstance(component, ActionBins)
        ]

    def passed(self, action: FloatArray, mask: BoolArray | None) -> FloatArray | None:
        """Return an action `[C]` as it may be taken; None if it is none that a cell may take.

        Args:
            action: Native values.
            mask: Valid choices `[mask_size]`; None if all are.
        """
        if not self._contract.allows(action, mask):
            return None
        action = self._limited(action)
        self._held, self._acted, self._held_slots = action, True, 0
        return action

    def hold(self, mask: BoolArray | None) -> tuple[FloatArray, bool]:
        """Return what to do without a new action, and whether that is more than the safe one.

        The last action stays as it was for a moment; then its numbers fade to those of the safe one.
        """
        self._held_slots += 1
        if self._held_slots > STILL_SLOTS:
            self._held = self._faded(self._held)
        tired = self._held_slots > LONGEST_HOLD_SLOTS
        if tired or not self._acted or not self._contract.allows(self._held, mask):
            return self._limited(self._safe), False
        return self._limited(self._held), True

    def _limited(self, action: FloatArray) -> FloatArray:
        """Return an action as close as may be to the last one, which it is from now on."""
        if self.largest_change is not None and self._acted:
            limited = action.copy()
            for index, bins in self._numbers:
                before = self._done[index]
                if action[index] != bins.off and before != bins.off:
                    low, high = before - self.largest_change, before + self.largest_change
                    limited[index] = np.clip(action[index], low, high)
            self.counters["limited"] += bool((limited != action).any())
            action = limited
        self._done = action
        return action

    def _faded(self, action: FloatArray) -> FloatArray:
        faded = action.copy()
        for index, bins in self._numbers:
            safe = self._safe[index]
            if action[index] != bins.off and safe != bins.off:
                faded[index] = safe + np.float32(FADE) * (action[index] - safe)
        return faded
