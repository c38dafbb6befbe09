"""The dashboard: valid for Grafana, and it asks only for metrics that a cell has."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest

from networld_runtime.watch.metrics import PROCESS_METRICS, TABLE

FILE = Path(__file__).parents[3] / "edge_configs" / "grafana" / "networld.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
GRAPHS = [panel for panel in PANELS if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in GRAPHS for target in panel["targets"]]
KNOWN = {*PROCESS_METRICS, *(name for row in TABLE for name in row.shown_names())}
COLUMNS = 24


def _names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:networld|process)_\w+", query))


def test_every_name_is_a_metric_of_a_cell() -> None:
    variables = [one["query"]["query"] for one in DASHBOARD["templating"]["list"][1:]]
    asked = set().union(*map(_names, [*QUERIES, *variables]))
    assert len(asked) > 20
    assert asked - KNOWN == set()


def test_what_an_operator_looks_for_first_is_there() -> None:
    shown = set().union(*map(_names, QUERIES))
    assert shown >= {
        "networld_deadline_missed_total",
        "networld_tick_seconds_bucket",
        "networld_fallback_level",
        "networld_fallback_total",
        "networld_message_age_seconds",
        "networld_peers_alive",
        "networld_adapt_total",
        "networld_bundle_info",
    }


@pytest.mark.parametrize("query", QUERIES)
def test_queries_are_balanced_and_of_the_chosen_cells(query: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)
    assert query.count('instance=~"$instance"') == len(
        re.findall(r"\b(?:networld|process)_", query)
    )
    counted = re.findall(r"(\w+)\((\w+_total|\w+_bucket|\w+_count|\w+_sum)\{", query)
    assert all(function in ("rate", "increase") for function, _ in counted)
    assert len(counted) == len(re.findall(r"\w+_(?:total|bucket|count|sum)\{", query))


def test_dashboard_has_what_grafana_needs() -> None:
    assert isinstance(DASHBOARD["schemaVersion"], int)
    assert DASHBOARD["schemaVersion"] >= 36
    assert DASHBOARD["title"]
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", DASHBOARD["uid"])
    source, *_ = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    assert "id" not in DASHBOARD  # or Grafana would overwrite another one


def test_panels_are_whole_and_use_the_chosen_data_source() -> None:
    identifiers = [panel["id"] for panel in PANELS]
    assert len(set(identifiers)) == len(identifiers)
    assert all(isinstance(one, int) and one > 0 for one in identifiers)
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    for panel in GRAPHS:
        assert panel["title"]
        assert panel["type"] in ("stat", "table", "timeseries")
        assert panel["datasource"] == wanted
        assert panel["targets"]
        assert all(target["datasource"] == wanted for target in panel["targets"])
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)


def test_panels_lie_on_the_grid_without_overlaps() -> None:
    places = [(panel["title"], panel["gridPos"]) for panel in PANELS]
    for title, place in places:
        assert place["w"] > 0, title
        assert place["h"] > 0, title
        assert 0 <= place["x"] <= COLUMNS - place["w"], title
        assert place["y"] >= 0, title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"]
            or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"]
            or b["y"] + b["h"] <= a["y"]
        )
        assert apart, f"{one} and {other} overlap"
