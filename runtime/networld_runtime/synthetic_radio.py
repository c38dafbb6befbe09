"""A radio that measures nothing: observations at random, slot after slot, for load tests of a mesh.

    [radio]
    kind = "synthetic"

Slots are counted from midnight UTC, so that cells on computers with synchronised clocks agree on them. From
then on the monotonic clock counts alone.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable

import numpy as np

from networld_runtime.contract import FloatArray
from networld_runtime.errors import ConfigError
from networld_runtime.radio import Observation, RadioSetup
from networld_runtime.realtime import monotonic_s

SYNTHETIC = "synthetic"
OPTIONS = ("spread", "episode_slots")
EPISODE_SLOTS = 1000
DAY_S = 86_400


class SyntheticRadio:
    """`Radio` that draws its observations.

    Options in `[radio.options]`: `spread`, the share of a slot over which the slots of the cells begin, 0 to
    0.9 (default 0: all at once), each cell at a place of its own that its name decides; `episode_slots`, how
    long an episode is (default 1000).

    Args:
        setup: What it is made from.
        wall_clock: Seconds since 1970.
        clock: Monotonic clock in seconds.
        sleep: Waits for a number of seconds.

    Raises:
        ConfigError: An option is unknown or out of range; lists all.
    """

    def __init__(
        self,
        setup: RadioSetup,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = monotonic_s,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """`received`, and `skipped`: slots that were over before they were asked for."""
        spread, self._episode_slots = _read(setup)
        place = zlib.crc32(setup.cell.encode()) / 2**32
        self._random = np.random.default_rng(zlib.crc32(setup.cell.encode()))
        self._slot_s = setup.slot_s
        self._clock, self._sleep = clock, sleep
        # When slot 0 began, by the monotonic clock.
        self._origin_s = clock() - wall_clock() % DAY_S + spread * place * setup.slot_s
        self._slot = self._present()
        features = setup.contract.features
        self._low = np.array([feature.low for feature in features])
        self._span = np.array([feature.high for feature in features]) - self._low
        self._reward = (setup.contract.reward_low, setup.contract.reward_high)

    @property
    def due_s(self) -> float:
        """When the next observation is there, on the clock of `realtime.monotonic_s`."""
        return self._origin_s + (self._slot + 1) * self._slot_s

    def observe(self, timeout_s: float) -> Observation | None:
        """Return the observation of a slot that has begun, None if none does in time."""
        left_s = self.due_s - self._clock()
        if left_s > 0:
            self._sleep(min(left_s, timeout_s))
            if left_s > timeout_s:
                return None
        slot = max(self._present(), self._slot + 1)
        self.counters["skipped"] += slot - self._slot - 1
        self.counters["received"] += 1
        self._slot = slot
        begun_s = self._origin_s + slot * self._slot_s
        return Observation(
            episode=slot // self._episode_slots,
            slot=slot,
            values=(self._low + self._span * self._random.random(len(self._low))).astype(
                np.float32
            ),
            utility=float(self._random.uniform(*self._reward)),
            arrived_s=self._clock(),
            deadline_s=begun_s + self._slot_s,
        )

    def act(self, observation: Observation, action: FloatArray) -> None:
        """Do nothing: there is nobody to transmit to."""

    def close(self) -> None:
        """Do nothing."""

    def _present(self) -> int:
        return int((self._clock() - self._origin_s) // self._slot_s)


def _read(setup: RadioSetup) -> tuple[float, int]:
    problems = [
        f"{name}: unknown, expected one of {', '.join(OPTIONS)}"
        for name in setup.options
        if name not in OPTIONS
    ]
    spread = setup.options.get("spread", 0.0)
    if isinstance(spread, bool) or not isinstance(spread, int | float) or not 0 <= spread <= 0.9:
        problems.append(f"spread = {spread!r}: expected a number from 0 to 0.9")
    slots = setup.options.get("episode_slots", EPISODE_SLOTS)
    if type(slots) is not int or not 1 <= slots <= 1 << 30:
        problems.append(f"episode_slots = {slots!r}: expected an integer from 1 to {1 << 30}")
    if problems:
        raise ConfigError("radio.options", problems)
    return float(spread), slots
