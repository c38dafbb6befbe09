"""A data set on disk: safetensors shards beside a manifest that says what they hold.

Arrays of a shard, `n` episodes of `T` slots and `K` cells:

- `observations [n, T + 1, K, D]`, native units;
- `actions [n, T, K]`, native units, as they took effect;
- `rewards [n, T, K]`, `utilities [n, T, K]`;
- `behaviours [n, K]`, index into the manifest's list; `seeds [n]`.

The mean field is not stored: it is made of latents, which the model learns; `neighbours [K, 6]` is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from networld_runtime.contract import Contract
from networld_runtime.errors import BundleError, DataError
from networld_runtime.files import write_atomically

FORMAT = 1
MANIFEST = "manifest.json"
ARRAYS = ("observations", "actions", "rewards", "utilities", "behaviours", "seeds", "neighbours")

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Shard:
    """One file of a data set."""

    file: str
    sha256: str
    episodes: int
    scenario: Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a data set holds.

    Attributes:
        dataset_id: `networld/<task>/<quality>-v0`.
        task: Name of the task.
        contract: The contract of its observations, actions and rewards.
        behaviours: Names of the behaviour policies, as `behaviours` counts them.
        seed: Seed that the whole set is made from.
        shards: The files, in order.
        total_shards: Number of shards of the finished set.
    """

    dataset_id: str
    task: str
    contract: Contract
    behaviours: tuple[str, ...]
    seed: int
    shards: tuple[Shard, ...]
    total_shards: int

    @property
    def complete(self) -> bool:
        """Whether every shard is there."""
        return len(self.shards) == self.total_shards

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as plain JSON data."""
        return {"format": FORMAT, **asdict(self)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a data set's manifest."""
    write_atomically(folder / MANIFEST, (json.dumps(manifest.to_json(), indent=1) + "\n").encode())


def write_shard(folder: Path, name: str, arrays: Arrays, scenario: Mapping[str, Any]) -> Shard:
    """Write a shard and return its entry for the manifest."""
    content = save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
    write_atomically(folder / name, content)
    episodes = len(arrays["seeds"])
    return Shard(name, hashlib.sha256(content).hexdigest(), episodes, scenario)


def read_manifest(folder: Path) -> Manifest:
    """Read a data set's manifest.

    Raises:
        DataError: It is missing, damaged or of another format.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(
            str(folder), f"no {MANIFEST}; make the data set with `networld data --output {folder}`"
        ) from None
    except ValueError as error:
        raise DataError(str(path), f"not JSON ({error}); make the data set again") from error
    try:
        found = data.pop("format")
        if found != FORMAT:
            raise DataError(str(path), f"format {found!r}, expected {FORMAT}; make it again")
        data["contract"] = Contract.from_json(data["contract"])
        data["behaviours"] = tuple(data["behaviours"])
        data["shards"] = tuple(Shard(**shard) for shard in data["shards"])
        return Manifest(**data)
    except (KeyError, TypeError, AttributeError, BundleError) as error:
        raise DataError(str(path), f"damaged ({error}); make the data set again") from error


def read_shard(folder: Path, shard: Shard, contract: Contract) -> Arrays:
    """Read one shard after checking its digest, arrays and shapes.

    Raises:
        DataError: The shard is missing, damaged or does not fit the contract; lists every problem.
    """
    path = folder / shard.file
    repair = "run `networld data` again with the same options: it makes only what is missing"
    if not path.is_file():
        raise DataError(str(path), f"missing; {repair}")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != shard.sha256:
        raise DataError(
            str(path), f"damaged: SHA-256 {digest[:12]}…, expected {shard.sha256[:12]}…; {repair}"
        )
    try:
        arrays: Arrays = load(content)
    except SafetensorError as error:
        raise DataError(str(path), f"not safetensors ({error}); {repair}") from error
    problems = [f"array {name!r} is missing" for name in ARRAYS if name not in arrays]
    if not problems:
        observed = arrays["observations"].shape
        if observed[-1] != contract.observation_size:
            problems.append(f"{observed[-1]} features, expected {contract.observation_size}")
        if len(arrays["seeds"]) != shard.episodes or observed[0] != shard.episodes:
            problems.append(f"{observed[0]} episodes, the manifest says {shard.episodes}")
        problems += [
            f"array {name!r} holds values that are not finite"
            for name in ("observations", "actions", "rewards")
            if not np.isfinite(arrays[name]).all()
        ]
    if problems:
        raise DataError(str(path), problems)
    return arrays
