"""`networld-agent bundle`: what a person does with the store of a cell."""

from __future__ import annotations

import argparse
import json
from typing import Any

from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.errors import BundleError
from networld_runtime.startup import KeyedStore, build_model, open_store
from networld_runtime.store import activation
from networld_runtime.store.install import install
from networld_runtime.store.record import Record


def run(options: argparse.Namespace) -> int:
    """Carry out one of the sub-commands; return 0."""
    config = load_config(options.config, options.changes)
    keyed = open_store(config)
    if options.action == "install":
        _install(options, config, keyed)
    elif options.action == "activate":
        _activate(options, config, keyed)
    elif options.action == "rollback":
        record = activation.roll_back(keyed.store, keyed.keys)
        print(f"in use: {_named(keyed, record.current)}")
    else:
        _list(options, keyed)
    return 0


def _install(options: argparse.Namespace, config: Config, keyed: KeyedStore) -> None:
    done = install(
        keyed.store,
        options.source,
        keyed.keys,
        config.cell.task,
        lambda path: build_model(config, path),
        slot_s=config.timing.slot_s,
        change_contract=options.change_contract,
    )
    contents = done.contents
    what = f"{contents.name} version {contents.version}, signed by {contents.signed_by}"
    if not done.new:
        print(f"was installed already: {done.digest[:12]} ({what})")
        return
    print(f"installed: {done.digest[:12]} ({what}; a decision takes {done.plan_ms} ms here)")
    print(f"use it: networld-agent bundle activate {done.digest[:12]} --config {options.config}")


def _activate(options: argparse.Namespace, config: Config, keyed: KeyedStore) -> None:
    record = activation.activate(
        keyed.store,
        keyed.store.find(options.digest),
        keyed.keys,
        config.cell.task,
        change_contract=options.change_contract,
        retry=options.retry,
    )
    state = "on probation" if record.on_probation else "proven"
    print(f"in use: {_named(keyed, record.current)}, {state}")


def _list(options: argparse.Namespace, keyed: KeyedStore) -> None:
    record = keyed.store.record()
    rows = [_row(keyed, digest, record) for digest in keyed.store.installed()]
    if options.json:
        print(json.dumps({"lowest_version": record.lowest_version, "bundles": rows}, indent=1))
        return
    if not rows:
        print(f"no bundles in {keyed.store.path}")
    for row in sorted(rows, key=lambda row: row["version"] or 0):
        version = "-" if row["version"] is None else row["version"]
        states = ", ".join(row["states"])
        print(f"{row['digest'][:12]}  version {version}  {row['name'] or '-'}  {states}")


def _row(keyed: KeyedStore, digest: str, record: Record) -> dict[str, Any]:
    states = []
    if digest == record.current:
        states.append("in use, on probation" if record.on_probation else "in use")
    if digest == record.previous:
        states.append("previous")
    if digest in record.failed:
        states.append(f"failed: {record.failed[digest]}")
    try:
        contents = activation.stored_contents(keyed.store, digest, keyed.keys)
    except BundleError as error:
        problem = "; ".join(error.problems)
        return {"digest": digest, "name": None, "version": None, "states": [*states, problem]}
    if not states:
        old = contents.version < record.lowest_version
        states.append("too old" if old else "installed")
    return {
        "digest": digest,
        "name": contents.name,
        "version": contents.version,
        "signed_by": contents.signed_by,
        "states": states,
    }


def _named(keyed: KeyedStore, digest: str | None) -> str:
    if digest is None:
        return "none"
    contents = activation.stored_contents(keyed.store, digest, keyed.keys)
    return f"{digest[:12]} ({contents.name} version {contents.version})"
