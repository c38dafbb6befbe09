"""One cell on a bus in memory, with a model that is a formula: goes through slots when told."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.planner import Decision
from networld_runtime.radio import Observation
from networld_runtime.realtime import monotonic_s
from networld_runtime.rungs import PLAN
from networld_runtime.watch.watch import Watch

EPOCH = 1_790_000_000
DIGEST = "ab" * 32
LISTED = 'neighbours = ["b", "c"]'
TEXT = """
[cell]
site = "test"
name = "a"
task = "power"
{cell}
[bundle]
path = "bundle"
[state]
directory = "state"
"""


@dataclass
class FormulaPlanner:
    """Always decides for the same power; encodes to NaN if sick."""

    contract: Contract
    sick: bool = False
    rung: str = PLAN
    elastic: bool = False
    fallbacks: tuple[FormulaPlanner, ...] = ()

    def encode(self, observation: FloatArray) -> FloatArray:
        del observation
        value = np.nan if self.sick else 0.5
        return np.full(self.contract.latent_size, value, dtype=np.float32)

    def plan(
        self,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = math.inf,
    ) -> Decision:
        del latent, mean_field, mask, deadline_s
        return Decision(np.array([-5.0], dtype=np.float32))

    def draw_ahead(self) -> None:
        pass

    def reset(self) -> None:
        pass

    def adopt(self, adapter: FloatArray) -> None:
        del adapter

    def warm_up(self, runs: int = 20) -> None:
        del runs


class NoRadio:
    """Takes actions and has no observations of its own."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter(received=0)
        self.actions: list[FloatArray] = []

    def observe(self, timeout_s: float) -> Observation | None:
        del timeout_s
        return None

    def act(self, observation: Observation, action: FloatArray) -> None:
        del observation
        self.actions.append(action)

    def close(self) -> None:
        pass


class SmallCell:
    """A cell and everything around it.

    Args:
        contract: A contract without masks.
        folder: Where its file and state go.
        more: More tables of its configuration.
        cell: How it knows its neighbours.
    """

    def __init__(
        self, contract: Contract, folder: Path, more: str = "", cell: str = LISTED
    ) -> None:
        self.config = small_config(folder, more, cell)
        self.bus = MemoryBus()
        self.transport = MemoryTransport(self.bus)
        self.planner = FormulaPlanner(contract)
        self.radio = NoRadio()
        self.contract = contract
        bundle = Bundle(folder, "stub", DIGEST, contract, 4, 7, 8, 1, {}, {})
        self.agent = Agent(self.config, bundle, self.planner, self.transport, self.radio, EPOCH)
        self.transport.connect()
        self.slot = 0

    def watch(self) -> Watch:
        """Return a watch of this cell that knows its bundle."""
        watch = Watch(self.config, lambda: {"written": 1, "suppressed": 0, "dropped": 0})
        watch.facts |= {
            "slot_s": 0.02,
            "bundle": {"name": "stub", "digest": DIGEST, "task": "power"},
            "versions": {"networld": "1", "python": "3", "onnxruntime": "1", "numpy": "2"},
        }
        watch.attach(self.agent, self.transport, self.agent.topics.status, 0.02)
        return watch

    def go(self, late: bool = False, hear: bool = True) -> None:
        """Go through a slot, with a message of one neighbour before it."""
        self.slot += 1
        if hear:
            values = np.zeros(self.contract.message_size, dtype=np.float32)
            payload = encode(MeanFieldMessage(7, self.slot - 1, values, 1.0), self.contract)
            self.bus.publish(CellTopics("test", "b").message, payload, retain=False)
        values = np.zeros(self.contract.observation_size, dtype=np.float32)
        now_s = monotonic_s()
        deadline_s = now_s - 1 if late else now_s + 60
        self.agent.tick(Observation(0, self.slot, values, 1.0, now_s, deadline_s))


def small_config(folder: Path, more: str = "", cell: str = LISTED) -> Config:
    """Return a configuration with every required key, and more tables."""
    file = folder / "cell.toml"
    file.write_text(TEXT.format(cell=cell) + more)
    return load_config(file)
