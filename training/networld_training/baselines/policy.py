"""A learned baseline as a policy of the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from networld_training.baselines.actions import FORBIDDEN, ActionCode
from networld_training.baselines.methods import Method, find_method
from networld_training.baselines.policy_file import Origin, load_policy
from networld_training.radio.arrays import FloatArray
from networld_training.tasks.base import Task
from networld_training.tasks.network import Network
from networld_training.tasks.registry import find_task
from networld_training.tasks.spec import Information, TaskSpec


class BaselinePolicy:
    """Takes the most probable action, or that of the highest value, among those that are allowed.

    Args:
        method: How it was learned.
        spec: The task.
        actor: The network that acts.
        name: Name in tables.
        cells: Cells that it can act for; None if any number.
    """

    information: Information

    def __init__(
        self, method: Method, spec: TaskSpec, actor: nn.Module, name: str, cells: int | None = None
    ) -> None:
        self.name, self.information = name, method.information
        self._method, self._actor, self._cells = method, actor, cells
        self._view, self._code = method.view(spec), ActionCode(spec)

    @classmethod
    def load(cls, path: Path, task: str) -> BaselinePolicy:
        """Return the policy of a file, which must be one of the task.

        Raises:
            DataError: It is missing, damaged, of another task or interface.
        """
        policy, actor = load_policy(path, task)
        origin = policy.origin
        method = find_method(origin.method)
        return cls(method, find_task(task).spec, actor, origin.method, _cells(origin))

    def fits(self, network: Network) -> bool:
        """Return whether there is a policy for every cell."""
        return self._cells in {None, network.cells}

    def reset(self) -> None:
        """Do nothing: there is no state."""

    def act(self, task: Task) -> FloatArray:
        """Return the actions `[E, K, C]` of this slot."""

        def draw(count: int) -> Tensor:
            shape = (task.shape[1], count)
            drawn = [s.policy.standard_normal(shape, dtype=np.float32) for s in task.streams]
            return torch.from_numpy(np.stack(drawn))

        seen = torch.from_numpy(self._view.observation(task))
        with torch.no_grad():
            logits = self._actor(seen, draw)
        if self._method.online:
            if self._view.mask_size:
                allowed = torch.from_numpy(self._view.action_mask(task))
                logits = logits.masked_fill(~allowed, FORBIDDEN)
            return self._view.native(logits.argmax(dim=-1).numpy())
        mask = None if task.action_mask is None else torch.from_numpy(task.action_mask)
        return self._code.native(self._code.best(logits, mask))


def _cells(origin: Origin) -> int | None:
    """Return the cells that a policy is bound to: their number, if each has weights of its own."""
    return None if origin.settings.get("share", True) else origin.cells
