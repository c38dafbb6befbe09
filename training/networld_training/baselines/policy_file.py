"""Learned policies on disk: one safetensors file of the network that acts, with JSON metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from networld_runtime.errors import ConfigError, DataError
from networld_runtime.files import write_atomically
from networld_training.baselines.methods import find_method
from networld_training.tasks.registry import find_task

FORMAT = 1
KEY = "networld-baseline"
"""Entry of a file's metadata that tells it from a world model's checkpoint."""


@dataclass(frozen=True)
class Origin:
    """What a policy was learned from; two runs of the same origin give the same policy.

    Attributes:
        method: Name of the method.
        task: Name of the task.
        spec_sha256: Digest of the task's interface.
        settings: Hyper-parameters.
        seed: Seed of weights and samples.
        source: Id of the data set or scenario.
        source_sha256: Its digest.
        cells: Cells of the networks that it was learned in.
    """

    method: str
    task: str
    spec_sha256: str
    settings: Mapping[str, Any]
    seed: int
    source: str
    source_sha256: str
    cells: int

    def differences(self, wanted: Origin) -> list[str]:
        """Return what tells this origin from one that is wanted, one line each."""
        there = {**asdict(self), **self.settings}
        here = {**asdict(wanted), **wanted.settings}
        return [
            f"{name} = {there.get(name)!r} there, {here.get(name)!r} here"
            for name in {**there, **here}
            if name != "settings" and there.get(name) != here.get(name)
        ]


@dataclass(frozen=True)
class SavedPolicy:
    """A learned policy.

    Attributes:
        origin: What it was learned from.
        steps: Optimiser steps of the weights, or iterations of an online method.
        environment_steps: Slots of single cells that were simulated for it, its data set's included.
        weights: Of the network that acts.
    """

    origin: Origin
    steps: int
    environment_steps: int
    weights: Mapping[str, Tensor]

    def actor(self) -> nn.Module:
        """Return the network that acts.

        Raises:
            ConfigError: Method, task or hyper-parameters are not those of this version.
            RuntimeError: The weights do not fit.
        """
        method, spec = find_method(self.origin.method), find_task(self.origin.task).spec
        settings = method.settings(**self.origin.settings)
        actor = method.make_actor(method.view(spec), settings, self.origin.cells)
        actor.load_state_dict(dict(self.weights))
        return actor.eval()


def write_policy(path: Path, policy: SavedPolicy) -> None:
    """Write a policy; a reader sees the old file or the new one, never half of it."""
    header = {
        "format": FORMAT,
        **asdict(policy.origin),
        "steps": policy.steps,
        "environment_steps": policy.environment_steps,
    }
    weights = {name: tensor.contiguous() for name, tensor in policy.weights.items()}
    write_atomically(path, save(weights, {KEY: json.dumps(header)}))


def is_policy(path: Path) -> bool:
    """Return whether a file is a learned policy by its metadata; False for whatever else it is."""
    try:
        with safe_open(path, framework="pt") as file:
            return KEY in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def read_policy(path: Path) -> SavedPolicy:
    """Read a learned policy.

    Raises:
        DataError: It is missing, damaged or something else.
    """
    if not path.is_file():
        raise DataError(str(path), "no policy there; make one with `networld baseline`")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if KEY not in metadata:
            raise DataError(
                str(path), "a safetensors file, but no learned policy of `networld baseline`"
            )
        header = json.loads(metadata[KEY])
        if header.pop("format") != FORMAT:
            raise DataError(str(path), f"of another format than {FORMAT}; train again")
        steps, environment_steps = header.pop("steps"), header.pop("environment_steps")
        return SavedPolicy(Origin(**header), steps, environment_steps, weights)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(str(path), f"damaged ({error}); train again") from error


def finished_policy(path: Path, origin: Origin) -> SavedPolicy:
    """Read a policy that shall be of this origin, so that nothing need be trained.

    Raises:
        DataError: It is something else; says what differs.
    """
    policy = read_policy(path)
    differences = policy.origin.differences(origin)
    if differences:
        raise DataError(
            str(path),
            [*differences, "another run's policy; delete the file or name another --output"],
        )
    return policy


def load_policy(path: Path, task: str) -> tuple[SavedPolicy, nn.Module]:
    """Read a learned policy of a task, and the network that acts.

    Raises:
        DataError: It is missing, damaged, of another task or of another interface than the task has now.
    """
    policy = read_policy(path)
    origin = policy.origin
    if origin.task != task:
        raise DataError(str(path), f"learned task {origin.task!r}, expected {task!r}")
    if origin.spec_sha256 != find_task(task).spec.digest():
        raise DataError(
            str(path),
            f"learned another interface of task {task!r} than this version has; train again",
        )
    try:
        return policy, policy.actor()
    except (RuntimeError, TypeError, ConfigError) as error:
        raise DataError(str(path), f"does not fit this version ({error}); train again") from error
