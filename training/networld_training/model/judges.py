"""What the policy of a task is judged by: put together for training, and from a checkpoint."""

from __future__ import annotations

from networld_runtime.contract import Contract
from networld_training.model.checkpoint import Checkpoint
from networld_training.model.credit import CreditModel, CreditSize
from networld_training.model.holding import Held
from networld_training.model.imagination import Imagined
from networld_training.tasks.registry import LEARNING


def make_judge(task: str, contract: Contract, size: CreditSize) -> Imagined:
    """Return the judge of a task with an untrained credit model."""
    learning = LEARNING[task]
    credit = CreditModel(
        contract.observation_size, contract.actions, learning.activity, learning.floors, size
    )
    held = None if learning.holding is None else Held(learning.holding, contract)
    return Imagined(credit, held, contract.actions)


def checkpoint_judge(checkpoint: Checkpoint, task: str) -> Imagined:
    """Return what a checkpoint's policy of a task was trained by; nothing of it learns any more."""
    judge = make_judge(task, checkpoint.contracts[task], checkpoint.settings.credit)
    prefix = f"{task}."
    judge.credit.load_state_dict(
        {
            name.removeprefix(prefix): value
            for name, value in checkpoint.part("credit").items()
            if name.startswith(prefix)
        }
    )
    judge.credit.eval().requires_grad_(False)
    return judge
