"""What an experiment says of a bundle's ways to choose an action, for the bundle's manifest."""

from __future__ import annotations

import json
from pathlib import Path

from networld_runtime.bundle import Score, graphs_digest
from networld_runtime.errors import ConfigError, DataError
from networld_training.experiments.plan import Variant, read_experiment


def scored_ways(file: Path, bundle: Path) -> dict[str, list[Score]]:
    """Return the scores of all ways in the reference scenario of each task, by task.

    Args:
        file: The experiment, which must have been run with this bundle.
        bundle: The bundle's folder.

    Raises:
        ConfigError: The experiment's file is wrong, or was not run with this bundle.
        DataError: The experiment was not run yet.
        BundleError: The bundle's manifest cannot be read.
    """
    experiment = read_experiment(file)
    results = file.with_suffix(".json")
    try:
        found = json.loads(results.read_text())
        rows, bundles = list(found["rows"]), dict(found["bundles"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            str(results), f"no results ({error}); run `networld experiment {file}`"
        ) from error
    digest = graphs_digest(bundle)
    variants = {
        one.name: one
        for one in experiment.variants
        if bundles.get(one.model) == digest and one.planner.warm_start_level == 0
    }
    if not variants:
        raise ConfigError(
            str(file), f"was not run with the graphs of {bundle}; run it again with them"
        )
    places = {one.id: one.task for one in experiment.scenarios if one.axis == "reference"}
    scores: dict[str, list[Score]] = {}
    for row in rows:
        if row["scenario"] in places and row["policy"] in variants:
            estimate = [round(float(row["score"][name]), 2) for name in ("iqm", "low", "high")]
            score = _score(variants[row["policy"]], *estimate)
            scores.setdefault(places[row["scenario"]], []).append(score)
    return scores


def _score(variant: Variant, value: float, low: float, high: float) -> Score:
    planner = variant.planner
    return Score(
        planner.mode, planner.denoiser, planner.steps, planner.candidates, value, low, high
    )
