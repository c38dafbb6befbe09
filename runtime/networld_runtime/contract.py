"""The contract: what the model, the messages and the radio of one task agree on.

A contract is plain data. Its hash stands in every bundle, birth message and mean-field message, so that
two cells that would misread each other notice at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from reprlib import repr as shown
from typing import Any

import numpy as np
import numpy.typing as npt

from networld_runtime.errors import BundleError
from networld_runtime.plain_values import (
    attempt,
    attribute_problems,
    is_count,
    is_number,
    is_text,
    rises,
)

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

NORMALISED_LIMIT = 1.5
"""Where normalised values are clipped."""

LARGEST_ACTION = 8
"""Components that an action may have."""


@dataclass(frozen=True)
class Feature:
    """One entry of an observation vector; `low` and `high` map to -1 and 1."""

    name: str
    unit: str
    low: float
    high: float


def normalised(features: Sequence[Feature], values: npt.ArrayLike) -> FloatArray:
    """Scale values `[..., D]` so that each feature's range is [-1, 1], clipped at 1.5."""
    low = np.array([feature.low for feature in features], dtype=np.float32)
    high = np.array([feature.high for feature in features], dtype=np.float32)
    scaled = 2 * (np.asarray(values, dtype=np.float32) - low) / (high - low) - 1
    return np.asarray(np.clip(scaled, -NORMALISED_LIMIT, NORMALISED_LIMIT), dtype=np.float32)


@dataclass(frozen=True)
class ActionBins:
    """Two-hot bins of a number: `count` values from `low` to `high`, and first an "off" if any.

    Attributes:
        name: What the action sets, with its unit (`power_db`).
        low: Value of the first ordered bin.
        high: Value of the last ordered bin.
        count: Number of ordered bins, equally spaced.
        off: Native value that stands for "off", below `low`, as all from there up to `low` do; None if
            the action has no off.

    Raises:
        ValueError: A value is of the wrong type or out of range, or the bounds do not rise in float32;
            lists all of them.
    """

    name: str
    low: float
    high: float
    count: int
    off: float | None = None

    def __post_init__(self) -> None:
        above = is_number(self.high) and rises(self.low, self.high)
        below = self.off is None or (is_number(self.off) and rises(self.off, self.low))
        problems = attribute_problems(
            self,
            (
                ("name", is_text(self.name), "a name"),
                ("low", is_number(self.low), "a finite number"),
                ("high", above, "a finite number above low, also in float32"),
                ("count", is_count(self.count, 2), "a whole number, at least 2"),
                ("off", below, "null or a finite number below low, also in float32"),
            ),
        )
        if problems:
            raise ValueError(f"action {shown(self.name)}: {'; '.join(problems)}")

    @property
    def size(self) -> int:
        """Number of bins, the one for "off" included."""
        return self.count + (self.off is not None)


@dataclass(frozen=True)
class Choice:
    """An action that is one of several; its native value is the index.

    Attributes:
        name: What is chosen.
        labels: Meaning of each index.
        masked: Whether some choices may be invalid in a slot, as an action mask says.

    Raises:
        ValueError: A value is of the wrong type, or there is no label; lists all problems.
    """

    name: str
    labels: tuple[str, ...]
    masked: bool = False

    def __post_init__(self) -> None:
        labels = self.labels
        named = isinstance(labels, tuple) and bool(labels) and all(map(is_text, labels))
        problems = attribute_problems(
            self,
            (
                ("name", is_text(self.name), "a name"),
                ("labels", named, "a list of one or more names"),
                ("masked", isinstance(self.masked, bool), "true or false"),
            ),
        )
        if problems:
            raise ValueError(f"action {shown(self.name)}: {'; '.join(problems)}")

    @property
    def size(self) -> int:
        """Number of choices."""
        return len(self.labels)


Action = ActionBins | Choice
"""A component of an action."""


def actions_from_json(data: Sequence[Mapping[str, Any]]) -> tuple[Action, ...]:
    """Build components from their plain JSON data.

    Raises:
        TypeError: A key is missing or unknown, or a value of the wrong type or out of range; lists the
            problems of all components.
    """
    problems: list[str] = []
    actions = [attempt(_action_from_json, one, problems) for one in data]
    if problems:
        raise TypeError("; ".join(problems))
    return tuple(action for action in actions if action is not None)


