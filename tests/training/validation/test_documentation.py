"""docs/validation.md names a test for each line of the validation list, and no test that does not exist."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs" / "validation.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in DOCUMENT.splitlines()
    if re.match(r"\| \d", line)
]


def test_every_named_test_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", DOCUMENT)
    assert len(named) >= len(ROWS) > 0
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"docs/validation.md: {path} has no {name}"


def test_every_line_has_a_test() -> None:
    lines = {int(number) for row in ROWS for number in row[0].split(",")}
    assert lines == set(range(1, 12))
    assert all("::test_" in row[-1] for row in ROWS)


def test_figures_are_those_of_the_frozen_file() -> None:
    text = " ".join(DOCUMENT.split())
    frozen = Path(__file__).with_name("sionna_values.json")
    geometry = json.loads(frozen.read_text())["geometry"]
    for values in (geometry["sinr_db"], geometry["standard_error"]["sinr_db"]):
        low, middle, high = (f"{value:.2f}" for value in values)
        assert f"{low}, {middle} and {high} dB" in text
    assert f"{100 * geometry['los_share']:.2f} % of all links" in text
    assert f"{geometry['users']:,} users" in text
