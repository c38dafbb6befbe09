"""What each key of a configuration is, which ones a running cell takes over, and the value of each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from networld_runtime.config import Config
from networld_runtime.config_layers import BUILT_IN, Origin
from networld_runtime.config_reader import known_keys

_BUNDLE = "not given: the bundle's"

ABOUT: Mapping[str, str] = {
    "cell.site": "name of the network, the same for all cells that talk to each other",
    "cell.name": "name of the cell, different from all others of the site",
    "cell.task": "what the cell does; the bundle says which tasks it holds",
    "cell.neighbours": "cells whose messages and logs are used; this, mesh.positions or mesh.discover",
    "cell.position_m": "where the cell stands, metres east and north of the site's origin; births tell it",
    "bundle.path": "folder that `networld export` wrote; either this or a store",
    "bundle.store": "folder of signed bundles, which `networld-agent bundle` fills",
    "bundle.trusted_keys": "folder of *.pub keys, by one of which a bundle of the store must be signed",
    "bundle.probation_slots": "slots that a bundle must act in before it counts as proven",
    "bundle.probation_bad_slots": "bad slots among them with which it is taken back",
    "broker.host": "address of the MQTT broker",
    "broker.port": "its port",
    "broker.keep_alive_s": "seconds of silence after which both sides look whether the other is there",
    "broker.connect_timeout_s": "how long the first connection is tried",
    "broker.username": "name at the broker; not given: none",
    "broker.password_file": "file that holds the password, which never stands here; not given: none",
    "broker.protocol": "version of MQTT; auto: 5, and 3.1.1 where the broker does not speak it",
    "broker.tls_ca_file": "authorities that may have signed the broker's certificate, PEM; not given: no TLS",
    "broker.tls_certificate_file": "the cell's own certificate, PEM; not given: none is shown",
    "broker.tls_key_file": "its private key, PEM without a passphrase",
    "authentication.key": "file of this cell's private key; not given: anybody's messages are taken",
    "authentication.cells": "folder of the site's public keys, CELL.pub each; what they do not vouch for is "
    "rejected",
    "authentication.receivers": "cells that use this cell's messages; not given: its neighbours",
    "planner.mode": f"how an action is chosen; {_BUNDLE}",
    "planner.denoiser": f"which network denoises plans; {_BUNDLE}",
    "planner.steps": f"denoising steps of a plan; {_BUNDLE}",
    "planner.candidates": f"plans that one is chosen from; {_BUNDLE}",
    "planner.guidance_scale": f"length of the classifier's step in the modes with guidance; {_BUNDLE}",
    "planner.temperature": f"standard deviation of the noise that plans start from; {_BUNDLE}",
    "planner.warm_start_level": "level to which the last plan is noised again, 0 starts afresh; "
    f"{_BUNDLE}",
    "planner.solver": f"solver of the denoising steps; {_BUNDLE}",
    "planner.anytime": "take the best way that the time left allows, by the bundle's scores; "
    f"{_BUNDLE}",
    "planner.seed": "seed of the noise that plans start from",
    "timing.slot_s": "length of a slot; not given: the contract's",
    "timing.maximum_message_age_slots": "slots after which a neighbour's message counts as missing",
    "adaptation.enabled": "whether experience is collected and the order `adapt` is obeyed",
    "adaptation.capacity_slots": "slots of experience that are kept of the cell and of each neighbour",
    "adaptation.gather_s": "how long the neighbours' logs are waited for",
    "adaptation.steps": f"steps of a training; {_BUNDLE}",
    "adaptation.learning_rate": f"size of a step; {_BUNDLE}",
    "adaptation.weight_decay": f"pull towards the base model; {_BUNDLE}",
    "adaptation.gradient_norm": f"largest norm of a gradient; {_BUNDLE}",
    "adaptation.query_share": f"share of the slots that only judge the adapter; {_BUNDLE}",
    "adaptation.minimum_slots": f"slots below which nothing is trained; {_BUNDLE}",
    "adaptation.passes": f"times that each slot is trained on at most; {_BUNDLE}",
    "adaptation.largest_norm": f"length that an adapter is kept to; {_BUNDLE}",
    "adaptation.largest_divergence": "how far actions may move from the base model's on average, 0 to 1; "
    f"{_BUNDLE}",
    "mesh.positions": "CSV file of the site, `name,x_m,y_m`; the nearest cells are the neighbours",
    "mesh.discover": "whether neighbours are found by the births of the site's cells; needs cell.position_m, "
    "and adaptation.enabled = false",
    "mesh.most_neighbours": "of the nearest so many are taken, by mesh.positions or mesh.discover",
    "mesh.range_m": "how far away they may be; not given: as far as they like",
    "mesh.silent_s": "a discovered neighbour that is silent for so long gives its place to the next nearest, "
    "and one that comes must stay so long before it takes a place; at least 10 slots",
    "mesh.weights": "what a neighbour counts in the mean field, 1 if it is not here; 0: not heard",
    "mesh.age_weight": "by this a message counts less with each slot that it is older than one",
    "mesh.message_bits": "bits of a value in the messages that the cell sends",
    "execution.provider": "where graphs run; auto: the fastest of TensorRT, CUDA and processor that is there",
    "execution.threads": "threads of a graph on the processor",
    "execution.on_missing": "what to do where the provider is not there: end, or go on with the processor",
    "execution.cache": "folder for engines that TensorRT builds; not given: built anew at every start",
    "watch.host": "address of this computer where metrics, health and status are served",
    "watch.port": "its port; 0 serves nothing",
    "watch.ready_without_broker": "whether a cell that lost its broker, and so acts alone, counts as ready",
    "log.format": "json: one object a line on standard output; text: for people, on standard error",
    "log.level": "least important lines that are written",
    "log.file": "file that the log is written to as well, two of at most 1 MB each; not given: none",
    "shield.largest_change": "how much a number of the action may change in a slot, in its own unit; "
    "not given: no limit",
    "state.directory": "the one folder that the agent writes to",
    "radio.kind": 'what observes and acts: "mqtt", or the name of an entry point in `networld.radio`',
    "radio.options": "handed to a radio that is not ours, as they are",
}
"""What each key is, in one line."""

LIVE = frozenset(
    key
    for key in ABOUT
    if key.startswith(("planner.", "adaptation.")) and key != "adaptation.capacity_slots"
) | {
    "timing.maximum_message_age_slots",
    "shield.largest_change",
    "mesh.age_weight",
    "mesh.message_bits",
}
"""Keys that a running cell takes over on SIGHUP.

