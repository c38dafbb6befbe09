"""`networld-agent config`: what a cell is told and by whom, and all that it can be told."""

from __future__ import annotations

import argparse
import json
from typing import Any

from networld_runtime.config_keys import keys_table, origin_of, plain_values, shown
from networld_runtime.config_reader import load_config


def run(options: argparse.Namespace) -> int:
    """Print what was asked for and return 0.

    Raises:
        ConfigError: The configuration holds mistakes; lists all of them.
    """
    if options.config_command == "keys":
        print(keys_table())
        return 0
    config = load_config(options.config, options.changes)
    values = {key: shown(key, value) for key, value in plain_values(config).items()}
    origins = {key: str(origin_of(config, key)) for key in values}
    if options.json:
        with_origins = {key: {"value": values[key], "origin": origins[key]} for key in values}
        print(json.dumps(with_origins if options.origin else values, indent=2))
        return 0
    lines = {key: f"{key} = {_text(value)}" for key, value in values.items()}
    width = max(map(len, lines.values()))
    for key, line in lines.items():
        print(f"{line:{width}}  # {origins[key]}" if options.origin else line)
    return 0


def _text(value: Any) -> str:
    return "(not given)" if value is None else json.dumps(value, ensure_ascii=False)
