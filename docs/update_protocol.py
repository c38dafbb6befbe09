"""Write docs/protocol/vectors.json: payloads with what they mean, or why a receiver rejects them.

What is good is made by the base station's own encoders, what is bad by hand. What is expected stands in
protocol_vectors/ and is not asked of a decoder, so the tests can hold the code against the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol_vectors import authentication, messages, others
from protocol_vectors.contracts import parameters, read_contracts

VECTORS = Path(__file__).parent / "protocol" / "vectors.json"


def vectors() -> dict[str, Any]:
    """Return all vectors."""
    contracts = read_contracts()
    power, couplings = contracts["power"]
    return {
        "contracts": {name: parameters(*those) for name, those in contracts.items()},
        "messages": [*messages.good_messages(contracts), *messages.bad_messages(contracts)],
        "sequences": [*messages.sequences(power)],
        "logs": [*others.logs(contracts)],
        "observations": [*others.observations(contracts)],
        "actions": [*others.actions(contracts)],
        "births": others.births(),
        "states": others.states(),
        "orders": others.orders(),
        "sealed": authentication.sealed(power),
        "signed": authentication.signed(power, couplings),
    }


def vectors_text() -> str:
    """Return docs/protocol/vectors.json: one line for each case, so that changes can be read."""
    return laid_out(vectors()) + "\n"


def laid_out(data: Any, depth: int = 0) -> str:
    """Return JSON in which the entries of the first levels stand on lines of their own."""
    short = json.dumps(data)
    if depth == 3 or not isinstance(data, dict | list) or not data or len(short) < 100:
        return short
    indent = "\n" + "  " * (depth + 1)
    if isinstance(data, list):
        parts = [laid_out(entry, 3 if "steps" not in entry else depth + 1) for entry in data]
    else:
        parts = [f"{json.dumps(key)}: {laid_out(entry, depth + 1)}" for key, entry in data.items()]
    opening, closing = ("[", "]") if isinstance(data, list) else ("{", "}")
    return f"{opening}{indent}{(',' + indent).join(parts)}\n{'  ' * depth}{closing}"


if __name__ == "__main__":
    VECTORS.write_text(vectors_text())
