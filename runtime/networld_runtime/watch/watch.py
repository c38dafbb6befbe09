"""What is known of a running cell: the loop publishes a snapshot, everyone else only reads it.

The loop calls `Watch.round` between slots: mostly one look at the clock, once a second a new snapshot. Nobody
changes a snapshot once it is there, so that no lock is shared with the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from networld_runtime.config import Config
from networld_runtime.mesh.transport import Transport
from networld_runtime.realtime import monotonic_s
from networld_runtime.report import software_version, to_bytes
from networld_runtime.watch.log_lines import utc_text
from networld_runtime.watch.presence import Presence
from networld_runtime.watch.threads import running_threads

_log = logging.getLogger(__name__)

SNAPSHOT_S = 1.0
STATUS_S = 5.0
LIVE_S = 5.0
LOST_S = 2.0
LOST_SLOTS = 10
RUNNING = "running"
STATUS_VERSION = 1


class Watched(Protocol):
    """What is watched: `agent.Agent`."""

    @property
    def slot(self) -> int | None:
        """The slot that the loop is in or was in last, None before the first."""
        ...

    def counters(self) -> dict[str, Any]:
        """Return all counters as plain JSON data."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """The cell at one moment; never changed once it is made.

    Attributes:
        phase: `loading`, `warming`, `connecting`, `running` or `stopping`.
        slot: The last slot.
        connected: Whether the broker is believed to be there.
        silent: Neighbours that are not heard, and `radio` if no observations come.
        counters: All counters of the loop.
        logs: Lines of the log, by what became of them.
    """

    phase: str = "loading"
    slot: int | None = None
    connected: bool = False
    silent: tuple[str, ...] = ()
    counters: Mapping[str, Any] = field(default_factory=dict)
    logs: Mapping[str, int] = field(default_factory=dict)


class Watch:
    """Keeps the newest snapshot of one cell and tells from it whether the cell lives and is ready.

    Args:
        config: The cell's configuration.
        log_counters: Gives the counters of the log.
        clock: Monotonic clock in seconds.

    Attributes:
        snapshot: The newest one.
        facts: What does not change while the cell runs: epoch, length of a slot, bundle, provider.
    """

    def __init__(
        self,
        config: Config,
        log_counters: Callable[[], Mapping[str, int]] = dict,
        clock: Callable[[], float] = monotonic_s,
    ) -> None:
        self.snapshot = Snapshot()
        self.facts: dict[str, Any] = {}
        self._config = config
        self._log_counters = log_counters
        self._clock = clock
        self._agent: Watched | None = None
        self._transport: Transport | None = None
        self._topic = ""
        self._software = software_version()
        self._began_s = clock()
        self._beat_s: float | None = None
        self._next_snapshot_s = self._next_status_s = self._later_s = 0.0
        self._told_ready: bool | None = None
        self._slots = -1
        self._observed_s = self._began_s
        self._lost_s = LOST_S
        self._neighbours = Presence("neighbour %s is silent", "neighbour %s is heard again")
        self._radio = Presence("no observations from the %s", "observations from the %s again")

    def enter(self, phase: str) -> None:
        """Say what the cell does now."""
        self.snapshot = Snapshot(phase, connected=self._connected(), logs=self._log_counters())

    def attach(self, agent: Watched, transport: Transport, topic: str, slot_s: float) -> None:
        """Watch an agent from now on and publish its status, retained, on a topic."""
        self._agent, self._transport, self._topic = agent, transport, topic
        self._lost_s = max(LOST_S, LOST_SLOTS * slot_s)

    def stagger(self, share: float) -> None:
        """Make the second snapshot later by a share of a second, and so all that follow.

        Cells of one process begin together; their snapshots must not fall into one slot for ever.
        """
        self._later_s = share * SNAPSHOT_S

    def round(self) -> None:
        """Note that the loop goes round; once a second make a snapshot. Never raises."""
        now_s = self._clock()
        if self._beat_s is None:
            self._began_s = self._observed_s = now_s
        self._beat_s = now_s
        if now_s < self._next_snapshot_s:
            return
        self._next_snapshot_s = now_s + SNAPSHOT_S + self._later_s
        self._later_s = 0.0
        try:
            self._take(RUNNING, now_s)
            ready = self.ready
            if ready is not self._told_ready or now_s >= self._next_status_s:
                self._tell(ready, now_s)
        except Exception:  # nothing that looks on may stop the loop
            _log.exception("no snapshot")

    def finish(self) -> None:
        """Publish a last status: the cell is stopping."""
        try:
            self._take("stopping", self._clock())
            self._tell(False, self._clock())
        except Exception:
            _log.exception("no last status")

    @property
    def age_s(self) -> float | None:
        """Seconds since the loop last went round, None before it began."""
        return None if self._beat_s is None else max(0.0, self._clock() - self._beat_s)

    @property
    def live(self) -> bool:
        """Whether the loop goes round, or has not begun yet."""
        age_s = self.age_s
        return age_s is None or age_s < LIVE_S

    @property
    def obstacles(self) -> list[str]:
        """Why the cell is not ready; empty if it is."""
        snapshot, age_s = self.snapshot, self.age_s
        reasons = []
        if snapshot.phase != RUNNING:
            reasons.append(f"the cell is {snapshot.phase}")
        if age_s is not None and age_s >= LIVE_S:
            reasons.append(f"the loop stands still since {age_s:.0f} s")
        if not (snapshot.connected or self._config.watch.ready_without_broker):
            reasons.append("no connection to the broker")
        return reasons

    @property
    def ready(self) -> bool:
        """Whether bundle, model and broker are there and the loop goes round."""
        return not self.obstacles

    def status(self) -> dict[str, Any]:
        """Return everything as plain JSON data; the same over HTTP, MQTT and on the command line."""
        snapshot, cell, age_s = self.snapshot, self._config.cell, self.age_s
        obstacles = self.obstacles
        return {
            "version": STATUS_VERSION,
            "time": utc_text(),
            "site": cell.site,
            "cell": cell.name,
            "software": self._software,
            "phase": snapshot.phase,
            "live": self.live,
            "ready": not obstacles,
            "obstacles": obstacles,
            "heartbeat_age_s": None if age_s is None else round(age_s, 3),
            "slot": snapshot.slot,
            "connected": snapshot.connected,
            "silent": list(snapshot.silent),
            **self.facts,
            "threads": running_threads(),
            "log": dict(snapshot.logs),
            "counters": dict(snapshot.counters),
        }

    def _take(self, phase: str, now_s: float) -> None:
        agent = self._agent
        counters = {} if agent is None else agent.counters()
        self._look_for_losses(counters, now_s)
        self.snapshot = Snapshot(
            phase=phase,
            slot=None if agent is None else agent.slot,
            connected=self._connected(),
            silent=(*self._radio.away, *self._neighbours.away),
            counters=counters,
            logs=self._log_counters(),
        )

    def _look_for_losses(self, counters: Mapping[str, Any], now_s: float) -> None:
        slots = counters.get("slots", 0)
        if slots != self._slots:
            self._slots, self._observed_s = slots, now_s
        self._radio.see("radio", now_s - self._observed_s < self._lost_s)
        ages_s = counters.get("message_ages_s", {})
        self._neighbours.keep(ages_s)
        for name, age_s in ages_s.items():
            silent_s = now_s - self._began_s if age_s is None else age_s
            self._neighbours.see(name, silent_s < self._lost_s)

    def _connected(self) -> bool:
        return self._transport is not None and self._transport.connected

    def _tell(self, ready: bool, now_s: float) -> None:
        if self._transport is None:
            return
        self._told_ready, self._next_status_s = ready, now_s + STATUS_S
        payload = to_bytes({**self.status(), "ready": ready})
        self._transport.publish(self._topic, payload, reliable=True, retain=True)
