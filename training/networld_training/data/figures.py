"""Figures of a data set, tallied shard by shard: what behaviours earned, actions tried, features seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from networld_runtime.contract import ActionBins, Feature
from networld_training.data.qualities import Quality
from networld_training.data.shards import Array, Arrays
from networld_training.tasks.spec import Action, Kpi


@dataclass(frozen=True)
class BehaviourFigures:
    """What the cells that followed one rule earned.

    Attributes:
        rule: The rule.
        weight: Its probability in the mixture.
        share: Its share of all cells of all episodes.
        returns: Sum of a cell's rewards over an episode, one for each cell that followed the rule.
        relative_returns: The same, less the mean return of all cells in the same network.
        kpis: Mean figures of merit, where an episode counts as often as cells in it followed the rule.
    """

    rule: str
    weight: float
    share: float
    returns: Array
    relative_returns: Array
    kpis: dict[str, float]


class BehaviourTally:
    """Collects returns and figures of merit by behaviour."""

    def __init__(self, quality: Quality, kpis: Sequence[Kpi]) -> None:
        self._quality = quality
        self._kpis = kpis
        self._followed: list[Array] = []
        self._returns: list[Array] = []
        self._networks: list[Array] = []
        self._metrics: list[Array] = []

    def add(self, arrays: Arrays, network: str) -> None:
        """Add the episodes of a shard, which took place in this network."""
        cells = arrays["behaviours"].shape[1]
        self._followed.append(arrays["behaviours"].ravel())
        self._networks.append(np.full(arrays["behaviours"].size, network))
        self._returns.append(arrays["rewards"].sum(axis=1, dtype=np.float64).ravel())
        self._metrics.append(np.repeat(arrays["metrics"], cells, axis=0))

    def figures(self) -> tuple[BehaviourFigures, ...]:
        """Return the figures of every rule that a cell followed."""
        followed = np.concatenate(self._followed)
        returns, metrics = np.concatenate(self._returns), np.concatenate(self._metrics)
        _, network = np.unique(np.concatenate(self._networks), return_inverse=True)
        relative = returns - (np.bincount(network, returns) / np.bincount(network))[network]
        figures = []
        for index, behaviour in enumerate(self._quality.behaviours):
            here = followed == index
            if here.any():
                means = metrics[here].mean(axis=0)
                kpis = {kpi.name: float(mean) for kpi, mean in zip(self._kpis, means, strict=True)}
                figures.append(
                    BehaviourFigures(
                        rule=behaviour.rule,
                        weight=behaviour.weight,
                        share=float(here.mean()),
                        returns=returns[here],
                        relative_returns=relative[here],
                        kpis=kpis,
                    )
                )
        return tuple(figures)


@dataclass(frozen=True)
class ActionFigures:
    """How often each value of one component of the action was logged.

    Attributes:
        name: The component.
        labels: Its bins or choices, "off" first if there is one.
        counts: How often each was logged.
    """

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def tried(self) -> int:
        """Number of bins or choices that were logged at all."""
        return sum(count > 0 for count in self.counts)

    @property
    def evenness(self) -> float:
        """Entropy of the counts over that of equal counts: 1 for equal ones, 0 for a single value."""
        shares = np.array(self.counts) / sum(self.counts)
        shares = shares[shares > 0]
        entropy = (shares * np.log(1 / shares)).sum()
        return float(entropy / np.log(len(self.counts)))


class ActionTally:
    """Counts the values of one component of the action, continuous ones in their nearest bin."""

    def __init__(self, action: Action) -> None:
        self._action = action
        self._labels = _labels(action)
        self._counts = np.zeros(len(self._labels), dtype=np.int64)

    def add(self, values: Array) -> None:
        """Add native values of any shape."""
        bins = _nearest_bin(self._action, values).ravel()
        self._counts += np.bincount(bins, minlength=len(self._labels))

    def figures(self) -> ActionFigures:
        """Return the counts."""
        return ActionFigures(self._action.name, self._labels, tuple(map(int, self._counts)))


@dataclass(frozen=True)
class FeatureFigures:
    """Where one feature lay, beside the range that the task's interface gives it.

    Attributes:
        name: The feature.
        unit: Its unit.
        low: Lower end of its range.
        high: Upper end of its range.
        lowest: Lowest value.
        mean: Mean value.
        highest: Highest value.
        below: Share of values below the range.
        above: Share of values above the range.
    """

    name: str
    unit: str
    low: float
    high: float
    lowest: float
    mean: float
    highest: float
    below: float
    above: float


class FeatureTally:
    """Collects extremes and means of all features, and how often they left their ranges."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self._features = features
        self._low = np.array([feature.low for feature in features], dtype=np.float32)
        self._high = np.array([feature.high for feature in features], dtype=np.float32)
        self._values = 0
        self._lowest = np.full(len(features), np.inf)
        self._highest = np.full(len(features), -np.inf)
        self._sum, self._below, self._above = np.zeros((3, len(features)))

    def add(self, observations: Array) -> None:
        """Add observations `[..., D]`."""
        seen = observations.reshape(-1, len(self._features))
        self._values += len(seen)
        self._lowest = np.minimum(self._lowest, seen.min(axis=0))
        self._highest = np.maximum(self._highest, seen.max(axis=0))
        self._sum += seen.sum(axis=0, dtype=np.float64)
        self._below += (seen < self._low).sum(axis=0)
        self._above += (seen > self._high).sum(axis=0)

    def figures(self) -> tuple[FeatureFigures, ...]:
        """Return the figures of every feature."""
        return tuple(
            FeatureFigures(
                name=feature.name,
                unit=feature.unit,
                low=feature.low,
                high=feature.high,
                lowest=float(self._lowest[index]),
                mean=float(self._sum[index] / self._values),
                highest=float(self._highest[index]),
                below=float(self._below[index] / self._values),
                above=float(self._above[index] / self._values),
            )
            for index, feature in enumerate(self._features)
        )


