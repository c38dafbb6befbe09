"""Scores for a bundle's manifest: those of plain ways, in reference scenarios, of the very model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from networld_runtime.bundle import Score
from networld_runtime.errors import ConfigError, DataError
from networld_training.experiments.scored_ways import scored_ways
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.settings import PRESETS
from networld_training.tasks.registry import CONTRACTS

FILE = """
title = "Steps"
scenarios = ["power/umi200", "power/umi100"]
episodes = 4
training_seeds = [3]

[model.all]
preset = "tiny"
tasks = ["power"]

[[variant]]
name = "one"
model = "all"
planner = { mode = "select", denoiser = "distilled-int8", steps = 1, candidates = 4 }

[[variant]]
name = "deaf"
model = "all"
messages = { deaf = true }
"""
CHECKPOINT = Checkpoint(200, 3, PRESETS["tiny"], {"power": CONTRACTS["power"]}, {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An experiment that was run."""
    path = tmp_path / "steps.toml"
    path.write_text(FILE)
    score = {"iqm": 91.234, "low": 90.0, "high": 92.0}
    rows = [
        {"scenario": f"networld/power/{place}-v0", "policy": policy, "score": score}
        for place in ("umi200", "umi100")
        for policy in ("random", "one", "deaf")
    ]
    path.with_suffix(".json").write_text(json.dumps({"training_seeds": [3], "rows": rows}))
    return path


def test_plain_ways_in_reference_scenarios_have_scores(file: Path) -> None:
    expected = Score("select", "distilled-int8", 1, 4, 91.23, 90.0, 92.0)
    assert scored_ways(file, CHECKPOINT) == {"power": [expected]}


def test_another_model_is_refused(file: Path) -> None:
    other = replace(CHECKPOINT, seed=4, settings=replace(PRESETS["tiny"], steps=1))
    with pytest.raises(ConfigError) as caught:
        scored_ways(file, other)
    told = caught.value.render()
    assert "training seeds [3]: the checkpoint's is 4" in told
    assert "model 'all': trained otherwise" in told


@pytest.mark.parametrize("text", [None, "", "{}", '{"training_seeds": 3}'])
def test_an_experiment_that_was_not_run_says_so(file: Path, text: str | None) -> None:
    results = file.with_suffix(".json")
    results.unlink()
    if text is not None:
        results.write_text(text)
    with pytest.raises(DataError, match=r"no results .* run `networld experiment"):
        scored_ways(file, CHECKPOINT)
