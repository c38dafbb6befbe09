"""Which bundle of a store is in use: activation, probation, commit, and the way back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from networld_runtime.bundle import Bundle
from networld_runtime.errors import BundleError, ConfigError, NetWorldError
from networld_runtime.store.contents import Contents, check_files, read_contents
from networld_runtime.store.folder import Store
from networld_runtime.store.record import FAILED_STARTS, Record

_log = logging.getLogger(__name__)

NONE_ACTIVE = "no bundle is active; `networld-agent bundle install` and `activate` one first"

Model = TypeVar("Model", bound=tuple[Bundle] | tuple[Bundle, Any])
Build = Callable[[Path], Model]
"""Loads a bundle from its folder, with its planner."""


def stored_contents(store: Store, digest: str, keys: dict[str, bytes]) -> Contents:
    """Return what an installed bundle holds, its signature checked once more.

    Raises:
        BundleError: It is not there, not signed by a trusted key (any more), or another than was installed.
    """
    folder = store.folder(digest)
    if not folder.is_dir():
        raise BundleError(str(store.path), f"bundle {digest[:12]} is missing; install it again")
    contents = read_contents(folder, keys)
    if contents.digest != digest:
        raise BundleError(str(folder), "not the manifest that was installed; install it again")
    return contents


def activate(
    store: Store,
    digest: str,
    keys: dict[str, bytes],
    task: str,
    *,
    change_contract: bool = False,
    retry: bool = False,
) -> Record:
    """Put an installed bundle in use, on probation.

    Args:
        store: Where it lies.
        digest: Which one.
        keys: Trusted keys.
        task: The task of the cell.
        change_contract: Let its contract differ from that of the bundle in use.
        retry: Let it be one that failed before.

    Raises:
        BundleError: It is damaged, too old, failed before, or its contract is another; nothing was changed.
    """
    contents = stored_contents(store, digest, keys)
    check_files(store.folder(digest), contents)
    check_contract(store, contents, keys, task, change_contract=change_contract)

    def change(record: Record) -> Record:
        if record.current == digest and not retry:
            return record
        check_version(store, contents, record)
        if digest in record.failed and not retry:
            raise BundleError(
                str(store.path),
                f"bundle {digest[:12]} failed before ({record.failed[digest]}); install a better one, or "
                "give --retry",
            )
        return record.activated(digest)

    return store.change(change)


def roll_back(store: Store, keys: dict[str, bytes]) -> Record:
    """Go back to the previous bundle, as a person asks for.

    Raises:
        BundleError: There is none, or it is damaged; nothing was changed.
    """

    def change(record: Record) -> Record:
        if record.previous is None:
            raise BundleError(str(store.path), "no previous bundle to go back to")
        contents = stored_contents(store, record.previous, keys)
        check_files(store.folder(record.previous), contents)
        return record.rolled_back()

    return store.change(change)


def take_back(store: Store, digest: str, reason: str) -> bool:
    """Go back to the previous bundle because `digest` failed; return whether there was one.

    Nothing is changed where `digest` is not in use any more.

    Raises:
        BundleError: The record cannot be changed.
    """
    taken = False

    def change(record: Record) -> Record:
        nonlocal taken
        if record.current != digest or record.previous is None:
            return record
        taken = True
        return record.taken_back(reason)

    store.change(change)
    return taken


def commit(store: Store, digest: str, version: int) -> None:
    """Note that a bundle has proven itself, unless it is not in use any more.

    Raises:
        BundleError: The record cannot be changed.
    """
    store.change(lambda record: record.committed(version) if record.current == digest else record)


def count_start(store: Store) -> Record:
    """Count a start of a bundle on probation, or take it back where too many ended badly.

    Raises:
        BundleError: The record is damaged or cannot be changed.
    """

    def change(record: Record) -> Record:
        starts = record.starts or 0
        if starts >= FAILED_STARTS and record.previous is not None:
            return record.taken_back(f"{starts} starts in a row ended badly")
        return record.started()

    return store.change(change)


def forgive_start(store: Store) -> None:
    """Note that the present start ended well, or badly for no fault of the bundle's.

    Raises:
        BundleError: The record is damaged or cannot be changed.
    """
    store.change(Record.forgiven)


def start(store: Store, keys: dict[str, bytes], build: Build[Model]) -> Model:
    """Load the bundle in use when a cell starts; where it is no good, go back to the one before.

    Args:
        store: The store.
        keys: Trusted keys.
        build: Loads a bundle.

    Raises:
        BundleError: Neither the current nor the previous bundle can be used.
    """
    try:
        record = count_start(store)
    except BundleError as error:  # a full disk must not keep a cell from starting
        _log.warning("starts of this bundle cannot be counted: %s", error)
        record = _record_or_links(store)
    if record.current is None:
        raise BundleError(str(store.path), NONE_ACTIVE)
    try:
        return load(store, record.current, keys, build)
    except NetWorldError as error:
        # a setting that does not fit a bundle which has proven itself is a mistake in the configuration
        if record.previous is None or (isinstance(error, ConfigError) and not record.on_probation):
            raise
        _log.error("bundle %s is taken back: %s", record.current[:12], error)
        problem = error
    try:
        model = load(store, record.previous, keys, build)
    except NetWorldError as error:
        raise BundleError(
            str(store.path), [f"current bundle: {problem}", f"previous bundle: {error}"]
        ) from error
    try:
        take_back(store, record.current, f"does not start: {problem}")
    except BundleError as error:
        _log.warning("what was taken back cannot be noted: %s", error)
    return model


def _record_or_links(store: Store) -> Record:
    """Return the record, or what the links show of it where it is damaged.

    Raises:
        BundleError: It is damaged, and the links show nothing.
    """
    try:
        return store.record()
    except BundleError:
        current = store.shown("current")
        if current is None:
            raise
        return Record(current, store.shown("previous"))


def load(store: Store, digest: str, keys: dict[str, bytes], build: Build[Model]) -> Model:
    """Check and load an installed bundle.

    Raises:
        BundleError: It is missing, damaged, not signed by a trusted key or does not load.
        ConfigError: A planner setting does not fit it.
    """
    stored_contents(store, digest, keys)
    model = build(store.folder(digest))
    if model[0].digest != digest:
        raise BundleError(str(store.folder(digest)), "was changed while it was loaded")
    return model


def check_version(store: Store, contents: Contents, record: Record) -> None:
    """Refuse a bundle that is older than one that has proven itself, unless it is the current one.

    Raises:
        BundleError: It is.
    """
    if contents.version < record.lowest_version:
        raise BundleError(
            str(store.path),
            f"bundle {contents.name!r} has version {contents.version}, but version "
            f"{record.lowest_version} was in use here already; versions never go back",
        )


def check_contract(
    store: Store,
    contents: Contents,
    keys: dict[str, bytes],
    task: str,
    *,
    change_contract: bool = False,
) -> None:
    """Refuse a bundle without the cell's task, or whose contract is not that of the bundle in use.

    Cells understand each other by their contract: one that changes it alone is deaf and mute.

    Raises:
        BundleError: It does not fit.
    """
    if task not in contents.tasks:
        known = ", ".join(sorted(contents.tasks))
        raise BundleError(
            str(store.path), f"bundle {contents.name!r} has no task {task!r}; it holds: {known}"
        )
    record = store.record()
    if record.current is None or change_contract:
        return
    try:
        current = stored_contents(store, record.current, keys)
    except BundleError as error:
        _log.warning("the contract of the bundle in use is not known: %s", error)
        return
    found, wanted = contents.tasks[task], current.tasks.get(task)
    if found != wanted:
        raise BundleError(
            str(store.path),
            f"bundle {contents.name!r}: contract {found:.12} of {task}, but the bundle in use has "
            f"{wanted or 'none'!s:.12}: the cell would not understand its neighbours; give "
            "--change-contract if they change too",
        )