@dataclass(frozen=True)
class SpreadFigures:
    """Where a number without a range lay.

    Attributes:
        name: The number.
        zero: Share of values that are 0.
        lowest: Lowest value.
        mean: Mean value.
        highest: Highest value.
    """

    name: str
    zero: float
    lowest: float
    mean: float
    highest: float


class SpreadTally:
    """Collects extremes and means of some numbers, and how often they were 0."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._values = 0
        self._lowest = np.full(len(names), np.inf)
        self._highest = np.full(len(names), -np.inf)
        self._sum, self._zero = np.zeros((2, len(names)))

    def add(self, values: Array) -> None:
        """Add values `[..., names]`."""
        seen = values.reshape(-1, len(self._names))
        self._values += len(seen)
        self._lowest = np.minimum(self._lowest, seen.min(axis=0))
        self._highest = np.maximum(self._highest, seen.max(axis=0))
        self._sum += seen.sum(axis=0, dtype=np.float64)
        self._zero += (seen == 0).sum(axis=0)

    def figures(self) -> tuple[SpreadFigures, ...]:
        """Return the figures of every number."""
        return tuple(
            SpreadFigures(
                name=name,
                zero=float(self._zero[index] / self._values),
                lowest=float(self._lowest[index]),
                mean=float(self._sum[index] / self._values),
                highest=float(self._highest[index]),
            )
            for index, name in enumerate(self._names)
        )


def _labels(action: Action) -> tuple[str, ...]:
    if not isinstance(action, ActionBins):
        return action.labels
    ordered = tuple(f"{value:g}" for value in np.linspace(action.low, action.high, action.count))
    return ordered if action.off is None else ("off", *ordered)


def _nearest_bin(action: Action, values: Array) -> Array:
    if not isinstance(action, ActionBins):
        return values.astype(np.int64)
    step = (action.high - action.low) / (action.count - 1)
    ordered = np.rint((values - action.low) / step).astype(np.int64)
    if action.off is None:
        return ordered
    return np.where(values < action.low, 0, ordered + 1)