def _action_from_json(data: Mapping[str, Any]) -> Action:
    if "labels" not in data:
        return ActionBins(**data)
    labels = data["labels"]  # JSON has no tuples, and a string is no list of labels
    return Choice(**{**data, "labels": tuple(labels) if isinstance(labels, list) else labels})


def _safe_action_from_json(data: Any) -> tuple[float, ...]:
    if not isinstance(data, (list, tuple)):
        raise TypeError(f"{shown(data)}, expected a list of numbers")
    return tuple(float(value) if is_number(value) else value for value in data)


def mask_size(actions: Sequence[Action]) -> int:
    """Return the entries of an action mask: the choices of the masked component, 0 without one."""
    return next((a.size for a in actions if isinstance(a, Choice) and a.masked), 0)


def native_bounds(action: Action) -> tuple[float, float]:
    """Return the lowest and highest native value of an action, "off" included."""
    if isinstance(action, Choice):
        return 0.0, float(action.size - 1)
    return (action.low if action.off is None else action.off), action.high


def allowed(
    component: Action, values: npt.NDArray[Any], mask: npt.NDArray[Any] | None = None
) -> tuple[BoolArray, str]:
    """Return which native values of an action are allowed, and what is expected of them.

    A number is compared with its bounds in float32, as cells, messages and data sets hold it; what is too
    large for float32 is not allowed.

    Args:
        component: The component of the action.
        values: Native values of any shape `[...]`.
        mask: Valid choices `[..., A]`; only a masked choice heeds it.
    """
    low, high = native_bounds(component)
    if not isinstance(component, Choice):
        # float32 on both sides: NumPy 1 and 2 differ in what they make of a Python float
        lowest, highest = np.array([low, high], dtype=np.float32)
        with np.errstate(over="ignore"):
            single = np.asarray(values, dtype=np.float32)
        valid = np.asarray((single >= lowest) & (single <= highest))  # false for NaN
        return valid, f"{low:g} to {high:g}"
    valid = np.asarray((values >= low) & (values <= high))  # false for NaN
    whole = np.where(valid, values, 0)
    valid &= whole == np.floor(whole)
    if valid.all() and component.masked and mask is not None:
        chosen = values.astype(np.int64)[..., None]
        return (
            np.asarray(np.take_along_axis(mask, chosen, axis=-1)[..., 0] != 0),
            "a choice that the action mask allows",
        )
    return valid, f"a whole number, {low:g} to {high:g}"


@dataclass(frozen=True)
class ReturnBins:
    """Two-hot bins of the return, equally spaced from `low` to `high`."""

    low: float
    high: float
    count: int


_PARTS: Mapping[str, Callable[[Any], Any]] = {
    "features": lambda features: tuple(Feature(**feature) for feature in features),
    "actions": actions_from_json,
    "safe_action": _safe_action_from_json,
    "returns": lambda returns: ReturnBins(**returns),
}
"""How the parts of a contract that are no plain values are built from JSON."""


