"""The distilled denoiser: a perceptron that jumps from any level to where guided denoising would end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from networld_runtime.contract import Contract
from networld_runtime.errors import ConfigError, DataError
from networld_runtime.files import write_atomically
from networld_runtime.levels import LEVEL_FEATURES
from networld_training.distillation.settings import DistillationSettings
from networld_training.model.layers import level_features

STUDENT = "distilled.safetensors"
"""Name of its file, beside the checkpoint that it was made from."""
FORMAT = 1


@dataclass(frozen=True)
class PlanShape:
    """What the tasks share.

    Attributes:
        horizon: Latents of a plan `H`.
        latent_size: Entries of a latent `Z`.
        mean_field_size: Entries of a mean field `M`.
    """

    horizon: int
    latent_size: int
    mean_field_size: int

    @classmethod
    def of(cls, contract: Contract) -> PlanShape:
        """Return the shape of a contract's plans."""
        return cls(contract.horizon, contract.latent_size, contract.mean_field_size)


class Student(nn.Module):
    """Predicts where guided denoising of a noisy plan ends, for all tasks.

    Guidance is learned with the rest: its scale is an input, and no gradient is taken when a cell plans.
    What does not depend on the plan enters the first layer as one term, computed once for all candidates.

    Args:
        tasks: Names of the tasks.
        shape: Sizes of plans and of what they depend on.
        hidden: Hidden width.
    """

    def __init__(self, tasks: tuple[str, ...], shape: PlanShape, hidden: int) -> None:
        super().__init__()
        self.shape = shape
        entries = shape.horizon * shape.latent_size
        given = shape.latent_size + shape.mean_field_size + LEVEL_FEATURES + 1
        self.plan = nn.Linear(entries, hidden, bias=False)
        self.given = nn.Linear(given, hidden)
        self.task = nn.ParameterDict(
            {name: nn.Parameter(0.1 * torch.randn(hidden)) for name in tasks}
        )
        self.rest = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.LayerNorm(hidden),
            nn.SiLU(),
            nn.Linear(hidden, entries),
        )

    def forward(
        self,
        task: str,
        plan: Tensor,
        level: Tensor,
        latent: Tensor,
        mean_field: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Return the clean plan `[N, H, Z]`; arguments as in `predict`."""
        return torch.clamp(self.predict(task, plan, level, latent, mean_field, scale), -1.0, 1.0)

    def predict(
        self,
        task: str,
        plan: Tensor,
        level: Tensor,
        latent: Tensor,
        mean_field: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """Return the clean plan `[N, H, Z]` before it is clamped, which learns where clamping would not.

        Args:
            task: Name of the task.
            plan: Noisy plan `[N, H, Z]`.
            level: Noise level `[N]`; what is alike for all plans may have one row, if all of it has.
            latent: Current latent `[N, Z]`.
            mean_field: `[N, M]`.
            scale: Guidance scale `[N]`.
        """
        return self.jump(plan, self.term(task, level, latent, mean_field, scale))

    def term(
        self, task: str, level: Tensor, latent: Tensor, mean_field: Tensor, scale: Tensor
    ) -> Tensor:
        """Return what all that is given beside the plan adds to the first layer `[N, hidden]`."""
        features = level_features(level, LEVEL_FEATURES)
        given = self.given(torch.cat([latent, mean_field, features, scale[:, None]], dim=-1))
        added: Tensor = given + self.task[task]
        return added

    def jump(self, plan: Tensor, term: Tensor) -> Tensor:
        """Return the clean plan `[N, H, Z]`, not clamped, of a noisy one and `term [N or 1, hidden]`."""
        hidden = self.plan(plan.flatten(1)) + term
        clean: Tensor = self.rest(hidden).unflatten(1, plan.shape[1:])
        return clean


@dataclass(frozen=True)
class Origin:
    """What a distilled denoiser is made from.

    Attributes:
        settings: How it is made.
        teacher: SHA-256 of the checkpoint, hexadecimal.
        seed: Seed of weights and lessons.
        temperatures: About how hot the lessons of each task are.
    """

    settings: DistillationSettings
    teacher: str
    seed: int
    temperatures: Mapping[str, float]


def save_student(path: Path, student: Student, origin: Origin) -> None:
    """Write a distilled denoiser.

    Args:
        path: Its file.
        student: The network.
        origin: What it was made from.
    """
    header = {
        "format": FORMAT,
        "tasks": list(student.task),
        "shape": asdict(student.shape),
        **asdict(origin),
    }
    tensors = {name: value.contiguous() for name, value in student.state_dict().items()}
    write_atomically(path, save(tensors, {"networld": json.dumps(header)}))


def is_made(path: Path, origin: Origin) -> bool:
    """Return whether a file holds the distilled denoiser of this origin."""
    try:
        header, _ = _read(path)
    except (OSError, SafetensorError, ValueError, KeyError):
        return False
    wanted = {"format": FORMAT, **asdict(origin)}
    return bool(header.items() >= wanted.items())


def load_student(path: Path, teacher: str, contracts: Mapping[str, Contract]) -> Student:
    """Read a distilled denoiser, in evaluation mode.

    Args:
        path: Its file.
        teacher: SHA-256 of the checkpoint that it must have been made from, hexadecimal.
        contracts: The checkpoint's contracts.

    Raises:
        DataError: It is missing, damaged, of another format or made from another checkpoint.
    """
    repair = "make it with `networld distil`"
    if not path.is_file():
        raise DataError(str(path), f"no distilled denoiser there; {repair}")
    try:
        header, tensors = _read(path)
        if header["format"] != FORMAT:
            raise DataError(str(path), f"format {header['format']!r}, expected {FORMAT}; {repair}")
        if header["teacher"] != teacher:
            raise DataError(str(path), f"was made from another checkpoint; {repair}")
        student = Student(
            tuple(header["tasks"]),
            PlanShape(**header["shape"]),
            DistillationSettings(**header["settings"]).hidden,
        )
        student.load_state_dict(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, ConfigError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(str(path), f"not a distilled denoiser ({reason}); {repair}") from error
    wrong = [
        name
        for name, contract in contracts.items()
        if name not in student.task or PlanShape.of(contract) != student.shape
    ]
    if wrong:
        raise DataError(str(path), f"does not fit the tasks {', '.join(wrong)}; {repair}")
    return student.eval()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return what a file says of itself and its tensors, unchecked."""
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})["networld"])
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
