"""The contract: what the model, the messages and the radio of one task agree on.

A contract is plain data. Its hash stands in every bundle, birth message and mean-field message, so that
two cells that would misread each other notice at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from networld_runtime.errors import BundleError

FloatArray = npt.NDArray[np.float32]

NORMALISED_LIMIT = 1.5
"""Where normalised values are clipped."""


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
    """Two-hot bins of one action: `count` values from `low` to `high`, and first an "off" if any.

    Attributes:
        name: What the action sets, with its unit (`power_db`).
        low: Value of the first ordered bin.
        high: Value of the last ordered bin.
        count: Number of ordered bins, equally spaced.
        off: Native value that stands for "off", below `low`; None if the action has no off.
    """

    name: str
    low: float
    high: float
    count: int
    off: float | None = None

    @property
    def size(self) -> int:
        """Number of bins, the one for "off" included."""
        return self.count + (self.off is not None)


@dataclass(frozen=True)
class ReturnBins:
    """Two-hot bins of the return, equally spaced from `low` to `high`."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Contract:
    """Shapes, units and bins of one task.

    Attributes:
        task: Name of the task.
        slot_s: Length of a slot in seconds.
        features: The observation, entry by entry.
        action: Two-hot bins of the action.
        reward_low: Utility that is sent as -127 in a message; rewards are means of utilities.
        reward_high: Utility that is sent as 127 in a message; rarer, higher ones are clipped to it.
        returns: Two-hot bins of the discounted return.
        discount: Weight of the next slot's reward in a return.
        latent_size: Entries of a latent, and int8 values of a message.
        horizon: Future latents of a plan.
    """

    task: str
    slot_s: float
    features: tuple[Feature, ...]
    action: ActionBins
    reward_low: float
    reward_high: float
    returns: ReturnBins
    discount: float
    latent_size: int
    horizon: int

    @property
    def observation_size(self) -> int:
        """Entries of an observation."""
        return len(self.features)

    @property
    def mean_field_size(self) -> int:
        """Entries of a mean field: the mean latent and the share of neighbours heard."""
        return self.latent_size + 1

    def to_json(self) -> dict[str, Any]:
        """Return the contract as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Contract:
        """Build a contract from `to_json`'s data.

        Raises:
            BundleError: A key is missing, unknown or of the wrong type.
        """
        try:
            fields = dict(data)
            fields["features"] = tuple(Feature(**feature) for feature in fields["features"])
            fields["action"] = ActionBins(**fields["action"])
            fields["returns"] = ReturnBins(**fields["returns"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise BundleError("contract", f"{error}; make the bundle again") from error

    def digest(self) -> bytes:
        """Return the SHA-256 of the canonical JSON form; messages carry its first four bytes."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).digest()

    def normalise(self, observation: npt.ArrayLike) -> FloatArray:
        """Scale observations `[..., D]` so that each feature's range is [-1, 1], clipped at 1.5."""
        return normalised(self.features, observation)
