"""A cell's own transitions: kept slot by slot, rewarded as messages come in, cut into windows.

The local reward of a slot is the mean of the own utility and of the utilities of the neighbours that were
heard. The own one is known a slot later, the neighbours' another slot later, in their messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from networld_runtime.contract import Contract, FloatArray, allowed
from networld_runtime.errors import DataError
from networld_runtime.files import write_atomically

FORMAT = "2"
SEARCHED_SLOTS = 8


@dataclass(frozen=True)
class Windows:
    """Stretches of `H + 1` consecutive slots of one episode, oldest first.

    Attributes:
        latents: `[n, H + 1, Z]`; the first one is the latent that was planned from.
        mean_field: `[n, M]`, that of the first slot.
        actions: `[n, H, C]`, native units.
        rewards: `[n, H]`, local rewards.
    """

    latents: FloatArray
    mean_field: FloatArray
    actions: FloatArray
    rewards: FloatArray


class Experience:
    """The last `capacity` slots of one cell.

    Args:
        contract: Decides the shapes.
        neighbours_count: Neighbours that the cell has.
        capacity: Slots kept; the oldest make room.
    """

    def __init__(self, contract: Contract, neighbours_count: int, capacity: int) -> None:
        self.contract = contract
        self.neighbours_count = neighbours_count
        self.capacity = capacity
        self.count = 0
        self._rows = {
            name: np.zeros((capacity, *shape), dtype)
            for name, (shape, dtype) in _layout(contract).items()
        }

    def __len__(self) -> int:
        return min(self.count, self.capacity)

    def add(
        self,
        episode: int,
        slot: int,
        latent: FloatArray,
        mean_field: FloatArray,
        action: FloatArray,
    ) -> None:
        """Keep what the cell saw and did in a slot; slots come in increasing order.

        Raises:
            ValueError: An array has the wrong shape.
        """
        values: dict[str, npt.ArrayLike] = {
            "episode": episode,
            "slot": slot,
            "latent": latent,
            "mean_field": mean_field,
            "action": action,
            "own_utility": np.nan,
            "neighbour_total": 0.0,
            "neighbour_count": 0,
        }
        row = self.count % self.capacity
        for name, value in values.items():
            if np.shape(value) != self._rows[name].shape[1:]:
                expected = self._rows[name].shape[1:]
                raise ValueError(f"{name} of shape {np.shape(value)}: expected {expected}")
            self._rows[name][row] = value
        self.count += 1

    def add_own_utility(self, slot: int, utility: float) -> None:
        """Complete a recent slot with the own utility; a slot that is not kept is passed over."""
        row = self._find(slot)
        if row is not None:
            self._rows["own_utility"][row] = utility

    def add_neighbour_utilities(self, slot: int, utilities: Sequence[float]) -> None:
        """Complete a recent slot with the neighbours' utilities; replaces what was there.

        Raises:
            ValueError: There are more utilities than neighbours.
        """
        if len(utilities) > self.neighbours_count:
            raise ValueError(f"{len(utilities)} utilities of {self.neighbours_count} neighbours")
        row = self._find(slot)
        if row is not None:
            self._rows["neighbour_total"][row] = sum(utilities)
            self._rows["neighbour_count"][row] = len(utilities)

    def windows(self) -> Windows:
        """Return all windows without a gap, an episode's end or an unknown reward in them."""
        rows = self._ordered()
        horizon = self.contract.horizon
        reward = (rows["own_utility"] + rows["neighbour_total"]) / (1 + rows["neighbour_count"])
        starts = np.arange(max(0, len(reward) - horizon))
        in_window = starts[:, None] + np.arange(horizon + 1)
        episode, slot = rows["episode"][in_window], rows["slot"][in_window]
        whole = (episode == episode[:, :1]).all(axis=1)
        whole &= (np.diff(slot, axis=1) == 1).all(axis=1)
        whole &= np.isfinite(reward[in_window[:, :-1]]).all(axis=1)
        starts, in_window = starts[whole], in_window[whole]
        return Windows(
            latents=rows["latent"][in_window],
            mean_field=rows["mean_field"][starts],
            actions=rows["action"][in_window[:, :-1]],
            rewards=reward[in_window[:, :-1]].astype(np.float32),
        )

    def save(self, path: Path) -> None:
        """Write everything as safetensors; the file is the old or the new one, never a half.

        Raises:
            DataError: The file cannot be written.
        """
        metadata = {
            "format": FORMAT,
            "contract": self.contract.digest().hex(),
            "neighbours": str(self.neighbours_count),
        }
        try:
            write_atomically(path, save(self._ordered(), metadata))
        except OSError as error:
            raise DataError(str(path), f"cannot be written ({error.strerror})") from error

    @classmethod
    def load(cls, path: Path, contract: Contract, capacity: int | None = None) -> Experience:
        """Read what `save` wrote.

        Args:
            path: The file.
            contract: Contract that the experience must have been made under.
            capacity: Slots kept; None keeps exactly those of the file.

        Raises:
            DataError: The file is missing, damaged or of another contract; lists every problem.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = dict(file.metadata() or {})
                rows = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as error:
            raise DataError(str(path), f"not a file of experience ({error})") from error
        problems = _problems(metadata, rows, contract)
        if problems:
            raise DataError(str(path), problems)
        count = len(rows["slot"])
        size = max(1, count if capacity is None else capacity)
        experience = cls(contract, int(metadata["neighbours"]), size)
        for name, values in rows.items():
            kept = values[-size:]
            experience._rows[name][: len(kept)] = kept
        experience.count = min(count, size)
        return experience

    def _find(self, slot: int) -> int | None:
        for back in range(1, min(len(self), SEARCHED_SLOTS) + 1):
            row = (self.count - back) % self.capacity
            if self._rows["slot"][row] == slot:
                return row
        return None

    def _ordered(self) -> dict[str, npt.NDArray[Any]]:
        oldest = self.count % self.capacity if self.count > self.capacity else 0
        order = (oldest + np.arange(len(self))) % self.capacity
        return {name: values[order] for name, values in self._rows.items()}


def load_windows(path: Path, contract: Contract) -> Windows:
    """Return the windows of saved experience.

    Raises:
        DataError: The file is missing, damaged or of another contract; lists every problem.
    """
    return Experience.load(path, contract).windows()


def _layout(contract: Contract) -> dict[str, tuple[tuple[int, ...], npt.DTypeLike]]:
    return {
        "episode": ((), np.int64),
        "slot": ((), np.int64),
        "latent": ((contract.latent_size,), np.float32),
        "mean_field": ((contract.mean_field_size,), np.float32),
        "action": ((len(contract.actions),), np.float32),
        "own_utility": ((), np.float64),
        "neighbour_total": ((), np.float64),
        "neighbour_count": ((), np.int64),
    }


def _problems(
    metadata: dict[str, str], rows: dict[str, npt.NDArray[Any]], contract: Contract
) -> list[str]:
    problems = []
    if metadata.get("format") != FORMAT:
        problems.append(f"format {metadata.get('format')!r}: expected {FORMAT!r}")
    if metadata.get("contract") != contract.digest().hex():
        problems.append("made under another contract; collect again with this bundle")
    if not metadata.get("neighbours", "").isdecimal():
        problems.append("number of neighbours is missing")
    layout = _layout(contract)
    if rows.keys() != layout.keys():
        problems.append(f"holds {sorted(rows)}: expected {sorted(layout)}")
        return problems
    count = len(rows["slot"]) if rows["slot"].ndim else 0
    for name, (shape, dtype) in layout.items():
        expected = (count, *shape)
        if rows[name].shape != expected or rows[name].dtype != dtype:
            found = f"{rows[name].dtype} {rows[name].shape}"
            problems.append(f"{name}: {found}, expected {np.dtype(dtype)} {expected}")
        elif name != "own_utility" and not np.isfinite(rows[name]).all():
            problems.append(f"{name}: holds a value that is not finite")
    if not problems and (rows["neighbour_count"] < 0).any():
        problems.append("neighbour_count: below 0")
    if not problems:
        problems += [
            f"action: a value of {component.name} is out of range, expected {expected}"
            for index, component in enumerate(contract.actions)
            for valid, expected in (allowed(component, rows["action"][:, index]),)
            if not valid.all()
        ]
    return problems
