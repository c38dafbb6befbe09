"""Everything that a demonstration measured, and its form as JSON."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from networld_runtime.planner_settings import MODES
from networld_training.demo.drops import DropResults
from networld_training.demo.orders import Answers
from networld_training.demo.settings import DemoSettings
from networld_training.demo.simulated_radio import RadioCounters
from networld_training.evaluation.statistics import Estimate
from networld_training.tasks.spec import TaskSpec

BASE = "networld-base"
ADAPTED = "networld"
ONE_PASS = MODES[0]
"""The mode in which the policy alone chooses the actions: what adaptation trains."""


@dataclass(frozen=True)
class MessageCounts:
    """Mean-field messages, by the counters of the cells themselves.

    Attributes:
        sent: Messages sent by all cells.
        received: Messages that neighbours accepted.
        expected: What `received` would be without any loss: each message times the neighbours that
            listen to it. Messages from and to cells that did not report are left out.
        rejected: Messages that arrived but were not accepted, by reason.
        payload_p50: Median size of a message in bytes, median over the cells.
        payload_largest: Largest message in bytes.
        ages_slots: How often mean fields used a message of each age, in slots; the youngest is 1.
    """

    sent: int
    received: int
    expected: int
    rejected: dict[str, int]
    payload_p50: float | None
    payload_largest: int | None
    ages_slots: dict[int, int] = field(default_factory=dict)

    @property
    def in_time_percent(self) -> float | None:
        """Share of the messages used that were used in the slot after they were sent; None if none was."""
        used = sum(self.ages_slots.values())
        return 100 * self.ages_slots.get(1, 0) / used if used else None

    @property
    def delivered_percent(self) -> float | None:
        """Share of the expected messages that was received; None if none was expected."""
        return 100 * self.received / self.expected if self.expected else None

    def to_json(self) -> dict[str, Any]:
        """Return the counts as plain JSON data."""
        return {
            "sent": self.sent,
            "received": self.received,
            "expected": self.expected,
            "rejected": self.rejected,
            "payload_bytes": {"p50": self.payload_p50, "max": self.payload_largest},
            "used_in_time_percent": self.in_time_percent,
            "age_slots": {
                "p50": percentile_of_counts(self.ages_slots, 0.5),
                "p99": percentile_of_counts(self.ages_slots, 0.99),
            },
        }


@dataclass(frozen=True)
class AdaptationOutcome:
    """What came of the cells' adaptation.

    Attributes:
        worth_before: What the base model's actions are worth in slots that were not trained on, by the
            credit model, to a cell and its neighbours, in typical credits; mean over the cells that
            trained, None if none did.
        worth_after: The same with the trained adapters.
        logs: Cells whose logs a cell learned from, its own among them; mean over the cells that trained.
        seconds: Wall time from the order to the last report; all cells train at the same time.
        accepted: Cells that kept their adapter.
        reasons: How many cells gave which reason for keeping or dropping it.
    """

    worth_before: float | None
    worth_after: float | None
    logs: float | None
    seconds: float
    accepted: int
    reasons: dict[str, int]


@dataclass(frozen=True)
class DemoOutcome:
    """Everything that a demonstration measured.

    Attributes:
        settings: What was asked for.
        mode: How the cells choose their actions.
        broker: Which broker it was: `mosquitto`, `amqtt` or a URL.
        results: What each policy achieved; NetWorld is `networld-base` and `networld`.
        scores: Score of each policy.
        messages: Messages of the whole run.
        messages_before: Messages up to the end of the first phase.
        plan_p50_ms: Time to plan: median over the cells of their medians.
        plan_p99_ms: The worst cell's 99th percentile.
        radio: What the radio saw; its `missed` is what `deadline_missed` reports.
        deadlines_missed_by_cells: Deadlines that the cells themselves say they missed.
        slips: How often the radio's own schedule moved.
        adaptation: What came of the adaptation.
        lost: Cells whose process ended too early, and why.
    """

    settings: DemoSettings
    mode: str
    broker: str
    results: dict[str, DropResults]
    scores: dict[str, Estimate]
    messages: MessageCounts
    messages_before: MessageCounts
    plan_p50_ms: float | None
    plan_p99_ms: float | None
    radio: RadioCounters
    deadlines_missed_by_cells: int
    slips: int
    adaptation: AdaptationOutcome
    lost: dict[str, str]

    @property
    def spec(self) -> TaskSpec:
        """The task's interface."""
        return self.settings.entry.spec

    @property
    def adapted_acts(self) -> bool:
        """Whether the cells choose their actions with the network that was adapted, the policy's."""
        return self.mode == ONE_PASS

    @property
    def live_cells(self) -> int:
        """Cells that were there to the end."""
        return self.settings.cells - len(self.lost)

    @property
    def deadline_missed(self) -> int:
        """Actions that were not at the radio when their slot ended."""
        return self.radio.missed.total()

    def to_json(self) -> dict[str, Any]:
        """Return the results as plain JSON data."""
        settings, adaptation = self.settings, self.adaptation
        return {
            "task": settings.task,
            "cells": settings.cells,
            "lost_cells": self.lost,
            "slots": settings.slots,
            "slot_ms": settings.slot_ms,
            "simulated_slot_s": self.spec.slot_s,
            "episodes": settings.episodes,
            "support_episodes": settings.support_episodes,
            "seed": settings.seed,
            "scenario": settings.network().name,
            "mode": self.mode,
            "broker": self.broker,
            "cores": os.cpu_count(),
            "score": {name: score.value for name, score in self.scores.items()},
            "kpis": {name: result.means() for name, result in self.results.items()},
            "messages": self.messages.to_json(),
            "plan_ms": {"p50": self.plan_p50_ms, "p99": self.plan_p99_ms},
            "answer_ms": percentiles(self.radio.answer_ms),
            "deadline_missed": self.deadline_missed,
            "actions_rejected": dict(self.radio.rejected),
            "adaptation": {
                "adapted_acts": self.adapted_acts,
                "worth_before": adaptation.worth_before,
                "worth_after": adaptation.worth_after,
                "cells_logged": adaptation.logs,
                "score_before": self.scores[BASE].value,
                "score_after": self.scores[ADAPTED].value,
                "seconds": adaptation.seconds,
                "accepted": adaptation.accepted,
                "reasons": adaptation.reasons,
            },
        }


def percentiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return median and 99th percentile, None without values."""
    if not values:
        return {"p50": None, "p99": None}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


def count_messages(answers: Answers, neighbours: Mapping[str, Sequence[str]]) -> MessageCounts:
    """Add up the counters of the cells that answered the order `report`."""
    counters = {name: answer["counters"] for name, answer in answers.items()}
    sent = {name: int(one.get("messages_sent", 0)) for name, one in counters.items()}
    rejected: Counter[str] = Counter()
    ages_slots: Counter[int] = Counter()
    for one in counters.values():
        for reasons in one["messages_rejected"].values():
            rejected.update(reasons)
        for age, count in one.get("message_ages_slots", {}).items():
            ages_slots[int(age)] += int(count)
    medians = _known(counters, "message_bytes_p50")
    largest = _known(counters, "message_bytes_largest")
    return MessageCounts(
        sent=sum(sent.values()),
        received=sum(int(one["messages_received"]) for one in counters.values()),
        expected=sum(sent.get(sender, 0) for name in counters for sender in neighbours[name]),
        rejected=dict(rejected),
        payload_p50=float(np.median(medians)) if medians else None,
        payload_largest=int(max(largest)) if largest else None,
        ages_slots=dict(ages_slots),
    )


def percentile_of_counts(counts: Mapping[int, int], share: float) -> int | None:
    """Return the smallest value that at least a share of all values do not exceed; None without values."""
    passed, total = 0, sum(counts.values())
    for value, count in sorted(counts.items()):
        passed += count
        if passed >= share * total:
            return value
    return None


def heard_percent(answers: Answers, neighbours: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return for each cell the share of its neighbours' messages that it received."""
    counters = {name: answer["counters"] for name, answer in answers.items()}
    sent = {name: int(one.get("messages_sent", 0)) for name, one in counters.items()}
    expected = {name: sum(sent.get(sender, 0) for sender in neighbours[name]) for name in counters}
    return {
        name: 100 * int(one["messages_received"]) / expected[name]
        for name, one in counters.items()
        if expected[name]
    }


def plan_times_ms(answers: Answers) -> tuple[float | None, float | None]:
    """Return the median of the cells' medians and the largest of their 99th percentiles."""
    counters = {name: answer["counters"] for name, answer in answers.items()}
    medians, tails = _known(counters, "plan_p50_ms"), _known(counters, "plan_p99_ms")
    if not medians or not tails:
        return None, None
    return float(np.median(medians)), max(tails)


def summarise_adaptation(answers: Answers, seconds: float) -> AdaptationOutcome:
    """Add up the answers to the order `adapt`."""
    outcomes = [answer["outcome"] for answer in answers.values() if "outcome" in answer]
    trained = [outcome for outcome in outcomes if outcome["steps"] > 0]
    reasons = Counter(
        answer["outcome"]["reason"] if "outcome" in answer else answer.get("problem", "unknown")
        for answer in answers.values()
    )
    return AdaptationOutcome(
        worth_before=_mean([outcome["worth_before"] for outcome in trained]),
        worth_after=_mean([outcome["worth_after"] for outcome in trained]),
        logs=_mean([outcome["cells"] for outcome in trained]),
        seconds=seconds,
        accepted=sum(bool(outcome["accepted"]) for outcome in outcomes),
        reasons=dict(reasons),
    )


def _known(counters: Mapping[str, Mapping[str, Any]], key: str) -> list[float]:
    return [float(one[key]) for one in counters.values() if one.get(key) is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, None without values or if one of them is not known."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
