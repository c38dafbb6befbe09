"""Scores for a bundle's manifest: of its own graphs, in reference scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from networld_runtime.bundle import Score, graphs_digest, load_bundle
from networld_runtime.errors import BundleError, ConfigError, DataError
from networld_training import cli
from networld_training.experiments.scored_ways import scored_ways

SHIPPED = Path(__file__).parents[3] / "bundles" / "networld"
FILE = """
title = "Steps"
scenarios = ["power/umi200", "power/umi100"]
episodes = 4
training_seeds = [0]

[model.shipped]
tasks = ["power"]
bundle = "bundle"

[[variant]]
name = "one"
model = "shipped"
planner = { mode = "select", denoiser = "distilled-int8", steps = 1, candidates = 4 }

[[variant]]
name = "warm"
model = "shipped"
planner = { mode = "select", warm_start_level = 0.5 }
"""
EXPECTED = Score("select", "distilled-int8", 1, 4, 91.23, 90.0, 92.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An experiment that was run with the bundle beside it."""
    path = tmp_path / "steps.toml"
    path.write_text(FILE)
    (tmp_path / "bundle").mkdir()
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    (tmp_path / "bundle" / "manifest.json").write_text(json.dumps(manifest))
    score = {"iqm": 91.234, "low": 90.0, "high": 92.0}
    rows = [
        {"scenario": f"networld/power/{place}-v0", "policy": policy, "score": score}
        for place in ("umi200", "umi100")
        for policy in ("random", "one", "warm")
    ]
    found = {"training_seeds": [0], "bundles": {"shipped": graphs_digest(SHIPPED)}, "rows": rows}
    path.with_suffix(".json").write_text(json.dumps(found))
    return path


def test_ways_in_reference_scenarios_have_scores(file: Path) -> None:
    assert scored_ways(file, file.with_name("bundle")) == {"power": [EXPECTED]}


def test_the_command_writes_them_into_the_manifest(file: Path) -> None:
    bundle = file.with_name("bundle")
    for task in ("power", "sched", "sleep"):
        (bundle / task).symlink_to(SHIPPED / task)
    command = ["bundle", "score", "--output", str(bundle), "--experiment", str(file)]
    for task in ("power", "sched", "sleep"):  # links lead out of the bundle, which is refused
        assert cli.main(command) == BundleError.exit_code
        (bundle / task).unlink()
        (bundle / task).mkdir()
        for graph in (SHIPPED / task).iterdir():
            (bundle / task / graph.name).hardlink_to(graph)
    before = graphs_digest(bundle)
    assert cli.main(command) == 0
    assert load_bundle(bundle, "power").scores == (EXPECTED,)
    assert load_bundle(bundle, "sched").scores == ()
    assert graphs_digest(bundle) == before


def test_other_graphs_are_refused(file: Path) -> None:
    manifest = file.with_name("bundle") / "manifest.json"
    data = json.loads(manifest.read_text())
    data["tasks"]["power"]["graphs"]["head"]["sha256"] = "0"
    manifest.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="was not run with the graphs of"):
        scored_ways(file, manifest.parent)
    manifest.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        scored_ways(file, manifest.parent)


@pytest.mark.parametrize("text", [None, "", "{}", '{"bundles": 3, "rows": []}'])
def test_an_experiment_that_was_not_run_says_so(file: Path, text: str | None) -> None:
    results = file.with_suffix(".json")
    results.unlink()
    if text is not None:
        results.write_text(text)
    with pytest.raises(DataError, match=r"no results .* run `networld experiment"):
        scored_ways(file, file.with_name("bundle"))
