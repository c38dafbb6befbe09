"""A bundle as a policy of the simulator: the base station's planner and message codec, without MQTT."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import FloatArray
from networld_runtime.errors import BundleError
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings
from networld_training.evaluation.conditions import MAXIMUM_AGE_SLOTS, Conditions
from networld_training.tasks.base import Task
from networld_training.tasks.registry import find_contract
from networld_training.tasks.spec import Information

SIMULATED_SLOT_S = 3600.0
"""A simulated slot may take long: only slot numbers count for the age of a message."""


def load_task_bundle(path: Path, task: str) -> Bundle:
    """Load a bundle for a task and check that the simulator speaks its contract.

    Raises:
        BundleError: The bundle is missing, damaged or of another contract.
        ConfigError: The world model does not learn this task.
    """
    contract = find_contract(task)
    bundle = load_bundle(path, task)
    if bundle.contract.digest() != contract.digest():
        raise BundleError(
            str(path),
            "was made for another contract of the task than this version simulates; export it again",
        )
    return bundle


class BundlePolicy:
    """Every cell plans with the graphs of a bundle and hears its neighbours one slot late.

    The graphs are loaded once; each cell of each episode has a planner of its own beside them. The initial
    noise comes from the episodes' own streams, cell by cell, so that an episode does not depend on the
    others of its batch, and a bundle plans as its checkpoint does.

    Args:
        bundle: A checked bundle.
        settings: How actions are chosen; None takes the bundle's own.
        adapters: Adapter vector of each cell `[K, P]`; None is the base model.
        messages: How messages are sent, arrive and are weighed; None if all arrive.
    """

    name = "networld"
    information: Information = "mean-field"

    def __init__(
        self,
        bundle: Bundle,
        settings: PlannerSettings | None = None,
        adapters: FloatArray | None = None,
        messages: Conditions | None = None,
    ) -> None:
        self._planner = Planner(bundle, settings)
        self._adapters = adapters
        self._messages = messages or Conditions()
        self.settings = self._planner.settings
        self._cells: dict[tuple[int, int], _Cell] = {}
        self._told: dict[tuple[int, int], bytes] = {}
        self._slot = 0

    def reset(self) -> None:
        """Forget the last batch of episodes."""
        self._cells, self._told = {}, {}
        self._slot = 0

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot."""
        contract = self._planner.contract
        if not self._cells:
            self._cells = self._join(task)
        self._deliver(task)
        observation, masks = task.observation, task.action_mask
        action = np.empty(task.action_shape, dtype=np.float32)
        for place, cell in self._cells.items():
            latent = cell.planner.encode(observation[place])
            told = MeanFieldMessage(1, self._slot, latent[: contract.message_size])
            self._told[place] = encode(told, contract, self._messages.bits or 8)
            field = cell.neighbours.mean_field(self._slot)
            mask = None if masks is None else masks[place]
            action[place] = cell.planner.plan(latent, field, mask).action
        self._slot += 1
        return action

    def _deliver(self, task: Task) -> None:
        """Hand out what the cells told in the slot before, but for what is lost on the way."""
        if not self._told:
            return
        heard = self._messages.heard(task)
        for (episode, receiver), cell in self._cells.items():
            for place, sender in enumerate(task.neighbours[receiver].tolist()):
                if heard is None or heard[episode, receiver, place]:
                    cell.neighbours.receive(_name(sender), self._told[episode, sender])

    def _join(self, task: Task) -> dict[tuple[int, int], _Cell]:
        """Return the cells of new episodes, by episode and cell."""
        episodes, cells = task.shape
        return {
            (episode, cell): _Cell(
                self._sibling(task, episode, cell),
                Neighbours(
                    self._planner.contract,
                    [_name(int(other)) for other in task.neighbours[cell]],
                    MAXIMUM_AGE_SLOTS,
                    slot_s=SIMULATED_SLOT_S,
                    age_weight=self._messages.age_weight or 1.0,
                ),
            )
            for episode in range(episodes)
            for cell in range(cells)
        }

    def _sibling(self, task: Task, episode: int, cell: int) -> Planner:
        planner = self._planner.sibling(task.streams[episode].policy)
        if self._adapters is not None:
            planner.adopt(self._adapters[cell])
        return planner


@dataclass(frozen=True)
class _Cell:
    """What one cell of one episode plans with, and what it knows of its neighbours."""

    planner: Planner
    neighbours: Neighbours


def _name(cell: int) -> str:
    return f"cell-{cell}"
