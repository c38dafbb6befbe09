"""The contracts of the vectors, and what all cases have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from networld_runtime.bundle import load_bundle
from networld_runtime.contract import Contract

BUNDLE = Path(__file__).parents[2] / "bundles" / "networld"
TASKS = ("power", "sched", "sleep")
EPOCH, SLOT = 1_790_000_000, 70_000
LAST = 2**32 - 1
Case = dict[str, Any]
Contracts = dict[str, tuple[Contract, int]]
"""Contracts by name, each with its number of couplings."""


def read_contracts() -> Contracts:
    """Return contracts and their numbers of couplings: those of the shipped bundle, and odd ones."""
    bundles = {task: load_bundle(BUNDLE, task) for task in TASKS}
    contracts = {task: (bundle.contract, bundle.couplings) for task, bundle in bundles.items()}
    power, couplings = contracts["power"]
    for size in (1, 2, 3, 4, 5):
        contracts[f"power-{size}"] = (replace(power, message_size=size), couplings)
    return contracts


def parameters(contract: Contract, couplings: int) -> Case:
    """Return what a decoder needs to know of a contract."""
    return {
        "hash": contract.digest().hex(),
        "message_size": contract.message_size,
        "reward_low": contract.reward_low,
        "reward_high": contract.reward_high,
        "features": contract.observation_size,
        "mask": contract.mask_size,
        "couplings": couplings,
        "actions": contract.to_json()["actions"],
        "safe_action": list(contract.safe_action),
    }


def case(about: str, contract: str, payload: bytes, **verdict: Any) -> Case:
    """Return a payload and what a receiver makes of it."""
    return {"about": about, "contract": contract, "payload": payload.hex(), **verdict}
