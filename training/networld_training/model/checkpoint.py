"""Checkpoints: one safetensors file with everything that an exact resume needs; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from networld_runtime.contract import Contract
from networld_runtime.errors import ConfigError, DataError
from networld_runtime.files import write_atomically
from networld_training.model.credit import CreditSize
from networld_training.model.settings import TrainingSettings
from networld_training.model.world_model import ModelSize, WorldModel

FORMAT = 4
"""Raised when networks or losses change: models of another format learned otherwise."""


@dataclass(frozen=True)
class Checkpoint:
    """A training run at one step.

    Attributes:
        step: Optimiser steps done.
        seed: Seed of the run.
        settings: How the model is trained.
        contracts: The contract of each task.
        tensors: `model.*`, `credit.*`, `average.*` and `optimiser.*`.
    """

    step: int
    seed: int
    settings: TrainingSettings
    contracts: Mapping[str, Contract]
    tensors: Mapping[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors below `prefix`, without it."""
        return {
            name.removeprefix(prefix + "."): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix + ".")
        }

    def averaged_model(self) -> WorldModel:
        """Return the world model with the averaged weights, in evaluation mode."""
        model = WorldModel(self.contracts, self.settings.size)
        model.load_state_dict(self.part("average"))
        return model.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a reader sees the old one or the new one, never half of it."""
    header = {
        "format": FORMAT,
        "step": checkpoint.step,
        "seed": checkpoint.seed,
        "settings": asdict(checkpoint.settings),
        "contracts": {name: value.to_json() for name, value in checkpoint.contracts.items()},
    }
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    write_atomically(path, save(tensors, {"networld": json.dumps(header)}))


def load_checkpoint(path: Path, device: str = "cpu") -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DataError: It is missing, damaged or of another format.
    """
    if not path.is_file():
        raise DataError(str(path), "no checkpoint there; make one with `networld train`")
    try:
        with safe_open(path, framework="pt", device=device) as file:
            header = json.loads((file.metadata() or {})["networld"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header["format"] != FORMAT:
            found = header["format"]
            raise DataError(str(path), f"format {found!r}, expected {FORMAT}; train again")
        settings = dict(header["settings"])
        settings["size"] = ModelSize(**settings["size"])
        settings["credit"] = CreditSize(**settings["credit"])
        return Checkpoint(
            step=int(header["step"]),
            seed=int(header["seed"]),
            settings=TrainingSettings(**settings),
            contracts={
                name: Contract.from_json(value) for name, value in header["contracts"].items()
            },
            tensors=tensors,
        )
    except (SafetensorError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise DataError(str(path), f"not a checkpoint ({error}); train again") from error
