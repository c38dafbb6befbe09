"""Metrics: the real counters of a cell, as text that Prometheus reads, with bounded labels."""

from __future__ import annotations

import bisect
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from small_cell import DIGEST, SmallCell

from networld_runtime.contract import Contract
from networld_runtime.histogram import Histogram
from networld_runtime.watch.metrics import LABEL_VALUES, PROCESS_METRICS, TABLE, Metrics

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def _parsed(status: dict[str, Any]) -> Samples:
    text = Metrics().render(status).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def status(contract: Contract, tmp_path: Path) -> dict[str, Any]:
    """The status of a cell that has been through everything that is counted."""
    cell = SmallCell(contract, tmp_path)
    watch = cell.watch()
    for slot in range(10):
        cell.go(late=slot < 2)
    cell.bus.publish("networld/v1/test/b/message", b"nonsense", retain=False)
    cell.planner.sick = True
    cell.go()
    outcome = {"accepted": True, "seconds": 3.5, "worth_before": -1.0, "worth_after": 0.5}
    cell.agent.statistics.add_adaptation({"ok": True, "outcome": outcome})
    cell.agent.statistics.add_adaptation({"ok": False, "problem": "disk full"})
    cell.agent.statistics.last_adaptation = outcome
    watch.round()
    return watch.status()


def test_numbers_of_a_real_cell(status: dict[str, Any]) -> None:
    found = _parsed(status)
    assert found["networld_slots_total", ()] == 11
    assert found["networld_deadline_missed_total", ()] == 2
    assert found["networld_tick_seconds_count", ()] == 11
    assert found["networld_tick_late_seconds_count", ()] == 2
    assert found["networld_tick_late_seconds_sum", ()] >= 2
    assert found["networld_tick_late_seconds_bucket", (("le", "+Inf"),)] == 2
    assert found["networld_nonfinite_total", ()] == 1
    reason = (("reason", "encode_not_finite"),)
    assert found["networld_fallback_total", reason] == 1
    assert found["networld_rung_slots_total", (("rung", "plan"),)] == 10
    assert found["networld_peers_alive", ()] == 1
    assert 0 <= found["networld_message_age_seconds", (("peer", "b"),)] < 60
    assert ("networld_message_age_seconds", (("peer", "c"),)) not in found
    assert found["networld_message_bytes_total", (("dir", "in"),)] > 11 * 10
    assert found["networld_message_bytes_total", (("dir", "out"),)] > 10 * 10
    rejected = [key for key in found if key[0] == "networld_messages_rejected_total"]
    assert sum(found[key] for key in rejected) == 1
    bundle = (("digest", DIGEST), ("name", "stub"), ("task", "power"))
    assert found["networld_bundle_info", bundle] == 1
    assert found["networld_adapt_total", (("outcome", "accepted"),)] == 1
    assert found["networld_adapt_total", (("outcome", "failed"),)] == 1
    assert found["networld_adapt_total", (("outcome", "rejected"),)] == 0
    assert found["networld_adapt_worth_after", ()] == 0.5
    assert found["networld_ready", ()] == 1


def test_every_row_has_a_source_in_a_real_cell(
    status: dict[str, Any], contract: Contract, tmp_path: Path
) -> None:
    more = "[mesh]\ndiscover = true\n[adaptation]\nenabled = false\n"
    finder = SmallCell(contract, tmp_path, more, cell="position_m = [0, 0]")
    finder.bus.publish("networld/v1/test/b/birth", b"nonsense", retain=True)
    found = finder.agent.counters()["discovery_rejected"]
    assert found == {"malformed": 1}
    status["counters"]["discovery_rejected"] = found
    names = {name for name, _ in _parsed(status)}
    silent = {row.name for row in TABLE if not set(row.shown_names()) <= names}
    assert silent == set()
    assert set(PROCESS_METRICS) <= names


def test_a_rung_below_the_top_shows_with_its_reason(status: dict[str, Any]) -> None:
    status["counters"]["ladder"] = {"level": 2, "rung": "policy", "reason": "no_time", "slots": {}}
    found = _parsed(status)
    assert found["networld_fallback_level", ()] == 2
    assert found["networld_fallback_info", (("reason", "no_time"), ("rung", "policy"))] == 1


def test_names_are_different_and_well_formed() -> None:
    names = [row.name for row in TABLE]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"networld_[a-z]+(_[a-z]+)*", name) for name in names)
    assert all(row.help.endswith(".") for row in TABLE)


def test_labels_are_bounded_and_nothing_is_lost() -> None:
    failures = {f"reason {index}": index for index in range(10_000)}
    found = _parsed({"counters": {"model_failures": failures}})
    values = [value for (name, _), value in found.items() if "fallback_total" in name]
    assert len(values) == LABEL_VALUES
    assert sum(values) == sum(range(10_000))


def test_labels_from_outside_stay_labels() -> None:
    name = 'b"} 1\nnetworld_ready 0 \\'
    found = _parsed({"ready": True, "counters": {"message_ages_s": {name: 2.0}}})
    assert found["networld_message_age_seconds", (("peer", name),)] == 2
    assert found["networld_ready", ()] == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = ("tick_seconds", "message_ages_s", "radio", "model_failures", "messages_rejected", "slots")


@given(counters=JSON | st.fixed_dictionaries(dict.fromkeys(KEYS, JSON)), bundle=JSON)
def test_whatever_is_counted_the_text_can_be_read(counters: Any, bundle: Any) -> None:
    _parsed({"counters": counters, "bundle": bundle, "ready": True})


@given(
    durations=st.lists(st.floats(0, 1), max_size=50), slot_s=st.floats(0.001, 10, allow_nan=False)
)
def test_buckets_hold_what_is_below_their_bound(durations: list[float], slot_s: float) -> None:
    histogram = Histogram.around(slot_s)
    for one in durations:
        histogram.add(one)
    found = _parsed({"counters": {"tick_seconds": histogram.to_json()}})
    ordered = sorted(durations)
    for bound in histogram.bounds:
        key = ("networld_tick_seconds_bucket", (("le", f"{bound:g}"),))
        assert found[key] == bisect.bisect_right(ordered, bound)
    assert found["networld_tick_seconds_count", ()] == len(durations)
    assert found["networld_tick_seconds_sum", ()] == pytest.approx(sum(durations), abs=1e-5)
