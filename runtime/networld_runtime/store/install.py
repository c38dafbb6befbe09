"""From a folder that nobody vouches for to a bundle in the store: copied, checked, tried out, then there."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from networld_runtime.bundle import MANIFEST, MAXIMUM_GRAPH_BYTES, Bundle
from networld_runtime.contract import FloatArray
from networld_runtime.errors import BundleError
from networld_runtime.files import write_atomically
from networld_runtime.realtime import LatencyRing, monotonic_s
from networld_runtime.store.activation import (
    Build,
    check_contract,
    check_version,
    stored_contents,
)
from networld_runtime.store.contents import Contents, check_files, read_contents
from networld_runtime.store.copying import copy_inside, flush_tree, size_inside
from networld_runtime.store.folder import Store
from networld_runtime.store.signature import SIGNATURE

MAXIMUM_BUNDLE_BYTES = 1 << 30
SPARE_BYTES = 1 << 20
PROBE_RUNS = 50
PROBE_PERCENT = 90

_log = logging.getLogger(__name__)


class Planner(Protocol):
    """What the latency probe needs of `planner.Planner`."""

    def warm_up(self, runs: int = 20) -> None:
        """Run the model a few times."""
        ...

    def encode(self, observation: FloatArray) -> FloatArray:
        """Return the latent of an observation."""
        ...

    def plan(self, latent: FloatArray, mean_field: FloatArray) -> Any:
        """Return the decision."""
        ...


@dataclass(frozen=True)
class Installed:
    """What was installed.

    Attributes:
        digest: The bundle's name in the store.
        contents: What it holds.
        new: Whether it was not there before.
        plan_ms: What a decision takes on this computer, of ten the slowest but one; None where it was there.
    """

    digest: str
    contents: Contents
    new: bool
    plan_ms: float | None


def install(
    store: Store,
    source: Path,
    keys: dict[str, bytes],
    task: str,
    build: Build[tuple[Bundle, Any]],
    *,
    slot_s: float | None = None,
    change_contract: bool = False,
) -> Installed:
    """Bring a bundle into the store; nothing of it is used yet.

    What is copied is the manifest, its signature and the files that the manifest names, nothing else.

    Args:
        store: Where it goes.
        source: The bundle's folder.
        keys: Trusted keys.
        task: The task of the cell.
        build: Loads a bundle with its planner, which runs its golden vectors.
        slot_s: Length of a slot; None takes the contract's.
        change_contract: Let its contract differ from that of the bundle in use.

    Raises:
        BundleError: It is unsigned, damaged, too old, too large, does not fit the cell, answers wrongly or
            too slowly on this computer, or the store cannot be written; the store is as before.
        ConfigError: A planner setting of the cell does not fit it.
    """
    contents = read_contents(source, keys)
    digest = contents.digest
    check_version(store, contents, store.record())
    check_contract(store, contents, keys, task, change_contract=change_contract)
    with store.incoming() as incoming:
        if _is_intact(store, digest, keys):
            return Installed(digest, contents, new=False, plan_ms=None)
        _remove_useless(store, keys)
        _check_size(store, source, contents)
        folder = incoming / digest
        folder.mkdir()
        _copy(source, contents, folder)
        bundle, planner = build(folder)
        if bundle.digest != digest:
            raise BundleError(str(folder), "was changed while it was installed")
        for graph in bundle.graphs:
            bundle.session(graph)
        plan_ms = _probe(bundle, planner, slot_s or bundle.contract.slot_s)
        flush_tree(folder)
        store.put(folder, digest)
    return Installed(digest, contents, new=True, plan_ms=plan_ms)


def _is_intact(store: Store, digest: str, keys: dict[str, bytes]) -> bool:
    if not store.folder(digest).is_dir():
        return False
    try:
        check_files(store.folder(digest), stored_contents(store, digest, keys))
    except BundleError as error:
        _log.warning("installed again: %s", error)
        return False
    return True


def _check_size(store: Store, source: Path, contents: Contents) -> None:
    """Refuse what is too large, or what the disk has no room for, before anything is copied."""
    sizes = [size_inside(source, name, MAXIMUM_GRAPH_BYTES) for name in contents.files]
    total = sum(sizes) + len(contents.manifest) + SPARE_BYTES
    if total > MAXIMUM_BUNDLE_BYTES:
        raise BundleError(
            str(source), f"{total} bytes in all, at most {MAXIMUM_BUNDLE_BYTES} are allowed"
        )
    free = shutil.disk_usage(store.path).free
    if total > free:
        raise BundleError(
            str(store.path), f"{free} bytes free, {total} are needed; make room on that disk"
        )


def _copy(source: Path, contents: Contents, folder: Path) -> None:
    problems = []
    for name, digest in contents.files.items():
        if copy_inside(source, name, folder, MAXIMUM_GRAPH_BYTES) != digest:
            problems.append(
                f"{name}: damaged, its SHA-256 differs from the manifest; copy it again"
            )
    if problems:
        raise BundleError(str(source), problems)
    write_atomically(folder / SIGNATURE, contents.signature)
    write_atomically(folder / MANIFEST, contents.manifest)


def _probe(bundle: Bundle, planner: Planner, slot_s: float) -> float:
    """Return milliseconds of a decision; refuse a bundle that takes longer than a slot."""
    contract = bundle.contract
    field = np.zeros(contract.mean_field_size, dtype=np.float32)
    observation = np.zeros(contract.observation_size, dtype=np.float32)
    planner.warm_up()
    durations = LatencyRing(PROBE_RUNS)
    for _ in range(PROBE_RUNS):
        begin_s = monotonic_s()
        planner.plan(planner.encode(observation), field)
        durations.add(monotonic_s() - begin_s)
    took_ms = durations.percentile_ms(PROBE_PERCENT) or 0.0
    if took_ms > 1000 * slot_s:
        raise BundleError(
            f"bundle {bundle.name!r}",
            f"a decision takes {took_ms:.3g} ms on this computer, a slot has {1000 * slot_s:.3g} ms; "
            "choose a faster mode in [planner], or another bundle",
        )
    return took_ms


def _remove_useless(store: Store, keys: dict[str, bytes]) -> None:
    """Remove bundles that can never be used again: older than one that has proven itself, or damaged."""
    record = store.record()
    for digest in store.installed():
        if digest in (record.current, record.previous):
            continue
        try:
            useless = stored_contents(store, digest, keys).version < record.lowest_version
        except BundleError:
            useless = True
        if useless:
            store.take_away(digest)
            _log.info("removed bundle %s, which could not be used any more", digest[:12])