@dataclass(frozen=True)
class Contract:
    """Shapes, units and bins of one task.

    Attributes:
        task: Name of the task.
        slot_s: Length of a slot in seconds.
        features: The observation, entry by entry.
        actions: Components of an action, each a number or a choice; at most one choice is masked.
        safe_action: What a cell does before it has decided anything, and when it cannot do what it
            decided last; native units, one value for each component. No mask may forbid it.
        reward_low: Utility that is sent as -127 in a message; rewards are means of utilities.
        reward_high: Utility that is sent as 127 in a message; rarer, higher ones are clipped to it.
        returns: Two-hot bins of the discounted return.
        discount: Weight of the next slot's reward in a return.
        latent_size: Entries of a latent.
        message_size: Entries of a latent that a cell tells its neighbours, the first ones, as int8 values.
        horizon: Future latents of a plan.

    Raises:
        ValueError: A value is of the wrong type or out of range, or the actions, or the safe one, are not
            as said above; lists all problems.
    """

    task: str
    slot_s: float
    features: tuple[Feature, ...]
    actions: tuple[Action, ...]
    safe_action: tuple[float, ...]
    reward_low: float
    reward_high: float
    returns: ReturnBins
    discount: float
    latent_size: int
    message_size: int
    horizon: int

    def __post_init__(self) -> None:
        problems = attribute_problems(
            self,
            (
                ("task", is_text(self.task), "a name"),
                ("slot_s", is_number(self.slot_s) and self.slot_s > 0, "seconds above 0"),
                ("reward_low", is_number(self.reward_low), "a finite number"),
                (
                    "reward_high",
                    is_number(self.reward_high) and rises(self.reward_low, self.reward_high),
                    "a finite number above reward_low",
                ),
                ("discount", is_number(self.discount) and 0 <= self.discount <= 1, "0 to 1"),
                ("latent_size", is_count(self.latent_size, 1), "a whole number, at least 1"),
                (
                    "message_size",
                    is_count(self.message_size, 1)
                    and not (is_number(self.latent_size) and self.message_size > self.latent_size),
                    "a whole number, 1 to latent_size",
                ),
                ("horizon", is_count(self.horizon, 1), "a whole number, at least 1"),
            ),
        )
        if not self.features:
            problems.append("no features, expected one or more")
        ranges: list[tuple[str, Feature | ReturnBins]] = [("returns", self.returns)]
        ranges += [(f"feature {shown(feature.name)}", feature) for feature in self.features]
        problems += [
            f"range of {name} = {shown(one.low)} to {shown(one.high)}, expected numbers that rise"
            for name, one in ranges
            if not (is_number(one.low) and is_number(one.high) and rises(one.low, one.high))
        ]
        if not is_count(self.returns.count, 2):
            found = shown(self.returns.count)
            problems.append(f"count of returns = {found}, expected a whole number, at least 2")
        problems += self._action_problems()
        if problems:
            raise ValueError("; ".join(problems))

    def _action_problems(self) -> list[str]:
        if not 1 <= len(self.actions) <= LARGEST_ACTION:
            return [f"{len(self.actions)} actions, expected 1 to {LARGEST_ACTION}"]
        if sum(isinstance(action, Choice) and action.masked for action in self.actions) > 1:
            return ["several actions are masked, one may be"]
        numbers = all(map(is_number, self.safe_action))
        if not numbers or not self.allows(np.array(self.safe_action, dtype=np.float64)):
            return [f"safe_action {shown(self.safe_action)} is none of the actions"]
        return []

    @property
    def observation_size(self) -> int:
        """Entries of an observation."""
        return len(self.features)

    @property
    def action_size(self) -> int:
        """Probabilities that stand for an action, those of its components side by side."""
        return sum(action.size for action in self.actions)

    @property
    def mask_size(self) -> int:
        """Entries of the action mask, 0 if no action is masked."""
        return mask_size(self.actions)

    @property
    def mean_field_size(self) -> int:
        """Entries of a mean field: the mean message and the share of neighbours heard."""
        return self.message_size + 1

    def to_json(self) -> dict[str, Any]:
        """Return the contract as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contract:
        """Build a contract from `to_json`'s data.

        Raises:
            BundleError: A key is missing, unknown, of the wrong type or out of range; lists the problems
                of all parts, or of the whole if no part has any.
        """
        problems: list[str] = []
        fields = dict(data)
        for name, build in _PARTS.items():
            if name in fields:
                fields[name] = attempt(build, fields[name], problems, f"{name}: ")
        contract = None if problems else attempt(lambda fields: cls(**fields), fields, problems)
        if contract is None:
            problems[-1] += "; make the bundle again"
            raise BundleError("contract", problems)
        return contract

    def digest(self) -> bytes:
        """Return the SHA-256 of the canonical JSON form; messages carry its first four bytes."""
        return self._digest

    @cached_property
    def _digest(self) -> bytes:
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).digest()

    def normalise(self, observation: npt.ArrayLike) -> FloatArray:
        """Scale observations `[..., D]` so that each feature's range is [-1, 1], clipped at 1.5."""
        return normalised(self.features, observation)

    def allows(self, action: npt.NDArray[Any], mask: BoolArray | None = None) -> bool:
        """Return whether a native action `[C]` is one that a cell may take.

        Args:
            action: Native values, one for each component.
            mask: Valid choices `[mask_size]`; None if all are.
        """
        return action.shape == (len(self.actions),) and all(
            bool(allowed(component, action[index], mask)[0])
            for index, component in enumerate(self.actions)
        )
