"""A bundle as a policy of the simulator: the base station's planner and message codec, without MQTT."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import BundleError
from networld_runtime.message import MeanFieldMessage, encode
from networld_runtime.neighbours import Neighbours
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings
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

    All cells of all episodes share one planner, as they share one model; that is the same as a planner
    each unless plans are warm-started, which is refused.

    Args:
        bundle: A checked bundle.
        settings: How plans are found; None takes the bundle's own.
        seed: Seed of the initial noise.
        adapter: Adapter vector `[P]`; None is the base model.

    Raises:
        ValueError: The settings ask for a warm start.
    """

    name = "networld"
    information: Information = "mean-field"

    def __init__(
        self,
        bundle: Bundle,
        settings: PlannerSettings | None = None,
        seed: int = 0,
        adapter: FloatArray | None = None,
    ) -> None:
        self.planner = Planner(bundle, settings, seed, adapter)
        if self.planner.settings.warm_start_level != 0:
            raise ValueError("warm_start_level: cells that share a planner cannot warm-start")
        self.neighbours: dict[tuple[int, int], Neighbours] = {}
        self.slot = 0

    def reset(self) -> None:
        """Forget the last batch of episodes."""
        self.neighbours = {}
        self.slot = 0

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot."""
        contract = self.planner.contract
        if not self.neighbours:
            self.neighbours = _listeners(contract, task)
        observation = task.observation
        latents = {place: self.planner.encode(observation[place]) for place in self.neighbours}
        action = np.empty(task.action_shape, dtype=np.float32)
        masks = task.action_mask
        for place, listener in self.neighbours.items():
            field = listener.mean_field(self.slot)
            mask = None if masks is None else masks[place]
            action[place] = self.planner.plan(latents[place], field, mask).action
        for (episode, cell), latent in latents.items():
            told = latent[: contract.message_size]
            payload = encode(MeanFieldMessage(1, self.slot, told), contract)
            for other in task.neighbours[cell]:
                self.neighbours[episode, int(other)].receive(_name(cell), payload)
        self.slot += 1
        return action


def _listeners(contract: Contract, task: Task) -> dict[tuple[int, int], Neighbours]:
    """Return what each cell knows of its neighbours, by episode and cell."""
    episodes, cells = task.shape
    return {
        (episode, cell): Neighbours(
            contract,
            [_name(int(other)) for other in task.neighbours[cell]],
            maximum_age_slots=1,
            slot_s=SIMULATED_SLOT_S,
        )
        for episode in range(episodes)
        for cell in range(cells)
    }


def _name(cell: int) -> str:
    return f"cell-{cell}"