The memory of experience cannot change its size without loss; all else that is missing here is agreed on
with others, or is open, when the loop begins.
"""

HIDDEN = "(hidden)"
_SECRET = re.compile(r"password|passphrase|secret|token|credential|private|api_?key", re.IGNORECASE)
_NO_SECRET = re.compile(r"_(file|path)$", re.IGNORECASE)


def plain_values(config: Config) -> dict[str, Any]:
    """Return all keys with their values as plain data, the options of the radio one by one."""
    values: dict[str, Any] = {}
    for key in known_keys():
        table, _, name = key.name.partition(".")
        value = getattr(getattr(config, table), name)
        if isinstance(value, Mapping):
            values.update(_leaves(key.name, value))
        else:
            values[key.name] = _plain(value)
    return values


def origin_of(config: Config, key: str) -> Origin:
    """Return where the value of a dotted key came from."""
    return config.origins.get(key, BUILT_IN)


def shown(key: str, value: Any) -> Any:
    """Return a value for people's eyes: options of a radio that look like secrets are hidden."""
    name = key.removeprefix("radio.options.")
    if name != key and _SECRET.search(name) and not _NO_SECRET.search(name):
        return HIDDEN
    return value


def differences(before: Config, after: Config) -> list[str]:
    """Return the dotted keys whose values differ."""
    old, new = plain_values(before), plain_values(after)
    return [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]


def keys_table() -> str:
    """Return a table of all keys as Markdown."""
    lines = ["| key | type and range | default | reloaded | what it is |", "|---|---|---|---|---|"]
    for key in known_keys():
        default = "required" if key.required else "not given"
        if key.default is not None:
            default = f"`{json.dumps(key.default)}`"
        live = "yes" if key.name in LIVE else "no"
        about = ABOUT.get(key.name, "")
        lines.append(f"| `{key.name}` | {key.expected} | {default} | {live} | {about} |")
    return "\n".join(lines)


def _leaves(key: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        path = f"{key}.{name}"
        if isinstance(value, Mapping):
            yield from _leaves(path, value)
        else:
            yield path, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
