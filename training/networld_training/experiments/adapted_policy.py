"""A policy that has adapted to the network it acts in, from a few episodes of its own.

Every cell trains its own adapter with the base station's code on its own logs and its neighbours'.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from networld_runtime.adaptation import adapt_to_logs, settings_for
from networld_runtime.bundle import Bundle
from networld_runtime.contract import FloatArray
from networld_runtime.episode_log import EpisodeLog
from networld_runtime.errors import check_values
from networld_runtime.planner_settings import PlannerSettings
from networld_training.evaluation.bundle_policy import load_task_bundle
from networld_training.evaluation.checkpoint_policy import CheckpointPolicy, load_task_model
from networld_training.experiments.fine_tuning import fine_tuned
from networld_training.model.checkpoint import load_checkpoint
from networld_training.model.judges import checkpoint_judge
from networld_training.model.world_model import TaskModel
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.registry import TASKS

# Keeps the episodes that cells adapt to apart from those that they are judged on.
SEED_DOMAIN = 0x61646170
BUNDLE = "bundle"
ACTING = PlannerSettings(mode="policy")


@dataclass(frozen=True)
class Adaptation:
    """What a policy adapts to before it is judged.

    Attributes:
        episodes: Episodes that it acts in, unadapted, to log what the cells see; 0 adapts to nothing.
        whole: Whether all of the policy is trained on all logs at once, with torch, in place of an adapter
            for each cell: what a base station cannot do.
        seed: Draws those episodes and what the training draws.

    Raises:
        ConfigError: A value is out of range; lists all of them.
    """

    episodes: int = 0
    whole: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_values(
            "adaptation",
            self,
            (
                ("episodes", self.episodes >= 0, "0 or more"),
                ("seed", self.seed >= 0, "0 or more"),
            ),
        )


class AdaptedPolicy(CheckpointPolicy):
    """A checkpoint in mode `policy` that adapts to every network that it meets.

    Args:
        checkpoint: The checkpoint's file.
        task: The task.
        adaptation: What it adapts to. Adapters need the checkpoint's bundle beside it, in `BUNDLE`.

    Raises:
        DataError: The checkpoint is missing, damaged or without the task.
        BundleError: The bundle is missing, damaged or of another contract.
    """

    name = "networld-adapted"

    def __init__(self, checkpoint: Path, task: str, adaptation: Adaptation) -> None:
        super().__init__(load_task_model(checkpoint, task), ACTING)
        self._base = self.model
        self._checkpoint = checkpoint
        self._adaptation = adaptation
        self._network: Network | None = None
        self._adapters: list[FloatArray] = []

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot; the first call in a network adapts to it."""
        if task.network != self._network:
            self._adapt(task.network)
            self._network = task.network
        return super().act(task)

    def _adapt(self, network: Network) -> None:
        adaptation, task = self._adaptation, self._base.contract.task
        logs = log_episodes(self._base, network, adaptation)
        if adaptation.whole:
            checkpoint = load_checkpoint(self._checkpoint)
            judge, temperature = checkpoint_judge(checkpoint, task), checkpoint.settings.temperature
            self.model = fine_tuned(self._base, judge, logs, temperature, adaptation.seed)
        else:
            bundle = load_task_bundle(self._checkpoint.with_name(BUNDLE), task)
            self._adapters = adapt_cells(bundle, logs, adaptation.seed)

    def _policy(self, latent: Tensor, field: Tensor) -> Tensor:
        """Return the action probabilities `[E K, A]`, each cell with its own adapter."""
        if self._adaptation.whole:
            return super()._policy(latent, field)
        cells = len(self._adapters)
        own = [
            self.model.act(latent[cell::cells], field[cell::cells], torch.from_numpy(adapter))
            for cell, adapter in enumerate(self._adapters)
        ]
        return torch.stack(own, dim=1).flatten(0, 1)


def log_episodes(
    model: TaskModel, network: Network, adaptation: Adaptation
) -> dict[str, list[EpisodeLog]]:
    """Return what every cell sees in episodes in which all act by the model, by name of the cell."""
    random = np.random.default_rng((SEED_DOMAIN, adaptation.seed))
    seeds = random.choice(2**31, size=adaptation.episodes, replace=False).tolist()
    task = TASKS[model.contract.task].make(network, seeds)
    task.reset()
    policy = CheckpointPolicy(model, ACTING)
    policy.reset()
    seen, coupling, masks = [], [], []
    done = False
    while not done:
        seen.append(task.observation)
        coupling.append(task.coupling)
        no_mask = np.zeros((*task.shape, 0), dtype=np.bool_)
        masks.append(no_mask if task.action_mask is None else task.action_mask.copy())
        done = task.step(policy.act(task)).done
    observation, coupled, mask = np.stack(seen, 2), np.stack(coupling, 2), np.stack(masks, 2)
    slots = np.arange(observation.shape[2])
    return {
        _name(cell): [
            EpisodeLog(
                epoch=1,
                episode=episode,
                neighbours=tuple(_name(int(other)) for other in task.neighbours[cell]),
                slots=slots + episode * len(slots),
                observation=observation[episode, cell],
                coupling=coupled[episode, cell],
                mask=mask[episode, cell],
            )
            for episode in range(adaptation.episodes)
        ]
        for cell in range(task.shape[1])
    }


def adapt_cells(
    bundle: Bundle, logs: dict[str, list[EpisodeLog]], seed: int = 0
) -> list[FloatArray]:
    """Return each cell's adapter, zeros for a cell that keeps the base model.

    Where all cells are each other's neighbours, as in a wrapped cluster of seven, all of them learn from
    the same logs; one of them stands for all.
    """
    stars = {name: {name, *parts[0].neighbours} for name, parts in logs.items()}
    alike = all(star == set(logs) for star in stars.values())
    base = np.zeros(bundle.adapter_size, dtype=np.float32)
    adapters = []
    for name in list(logs)[: 1 if alike else None]:
        star = {one: logs[one] for one in stars[name]}
        adapter, _ = adapt_to_logs(bundle, name, star, settings_for(bundle), seed)
        adapters.append(base if adapter is None else adapter)
    return adapters * len(logs) if alike else adapters


def _name(cell: int) -> str:
    return f"cell-{cell}"
