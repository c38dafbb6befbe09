"""A radio of one's own: it plays observations from a file, slot by slot, and writes actions to another."""

from __future__ import annotations

import json
import time
from collections import Counter

import numpy as np

from networld_runtime.contract import FloatArray
from networld_runtime.radio import Observation, RadioSetup


class TraceRadio:
    """Plays a trace once; the newest observation wins, as it does on the air.

    Args:
        setup: Of its options, `trace` is a file with a JSON object for each slot, `actions` the one to write.
    """

    def __init__(self, setup: RadioSetup) -> None:
        self.counters: Counter[str] = Counter()
        self._trace = [json.loads(line) for line in setup.path("trace").read_text().splitlines()]
        self._actions = setup.path("actions").open("w", buffering=1)  # a line is there at once
        self._slot_s = setup.slot_s
        self._next = 0
        self._first_s: float | None = None

    def observe(self, timeout_s: float) -> Observation | None:
        """Wait for the next slot, up to `timeout_s`; None if it has not begun, or the trace is over."""
        if self._first_s is None:
            self._first_s = time.monotonic()
        begin_s = self._first_s + self._next * self._slot_s
        over = self._next >= len(self._trace)
        time.sleep(timeout_s if over else np.clip(begin_s - time.monotonic(), 0, timeout_s))
        if over or time.monotonic() < begin_s:
            return None
        while self._next + 1 < len(self._trace) and time.monotonic() >= begin_s + self._slot_s:
            self.counters["overtaken"] += 1
            self._next += 1
            begin_s += self._slot_s
        entry = self._trace[self._next]
        self._next += 1
        return Observation(
            episode=entry["episode"],
            slot=entry["slot"],
            values=np.array(entry["values"], dtype=np.float32),
            utility=entry["utility"],
            arrived_s=begin_s,
            deadline_s=begin_s + self._slot_s,
        )

    def act(self, observation: Observation, action: FloatArray) -> None:
        """Write the action and how long after the slot's beginning it came."""
        after_ms = 1000 * (time.monotonic() - observation.arrived_s)
        entry = {"episode": observation.episode, "slot": observation.slot}
        line = {**entry, "action": action.tolist(), "after_ms": round(after_ms, 2)}
        self._actions.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Close the file of actions."""
        self._actions.close()
