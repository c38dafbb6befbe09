"""Orders to a cell: small JSON objects such as `{"command": "collect", "on": false, "id": "7"}`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from networld_runtime.errors import MessageError

LARGEST_COMMAND_BYTES = 512
LONGEST_ID = 64
NAMES = ("adapt", "base", "collect", "report", "revert", "stop")


@dataclass(frozen=True)
class Command:
    """One order.

    Attributes:
        name: `adapt`, `base`, `collect`, `report`, `revert` or `stop`.
        identifier: Comes back in the report that answers.
        on: Of `collect`: whether to collect experience.
    """

    name: str
    identifier: str | None = None
    on: bool = True


def parse_command(payload: bytes) -> Command:
    """Read and check an order from the network.

    Raises:
        MessageError: With reason `size`, `malformed` or `unknown`.
    """
    if len(payload) > LARGEST_COMMAND_BYTES:
        raise MessageError("size", f"{len(payload)} bytes, at most {LARGEST_COMMAND_BYTES}")
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise MessageError("malformed", "not JSON") from error
    if not isinstance(data, dict) or not set(data) <= {"command", "id", "on"}:
        raise MessageError("malformed", 'expected {"command": ..., "id": ..., "on": ...}')
    name, identifier, on = data.get("command"), data.get("id"), data.get("on", True)
    if not isinstance(name, str) or name not in NAMES:
        raise MessageError("unknown", f"expected one of {', '.join(NAMES)}")
    if identifier is not None and not (
        isinstance(identifier, str) and len(identifier) <= LONGEST_ID
    ):
        raise MessageError("malformed", f"id is not a string of at most {LONGEST_ID} characters")
    if not isinstance(on, bool):
        raise MessageError("malformed", "on is not true or false")
    return Command(name, identifier, on)
