"""Adding up what cells report, and what is shown of it."""

from __future__ import annotations

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from networld_training.demo.drops import run_rules, score_drops
from networld_training.demo.outcome import (
    AdaptationOutcome,
    DemoOutcome,
    MessageCounts,
    count_messages,
    heard_percent,
    plan_times_ms,
    summarise_adaptation,
)
from networld_training.demo.picture import best_rule, draw
from networld_training.demo.scenes.registry import SCENES
from networld_training.demo.settings import DemoSettings
from networld_training.demo.show import TABLE_WIDTH
from networld_training.demo.simulated_radio import RadioCounters
from networld_training.demo.tables import advice, network_table, score_table

NEIGHBOURS = {"a": ("b", "c"), "b": ("a",), "c": ("a", "b")}
TASK_NAMES = list(SCENES)


@pytest.fixture(scope="module", params=TASK_NAMES)
def outcome(request: pytest.FixtureRequest) -> DemoOutcome:
    """Made-up counters around what the rules achieve on two short drops; rules stand in for NetWorld."""
    settings = DemoSettings(task=request.param, episodes=2, slots=30)
    entry, network = settings.entry, settings.network()
    results = run_rules(entry, settings.scene, network, settings.drop_seeds()[0], lambda _: None)
    stand_in = next(name for name, one in results.items() if one.information == "mean-field")
    results["networld-base"] = results["networld"] = results[stand_in]
    messages = MessageCounts(700, 4199, 4200, {"stale": 1}, 37.0, 39)
    radio = RadioCounters(slots=100, answer_ms=[30.0, 40.0])
    radio.missed["cell-2"] = 3
    return DemoOutcome(
        settings=settings,
        mode="policy",
        broker="amqtt",
        results=results,
        scores=score_drops(entry.spec, results, 0),
        messages=messages,
        messages_before=messages,
        plan_p50_ms=10.0,
        plan_p99_ms=20.0,
        radio=radio,
        deadlines_missed_by_cells=2,
        slips=1,
        adaptation=AdaptationOutcome(1.5, 2.0, 7.0, 12.0, 6, {"worth rose": 6}),
        lost={},
    )


def shown(*tables: Table) -> str:
    """Return tables as text, as wide as the demonstration prints them."""
    console = Console(file=io.StringIO(), width=TABLE_WIDTH)
    console.print(*tables)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def counters(sent: int, received: int, **more: object) -> dict[str, object]:
    return {
        "counters": {
            "messages_sent": sent,
            "messages_received": received,
            "messages_rejected": {"x": {"stale": 1}},
            **more,
        }
    }


def test_expected_messages_follow_the_neighbours() -> None:
    answers = {"a": counters(10, 29), "b": counters(20, 10), "c": counters(10, 30)}
    counts = count_messages(answers, NEIGHBOURS)
    assert counts.sent == 40
    assert counts.received == 69
    assert counts.expected == (20 + 10) + 10 + (10 + 20)
    assert counts.rejected == {"stale": 3}
    assert counts.payload_p50 is None


def test_cells_that_do_not_report_are_left_out() -> None:
    counts = count_messages({"a": counters(10, 5), "b": counters(5, 10)}, NEIGHBOURS)
    assert counts.expected == 5 + 10
    assert count_messages({}, NEIGHBOURS).delivered_percent is None


def test_ages_of_the_messages_used_are_added_up() -> None:
    answers = {
        "a": counters(1, 1, message_ages_slots={"1": 197, "2": 1}),
        "b": counters(1, 1, message_ages_slots={"3": 2}),
    }
    counts = count_messages(answers, NEIGHBOURS)
    assert counts.ages_slots == {1: 197, 2: 1, 3: 2}
    assert counts.in_time_percent == 98.5
    assert counts.to_json()["age_slots"] == {"p50": 1, "p99": 2}
    assert count_messages({}, NEIGHBOURS).in_time_percent is None


def test_share_heard_is_told_for_each_cell() -> None:
    answers = {"a": counters(10, 15), "b": counters(20, 10), "c": counters(10, 0)}
    assert heard_percent(answers, NEIGHBOURS) == {"a": 50.0, "b": 100.0, "c": 0.0}


