"""A look into a data set: what it was made from, and figures of what it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from networld_training.data.figures import (
    ActionFigures,
    ActionTally,
    BehaviourFigures,
    BehaviourTally,
    FeatureFigures,
    FeatureTally,
    SpreadFigures,
    SpreadTally,
)
from networld_training.data.manifest import Manifest, read_finished_manifest
from networld_training.data.shards import read_shard


@dataclass(frozen=True)
class Inspection:
    """Everything that `networld data inspect` shows.

    Attributes:
        manifest: What the set was made from.
        networks: Episodes by network.
        cells: Numbers of cells that episodes have.
        slots: Numbers of slots that episodes have.
        size_bytes: Size of all shards.
        behaviours: What each rule earned.
        actions: How each component of the action was covered.
        features: Where each feature lay.
        credits: Where the cells' credits lay.
        couplings: Where each coupling between neighbours lay.
    """

    manifest: Manifest
    networks: dict[str, int]
    cells: tuple[int, ...]
    slots: tuple[int, ...]
    size_bytes: int
    behaviours: tuple[BehaviourFigures, ...]
    actions: tuple[ActionFigures, ...]
    features: tuple[FeatureFigures, ...]
    credits: SpreadFigures
    couplings: tuple[SpreadFigures, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain JSON data."""
        manifest = self.manifest
        return {
            "dataset_id": manifest.dataset_id,
            "task": manifest.task,
            "quality": manifest.quality.name,
            "scenario": manifest.scenario,
            "scenario_sha256": manifest.scenario_sha256,
            "spec_sha256": manifest.spec.digest(),
            "seed": manifest.seed,
            "code_version": manifest.code_version,
            "episodes": manifest.episodes,
            "networks": self.networks,
            "cells": self.cells,
            "slots": self.slots,
            "size_bytes": self.size_bytes,
            "behaviours": [_behaviour_json(one) for one in self.behaviours],
            "actions": [
                {**asdict(one), "tried": one.tried, "evenness": one.evenness}
                for one in self.actions
            ],
            "features": [asdict(one) for one in self.features],
            "credits": asdict(self.credits),
            "couplings": [asdict(one) for one in self.couplings],
        }


def inspect(folder: Path, report: Callable[[int], None] = lambda _: None) -> Inspection:
    """Read a finished data set, shard by shard, and return its figures.

    Args:
        folder: The data set.
        report: Called with the number of shards read.

    Raises:
        DataError: It is unfinished or damaged.
    """
    manifest = read_finished_manifest(folder)
    spec = manifest.spec
    behaviours = BehaviourTally(manifest.quality, spec.kpis)
    actions = [ActionTally(action) for action in spec.actions]
    features = FeatureTally(spec.features)
    credit = SpreadTally(["credit"])
    couplings = SpreadTally(manifest.couplings)
    networks: Counter[str] = Counter()
    for index, shard in enumerate(manifest.shards):
        arrays = read_shard(folder, manifest, shard)
        network = str(shard.network["name"])
        networks[network] += shard.episodes
        behaviours.add(arrays, network)
        for component, action in enumerate(actions):
            action.add(arrays["actions"][..., component])
        features.add(arrays["observations"])
        credit.add(arrays["credits"])
        if manifest.couplings:
            couplings.add(arrays["couplings"])
        report(index + 1)
    return Inspection(
        manifest=manifest,
        networks=dict(networks),
        cells=tuple(sorted({shard.network["cells"] for shard in manifest.shards})),
        slots=tuple(sorted({shard.network["slots"] for shard in manifest.shards})),
        size_bytes=sum((folder / shard.file).stat().st_size for shard in manifest.shards),
        behaviours=behaviours.figures(),
        actions=tuple(action.figures() for action in actions),
        features=features.figures(),
        credits=credit.figures()[0],
        couplings=couplings.figures(),
    )


def _behaviour_json(one: BehaviourFigures) -> dict[str, Any]:
    fifth, median, ninety_fifth = np.percentile(one.returns, (5, 50, 95))
    return {
        "rule": one.rule,
        "weight": one.weight,
        "share": one.share,
        "return_mean": float(one.returns.mean()),
        "relative_return_mean": float(one.relative_returns.mean()),
        "return_p5": float(fifth),
        "return_p50": float(median),
        "return_p95": float(ninety_fifth),
        "kpis": one.kpis,
    }
