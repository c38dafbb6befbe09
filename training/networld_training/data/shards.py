"""Shards of a data set: safetensors files, written whole, checked before anybody reads them.

Arrays of a shard of `n` episodes of `T` slots with `K` cells; `D`, `C`, `M` and `A` are the features,
action components, message entries and choices of the masked action that the task's interface lists:

- `observations [n, T + 1, K, D]`, native units;
- `actions [n, T, K, C]`, native units, as they took effect;
- `rewards [n, T, K]`, `utilities [n, T, K]`, `credits [n, T, K]`: see `tasks.base.Outcome`;
- `couplings [n, T, K, 6, Q]`: how strongly each neighbour's being active acts on a cell, before the cells
  act, as the manifest's `couplings` name it; only in tasks that name any;
- `mean_field [n, T + 1, K, M]`: average of the neighbours' messages of the slot before, as received;
- `action_mask [n, T + 1, K, A]`: 1 where a choice is valid; only in tasks with a masked action;
- `behaviours [n, K]`: index into the manifest's behaviours;
- `seeds [n]`, `metrics [n, figures of merit]` of whole episodes;
- `neighbours [K, 6]`: the nearest cells of each cell.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from networld_runtime.contract import Feature
from networld_runtime.errors import DataError
from networld_runtime.files import write_atomically
from networld_training.data.manifest import Manifest, Shard
from networld_training.tasks.network import Network
from networld_training.tasks.spec import allowed

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]

NEIGHBOURS = 6
SEEDS = (2**31, 2**32 - 1)
"""Lowest and highest seed of an episode. Evaluation draws from 2^32 on and people choose small seeds, so
no episode of a data set is ever judged on."""


def write_shard(folder: Path, name: str, arrays: Arrays, network: Network) -> Shard:
    """Write a shard and return its entry for the manifest."""
    content = save({key: np.ascontiguousarray(value) for key, value in arrays.items()})
    write_atomically(folder / name, content)
    episodes = len(arrays["seeds"])
    return Shard(name, hashlib.sha256(content).hexdigest(), episodes, asdict(network))


def read_shard(folder: Path, manifest: Manifest, shard: Shard) -> Arrays:
    """Read one shard after checking its digest, arrays and values.

    Raises:
        DataError: The shard is missing, damaged or not what the manifest says; lists every problem.
    """
    arrays, problems = examine_shard(folder, manifest, shard)
    if problems:
        problems[-1] += f"; make it again with {manifest.how_to_make(folder)}"
        raise DataError(str(folder / shard.file), problems)
    return arrays


def examine_shard(folder: Path, manifest: Manifest, shard: Shard) -> tuple[Arrays, list[str]]:
    """Return the arrays of a shard and all that is wrong with it; use the arrays if nothing is."""
    path = folder / shard.file
    if not path.is_file():
        return {}, ["missing"]
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != shard.sha256:
        return {}, [
            f"damaged: {len(content)} bytes with SHA-256 {digest[:12]}…, expected {shard.sha256[:12]}…"
        ]
    try:
        arrays: Arrays = load(content)
    except SafetensorError as error:
        return {}, [f"not safetensors ({error})"]
    problems = _layout_problems(arrays, manifest, shard)
    return arrays, problems or _value_problems(arrays, manifest)


def layout(manifest: Manifest, shard: Shard) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return type and shape of every array of a shard."""
    spec = manifest.spec
    episodes, slots, cells = shard.episodes, shard.network["slots"], shard.network["cells"]
    acting, seen = (episodes, slots, cells), (episodes, slots + 1, cells)
    arrays = {
        "observations": ("float32", (*seen, len(spec.features))),
        "actions": ("float32", (*acting, len(spec.actions))),
        "rewards": ("float32", acting),
        "utilities": ("float32", acting),
        "credits": ("float32", acting),
        "mean_field": ("float32", (*seen, len(spec.message))),
        "behaviours": ("int32", (episodes, cells)),
        "seeds": ("int64", (episodes,)),
        "metrics": ("float64", (episodes, len(spec.kpis))),
        "neighbours": ("int64", (cells, NEIGHBOURS)),
    }
    if manifest.couplings:
        arrays["couplings"] = ("float32", (*acting, NEIGHBOURS, len(manifest.couplings)))
    if spec.mask_size:
        arrays["action_mask"] = ("uint8", (*seen, spec.mask_size))
    return arrays


def _layout_problems(arrays: Arrays, manifest: Manifest, shard: Shard) -> list[str]:
    expected = layout(manifest, shard)
    problems = [f"array {name!r}: not expected here" for name in arrays if name not in expected]
    for name, (kind, shape) in expected.items():
        if name not in arrays:
            problems.append(f"array {name!r} is missing")
        elif (str(arrays[name].dtype), arrays[name].shape) != (kind, shape):
            found = f"{arrays[name].dtype} {arrays[name].shape}"
            problems.append(f"array {name!r} is {found}: expected {kind} {shape}")
    return problems


def _value_problems(arrays: Arrays, manifest: Manifest) -> list[str]:
    spec = manifest.spec
    problems = []
    for name in ("observations", "rewards", "utilities", "credits", "metrics"):
        problems += _wrong(name, arrays[name], np.isfinite(arrays[name]), "a finite number")
    for index, feature in enumerate(spec.message):
        entry = arrays["mean_field"][..., index]
        told = f"mean_field {feature.name}"
        expected = f"{feature.low:g} to {feature.high:g}"
        problems += _wrong(told, entry, _within(entry, feature), expected)
    for index, name in enumerate(manifest.couplings):
        values = arrays["couplings"][..., index]
        valid = np.isfinite(values) & (values >= 0)
        problems += _wrong(f"couplings {name!r}", values, valid, "a finite number from 0")
    mask = arrays.get("action_mask")
    if mask is not None:
        problems += _wrong("action_mask", mask, mask <= 1, "0 or 1")
        some = np.asarray(mask.any(axis=-1))
        problems += _wrong("action_mask", mask.sum(axis=-1), some, "a valid choice at least")
    for index, component in enumerate(spec.actions):
        values = arrays["actions"][..., index]
        valid, expected = allowed(component, values, None if mask is None else mask[:, :-1])
        problems += _wrong(f"actions {component.name}", values, valid, expected)
    highest = len(manifest.quality.behaviours) - 1
    cells = arrays["neighbours"].shape[0]
    for name, low, high in (
        ("behaviours", 0, highest),
        ("seeds", *SEEDS),
        ("neighbours", 0, cells - 1),
    ):
        valid = (arrays[name] >= low) & (arrays[name] <= high)
        problems += _wrong(name, arrays[name], valid, f"{low} to {high}")
    return problems


def _within(entry: Array, feature: Feature) -> Array:
    rounding = 1e-5 * (abs(feature.low) + abs(feature.high))
    return np.asarray((entry >= feature.low - rounding) & (entry <= feature.high + rounding))


def _wrong(name: str, values: Array, valid: Array, expected: str) -> list[str]:
    """Return a line on the first wrong value, with its place and how many there are."""
    if valid.all():
        return []
    places = np.argwhere(~valid)
    first = tuple(int(axis) for axis in places[0])
    others = f" ({len(places)} such values)" if len(places) > 1 else ""
    return [f"{name} at {list(first)} = {values[first]:g}: expected {expected}{others}"]
