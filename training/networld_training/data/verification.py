"""Checking a data set: every shard, every array, every value; all problems at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from networld_runtime.errors import DataError
from networld_training.data.manifest import Manifest, read_manifest, unfinished
from networld_training.data.shards import examine_shard


def verify(folder: Path, report: Callable[[int], None] = lambda _: None) -> Manifest:
    """Check a whole data set and return its manifest.

    Args:
        folder: The data set.
        report: Called with the number of shards read.

    Raises:
        DataError: Shards are missing or damaged; lists every problem of every shard.
    """
    manifest = read_manifest(folder)
    problems = []
    for index, shard in enumerate(manifest.shards):
        found = examine_shard(folder, manifest, shard)[1]
        problems += [f"{shard.file}: {problem}" for problem in found]
        report(index + 1)
    if not manifest.complete:
        problems.append(unfinished(manifest, folder))
    elif problems:
        problems[-1] += f"; mend it with {manifest.how_to_make(folder)}"
    if problems:
        raise DataError(str(folder), problems)
    return manifest
