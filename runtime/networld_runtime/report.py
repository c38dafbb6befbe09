"""What a cell tells about itself: state, birth and reports, as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from networld_runtime.bundle import Bundle
from networld_runtime.config import CellConfig
from networld_runtime.contract import Contract
from networld_runtime.histogram import Histogram
from networld_runtime.mesh.birth import BIRTH_VERSION
from networld_runtime.mesh.sender import Liveness
from networld_runtime.realtime import LatencyRing

COUNTED = (
    "slots",
    "slots_skipped",
    "slots_with_missing_neighbours",
    "deadlines_missed",
    "messages_sent",
    "messages_not_sent",
)

MOST_MISSING = 256
"""Neighbours whose missing slots are told; who discovers them may meet others for ever."""


@dataclass
class Statistics:
    """Counters of the loop since its start.

    Attributes:
        counters: Those of `COUNTED`, from zero: a rate needs the value before the first event.
        plan: Seconds from the arrival of an observation in the loop to its action.
        message_bytes: How many messages of each size were sent.
        slots_missing: In how many slots each neighbour was missing.
        tick: The same seconds as `plan`, in buckets around the length of a slot.
        late: How long after their deadlines late actions were decided.
        adaptations: Those that have ended, `accepted`, `rejected` and `failed`, and those `reverted`.
        last_adaptation: What came of the last adaptation; empty before the first.
        slot_s: Length of a slot.
    """

    counters: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTED, 0)))
    plan: LatencyRing = field(default_factory=LatencyRing)
    message_bytes: Counter[int] = field(default_factory=Counter)
    slots_missing: Counter[str] = field(default_factory=Counter)
    adaptations: Counter[str] = field(
        default_factory=lambda: Counter(accepted=0, rejected=0, failed=0, reverted=0)
    )
    last_adaptation: dict[str, Any] = field(default_factory=dict)
    slot_s: float = 0.02
    tick: Histogram = field(init=False)
    late: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self.tick = Histogram.around(self.slot_s)
        self.late = Histogram.around(self.slot_s)

    def add_tick(self, seconds: float, late_s: float) -> None:
        """Count a slot that took `seconds` and was decided `late_s` after its deadline, if above 0."""
        self.plan.add(seconds)
        self.tick.add(seconds)
        if late_s > 0:
            self.late.add(late_s)

    def add_missing(self, names: Iterable[str]) -> None:
        """Count a slot for each neighbour that was missing in it; of at most `MOST_MISSING` in all."""
        for name in names:
            if name in self.slots_missing or len(self.slots_missing) < MOST_MISSING:
                self.slots_missing[name] += 1

    def add_adaptation(self, outcome: dict[str, Any]) -> None:
        """Count an adaptation that has ended or was taken back, as `AdapterKeeper.poll` reports it."""
        if outcome.get("report") == "revert":
            self.adaptations["reverted"] += 1
            return
        self.last_adaptation = dict(outcome.get("outcome", {}))
        accepted = "accepted" if self.last_adaptation.get("accepted") else "rejected"
        self.adaptations[accepted if outcome["ok"] else "failed"] += 1

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON data."""
        return {
            **self.counters,
            "message_bytes_p50": _median(self.message_bytes),
            "message_bytes_largest": max(self.message_bytes, default=None),
            "slots_missing": dict(self.slots_missing),
            "plan_p50_ms": self.plan.percentile_ms(50),
            "plan_p99_ms": self.plan.percentile_ms(99),
            "tick_seconds": self.tick.to_json(),
            "late_seconds": self.late.to_json(),
            "message_bytes_sent": sum(size * count for size, count in self.message_bytes.items()),
            "adaptations": dict(self.adaptations),
            "last_adaptation": dict(self.last_adaptation),
        }


def _median(counts: Counter[int]) -> int | None:
    """Return the median of counted values without spreading them out."""
    passed = 0
    for value, count in sorted(counts.items()):
        passed += count
        if 2 * passed > counts.total():
            return value
    return None


def software_version() -> str:
    """Return the version of this distribution."""
    try:
        return version("networld-runtime")
    except PackageNotFoundError:  # run from a source tree
        return "unknown"


def state(status: str, epoch: int) -> bytes:
    """Return a state payload; `status` is `online`, `offline` or `lost`."""
    return to_bytes({"state": status, "epoch": epoch})


def birth(cell: CellConfig, bundle: Bundle, epoch: int, slot_s: float) -> bytes:
    """Return the birth payload: what this cell runs, so that others can see whether they fit."""
    contract: Contract = bundle.contract
    position = {} if cell.position_m is None else {"position_m": list(cell.position_m)}
    return to_bytes(
        {
            "version": BIRTH_VERSION,
            "epoch": epoch,
            "site": cell.site,
            "cell": cell.name,
            **position,
            "software": software_version(),
            "task": contract.task,
            "contract": contract.digest().hex(),
            "bundle": bundle.digest,
            "slot_s": slot_s,
            "neighbours": list(cell.neighbours),
        }
    )


def neighbours(liveness: Mapping[str, Liveness]) -> dict[str, Any]:
    """Return what is known of a cell's neighbours, by name, as plain JSON data."""
    return {
        "message_ages_s": {name: one.age_s for name, one in liveness.items()},
        "message_rates_per_s": {name: one.rate_per_s for name, one in liveness.items()},
        "message_valid_shares": {name: one.valid_share for name, one in liveness.items()},
        "neighbours_alive": {name: one.alive for name, one in liveness.items()},
    }


def to_bytes(data: dict[str, Any]) -> bytes:
    """Return compact JSON."""
    return json.dumps(data, separators=(",", ":"), sort_keys=True).encode()