def test_plan_times_are_the_median_and_the_worst() -> None:
    answers = {
        "a": counters(1, 1, plan_p50_ms=1.0, plan_p99_ms=9.0),
        "b": counters(1, 1, plan_p50_ms=3.0, plan_p99_ms=4.0),
        "c": counters(0, 0, plan_p50_ms=None, plan_p99_ms=None),
    }
    assert plan_times_ms(answers) == (2.0, 9.0)
    assert plan_times_ms({}) == (None, None)


def test_adaptation_counts_only_cells_that_trained() -> None:
    def outcome(before: float, after: float, steps: int) -> dict[str, object]:
        accepted = after > before
        reason = "worth rose" if accepted else "it did not"
        worths = {"worth_before": before, "worth_after": after, "cells": steps // 2}
        return {"outcome": {"accepted": accepted, "reason": reason, "steps": steps, **worths}}

    summary = summarise_adaptation(
        {
            "a": outcome(3.0, 4.0, 10),
            "b": outcome(5.0, 4.0, 14),
            "c": outcome(0.0, 0.0, 0),
            "d": {"problem": "training ended with exit code 1"},
        },
        seconds=7.0,
    )
    assert (summary.worth_before, summary.worth_after, summary.logs) == (4.0, 4.0, 6.0)
    assert summary.accepted == 1
    assert summary.reasons["training ended with exit code 1"] == 1


def test_json_is_complete_and_strict(outcome: DemoOutcome) -> None:
    data = json.loads(json.dumps(outcome.to_json(), allow_nan=False))
    assert data["score"]["random"] == 0
    assert data["score"][outcome.spec.expert] == pytest.approx(100)
    assert set(data["score"]) == {*outcome.settings.entry.heuristics, "networld", "networld-base"}
    assert data["adaptation"]["score_after"] == data["score"]["networld"]
    assert data["adaptation"]["score_before"] == data["score"]["networld-base"]
    assert data["messages"]["received"] == 4199
    assert data["deadline_missed"] == 3


def test_tables_tell_what_was_lost(outcome: DemoOutcome) -> None:
    lossy = replace(outcome, lost={"cell-3": "was killed by signal 9"})
    text = shown(score_table(outcome), network_table(outcome), network_table(lossy))
    assert f"100 is {outcome.spec.expert}" in text
    assert "\N{HORIZONTAL ELLIPSIS}" not in text  # nothing was cut off
    assert "7 live cells" in text
    assert "4199 of 4200 received (99.98 %)" in text
    assert "6 of 7 live cells" in text
    assert "was killed by signal 9" in text


def test_advice_is_given_when_many_deadlines_are_missed(outcome: DemoOutcome) -> None:
    assert advice(outcome) is None
    late = replace(outcome.radio, missed=Counter({"cell-1": 70}))
    slow = replace(outcome, radio=late)
    assert advice(slow) == (
        "10.0 % of the deadlines were missed, and a late cell keeps its old action: "
        "leave the machine alone, or try --slot-ms 120"
    )
    given = replace(outcome.settings, broker="mqtt://host:1883")
    assert "set_tcp_nodelay" in str(advice(replace(slow, settings=given)))


def test_no_effect_is_claimed_of_a_network_that_chooses_no_action(outcome: DemoOutcome) -> None:
    assert "it chooses no action" not in shown(network_table(outcome))
    assert outcome.to_json()["adaptation"]["adapted_acts"] is True
    planning = replace(outcome, mode="select")
    assert shown(network_table(planning)).count("it chooses no action") == 1
    assert planning.to_json()["adaptation"]["adapted_acts"] is False


def test_the_best_rule_beside_us_knows_no_more_than_we_do(outcome: DemoOutcome) -> None:
    name = best_rule(outcome)
    assert outcome.results[name].information in ("none", "local", "mean-field")
    better = [
        rule for rule, score in outcome.scores.items() if score.value > outcome.scores[name].value
    ]
    assert outcome.spec.expert in better
    informed = {outcome.results[rule].information for rule in better if "networld" not in rule}
    assert informed <= {"one-hop", "genie"}


def test_picture_is_a_png(outcome: DemoOutcome, tmp_path: Path) -> None:
    draw(outcome, tmp_path / "demo.png")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert [file.name for file in tmp_path.iterdir()] == ["demo.png"]
