"""What an experiment says of ways to choose an action, for the manifest of its model's bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from networld_runtime.bundle import Score
from networld_runtime.errors import ConfigError, DataError
from networld_training.evaluation.conditions import Conditions
from networld_training.experiments.adapted_policy import Adaptation
from networld_training.experiments.plan import Experiment, Variant, read_experiment
from networld_training.model.checkpoint import Checkpoint


def scored_ways(file: Path, checkpoint: Checkpoint) -> dict[str, list[Score]]:
    """Return the scores of all ways in the reference scenario of each task, by task.

    Args:
        file: The experiment, which must have been run with the model of this checkpoint alone.
        checkpoint: The model.

    Raises:
        ConfigError: The experiment's file is wrong, or is about another model.
        DataError: The experiment was not run yet.
    """
    experiment = read_experiment(file)
    variants = {one.name: one for one in experiment.variants if _is_plain(one)}
    results = file.with_suffix(".json")
    try:
        found = json.loads(results.read_text())
        seeds, rows = list(found["training_seeds"]), list(found["rows"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            str(results), f"no results ({error}); run `networld experiment {file}`"
        ) from error
    _check_model(file, experiment, variants, seeds, checkpoint)
    places = {one.id: one.task for one in experiment.scenarios if one.axis == "reference"}
    scores: dict[str, list[Score]] = {}
    for row in rows:
        if row["scenario"] in places and row["policy"] in variants:
            task = places[row["scenario"]]
            scores.setdefault(task, []).append(_score(variants[row["policy"]], row["score"]))
    return scores


def _is_plain(variant: Variant) -> bool:
    """Return whether a variant is a way of a base station where nothing goes wrong."""
    known = (variant.messages, variant.adaptation) == (Conditions(), Adaptation())
    return known and not variant.baseline and variant.planner.warm_start_level == 0


def _score(variant: Variant, score: Mapping[str, Any]) -> Score:
    planner = variant.planner
    return Score(
        mode=planner.mode,
        denoiser=planner.denoiser,
        steps=planner.steps,
        candidates=planner.candidates,
        value=round(float(score["iqm"]), 2),
        low=round(float(score["low"]), 2),
        high=round(float(score["high"]), 2),
    )


def _check_model(
    file: Path,
    experiment: Experiment,
    variants: Mapping[str, Variant],
    seeds: list[int],
    checkpoint: Checkpoint,
) -> None:
    problems = []
    if seeds != [checkpoint.seed]:
        problems.append(f"training seeds {seeds}: the checkpoint's is {checkpoint.seed} alone")
    for name in dict.fromkeys(one.model for one in variants.values()):
        plan = experiment.models[name]
        if plan.settings != checkpoint.settings or set(plan.tasks) != set(checkpoint.contracts):
            problems.append(f"model {name!r}: trained otherwise than the checkpoint")
    if problems:
        raise ConfigError(str(file), problems)
