"""The page of every task names what the code offers: features, messages, rules and scenarios."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from networld_training.tasks.registry import TASKS

PAGES = Path(__file__).parents[3] / "docs" / "tasks"


def rows(task: str, heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading, without its head."""
    section = (PAGES / f"{task}.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def names(cell: str) -> list[str]:
    """Return the names in a cell of a table, `power_1..3_ago` as three."""
    found = []
    for name in re.findall(r"`([^`]+)`", cell):
        span = re.search(r"(\d+)\.\.(\d+)", name)
        if span is None:
            found.append(name)
            continue
        numbers = range(int(span[1]), int(span[2]) + 1)
        found += [name.replace(span[0], str(number)) for number in numbers]
    return found


@pytest.mark.parametrize("task", TASKS)
def test_the_page_lists_features_and_messages(task: str) -> None:
    spec = TASKS[task].spec
    observed = [name for row in rows(task, "What a cell observes") for name in names(row[0])]
    assert sorted(observed) == sorted(feature.name for feature in spec.features)
    told = [name for row in rows(task, "What the mean field adds") for name in names(row[0])]
    assert told == [feature.name for feature in spec.message]


@pytest.mark.parametrize("task", TASKS)
def test_the_page_lists_rules_and_what_they_know(task: str) -> None:
    described = {names(row[0])[0]: row[1] for row in rows(task, "Baselines")}
    assert described == {name: make().information for name, make in TASKS[task].policies.items()}


@pytest.mark.parametrize("task", TASKS)
def test_the_page_lists_scenarios_and_their_axes(task: str) -> None:
    described = {name: row[1] for row in rows(task, "Scenarios") for name in names(row[0])}
    assert described == {name: one.axis for name, one in TASKS[task].scenarios.items()}
