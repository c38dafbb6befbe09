"""Unfinished runs on disk: networks, optimisers and how far they came, to be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from networld_runtime.errors import DataError
from networld_runtime.files import write_atomically
from networld_training.baselines.policy_file import Origin

KEY = "networld-baseline-run"


def run_path(policy: Path) -> Path:
    """Return the file of the run beside the file of the policy that it is to become."""
    return policy.with_name(policy.name + ".run")


def save_run(
    policy: Path,
    origin: Origin,
    network: nn.Module,
    optimisers: Sequence[Optimizer],
    progress: Mapping[str, Any],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a run beside the file of its policy.

    Args:
        policy: File that the policy will have.
        origin: What the run learns from.
        network: All weights that are trained.
        optimisers: Their optimisers.
        progress: How far it came, as JSON data.
        best: The best weights so far, where the last ones do not count.
    """
    tensors = {f"network.{name}": one for name, one in _tensors(network).items()}
    tensors |= {f"best.{name}": one for name, one in (best or {}).items()}
    for number, optimiser in enumerate(optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{index}.{key}": one for key, one in state.items()}
    header = {"origin": asdict(origin), "progress": progress}
    # Copies: networks may show one weight under two names, which the format refuses.
    content = {name: one.clone().contiguous() for name, one in tensors.items()}
    write_atomically(run_path(policy), save(content, {KEY: json.dumps(header)}))


def resume_run(
    policy: Path, origin: Origin, network: nn.Module, optimisers: Sequence[Optimizer]
) -> tuple[Any, dict[str, Tensor]] | None:
    """Put a run's weights where `save_run` took them; return its progress and best weights.

    Returns:
        None if there is no run.

    Raises:
        DataError: It is damaged or that of something else.
    """
    path = run_path(policy)
    if not path.exists():
        return None
    repair = f"delete it to begin anew, or name another --output than {policy}"
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        differences = Origin(**header["origin"]).differences(origin)
        if differences:
            raise DataError(str(path), [*differences, repair])
        network.load_state_dict({**network.state_dict(), **_below("network", tensors)})
        for number, optimiser in enumerate(optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, one in _below(f"optimiser.{number}", tensors).items():
                index, entry = name.split(".")
                state.setdefault(int(index), {})[entry] = one
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state, "param_groups": groups})
        return header["progress"], _below("best", tensors)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(str(path), f"damaged ({error}); {repair}") from error


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return what a network holds; TorchRL's hold other things than tensors, too."""
    return {name: one for name, one in network.state_dict().items() if isinstance(one, Tensor)}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "."
    return {name[len(start) :]: one for name, one in tensors.items() if name.startswith(start)}
