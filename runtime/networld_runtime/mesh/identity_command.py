"""`networld-agent identity`: makes and shows the keys of a cell."""

from __future__ import annotations

import argparse
import sys
from base64 import b64encode

from networld_runtime.config_table import NAME_EXPECTED
from networld_runtime.errors import ConfigError
from networld_runtime.mesh.identity import read_own_key
from networld_runtime.mesh.topics import NAME_PATTERN
from networld_runtime.store.signature import public_key, write_keys


def run(options: argparse.Namespace) -> int:
    """Carry out one of the sub-commands; return 0.

    Raises:
        ConfigError: The name is none, or a file cannot be read or written.
    """
    if options.action == "show":
        print(f"{b64encode(public_key(read_own_key(options.key))).decode()} {options.key.stem}")
        return 0
    if not NAME_PATTERN.fullmatch(options.name):
        raise ConfigError("--name", f"{options.name!r}: expected {NAME_EXPECTED}")
    private, public = write_keys(options.output, options.name)
    print(public.read_text(), end="")
    print(f"private: {private}, for this cell alone; public: {public}, for all", file=sys.stderr)
    return 0
