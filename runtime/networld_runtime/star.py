"""A star: what a cell and its neighbours saw in the same slots, put together from their logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from networld_runtime.bundle import NEIGHBOURS, STAR
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.episode_log import EpisodeLog
from networld_runtime.two_hot import encode_mask

LEAST_SHARE = 0.5
"""A neighbour counts as known if its logs hold this share of the cell's own slots."""

Keys = npt.NDArray[np.uint64]
_EPISODE = 32  # bits of a key below its episode: those of a slot number
_ONE = np.uint64(1)


@dataclass(frozen=True)
class Star:
    """`T` slots of a cell, first, and its neighbours, in their order; oldest slots first.

    An episode's first slot is left out: messages of the slot before are not known in it.

    Attributes:
        observation: Normalised `[T, 7, D]`; zeros for a cell without logs.
        before: The same of the slot before.
        coupling: Linear `[T, 7, 6, Q]`; zeros where a cell has fewer neighbours.
        mask: Entries of a coded action that were possible `[T, 7, A]`.
        around: Who the neighbours of each cell are, as shares of the star's cells `[7, 6, 7]`. One that is
            unknown is spread evenly over the known neighbours of the same cell, as if it were their mean;
            a cell that knows none of its neighbours takes them for cells like itself.
        known: 1 for cells with logs, else 0 `[7]`.
    """

    observation: FloatArray
    before: FloatArray
    coupling: FloatArray
    mask: FloatArray
    around: FloatArray
    known: FloatArray

    def __len__(self) -> int:
        return len(self.observation)

    def some(self, chosen: npt.NDArray[np.int64]) -> Star:
        """Return some of the slots."""
        slots = {
            one.name: getattr(self, one.name)[chosen]
            for one in fields(self)
            if one.name not in ("around", "known")
        }
        return replace(self, **slots)


def make_star(
    contract: Contract,
    couplings: int,
    name: str,
    logs: Mapping[str, Sequence[EpisodeLog]],
) -> Star:
    """Put the logs of a cell and its neighbours together.

    Only slots count that all known cells logged, and whose slot before they logged as well.

    Args:
        contract: Decides the shapes.
        couplings: Numbers that say how strongly one cell acts on another, `Q`.
        name: The cell.
        logs: Logs of the cell and of those neighbours that sent some, by name.

    Raises:
        ValueError: There are no logs of the cell itself, or it has more than `NEIGHBOURS` neighbours.
    """
    tables = {one: _Table.of(contract, parts) for one, parts in logs.items() if parts}
    if name not in tables:
        raise ValueError(f"no logs of {name} itself")
    neighbours = tables[name].neighbours
    if len(neighbours) > NEIGHBOURS:
        raise ValueError(f"{len(neighbours)} neighbours of {name}: at most {NEIGHBOURS}")
    own = tables[name].usable()
    known = [name, *(one for one in neighbours if _share(own, tables.get(one)) >= LEAST_SHARE)]
    keys = own
    for one in known[1:]:
        keys = np.intersect1d(keys, tables[one].usable(), assume_unique=True)
    place = {one: index for index, one in enumerate((name, *neighbours)) if one in known}

    count = len(keys)
    star = Star(
        observation=np.zeros((count, STAR, contract.observation_size), dtype=np.float32),
        before=np.zeros((count, STAR, contract.observation_size), dtype=np.float32),
        coupling=np.zeros((count, STAR, NEIGHBOURS, couplings), dtype=np.float32),
        mask=np.ones((count, STAR, contract.action_size), dtype=np.float32),
        around=_around(place, {one: tables[one].neighbours for one in known}),
        known=np.array([float(index in place.values()) for index in range(STAR)], np.float32),
    )
    for one, index in place.items():
        table = tables[one]
        rows = np.searchsorted(table.keys, keys)
        star.observation[:, index] = table.observation[rows]
        star.before[:, index] = table.observation[np.searchsorted(table.keys, keys - _ONE)]
        star.coupling[:, index, : len(table.neighbours)] = table.coupling[rows]
        star.mask[:, index] = table.mask[rows]
    return star


@dataclass(frozen=True)
class _Table:
    """All logs of one cell, sorted by episode and slot."""

    neighbours: tuple[str, ...]
    keys: Keys
    observation: FloatArray
    coupling: FloatArray
    mask: FloatArray

    @classmethod
    def of(cls, contract: Contract, logs: Sequence[EpisodeLog]) -> _Table:
        newest = logs[-1].neighbours  # those of another neighbourhood mean nothing now
        kept = sorted(
            (log for log in logs if log.neighbours == newest), key=lambda log: log.episode
        )
        keys = [np.uint64(log.episode << _EPISODE) + log.slots.astype(np.uint64) for log in kept]
        return cls(
            newest,
            np.concatenate(keys),
            contract.normalise(np.concatenate([log.observation for log in kept])),
            np.concatenate([log.coupling for log in kept]),
            encode_mask(np.concatenate([log.mask for log in kept]), contract.actions),
        )

    def usable(self) -> Keys:
        """Return the slots whose slot before was logged in the same episode."""
        follows = np.concatenate([[False], np.diff(self.keys) == _ONE])
        keys: Keys = self.keys[follows]
        return keys


def _share(own: Keys, other: _Table | None) -> float:
    """Return the share of the cell's slots that another one has, too."""
    if other is None or not len(own):
        return 0.0
    return float(np.isin(own, other.usable(), assume_unique=True).mean())


def _around(place: Mapping[str, int], neighbours: Mapping[str, tuple[str, ...]]) -> FloatArray:
    around = np.zeros((STAR, NEIGHBOURS, STAR), dtype=np.float32)
    around[np.arange(STAR), :, np.arange(STAR)] = 1  # cells without logs: nobody looks at them
    for one, index in place.items():
        spread = np.zeros(STAR, dtype=np.float32)
        spread[[place[other] for other in neighbours[one] if other in place] or [index]] = 1
        around[index] = spread / spread.sum()
        for row, other in enumerate(neighbours[one]):
            if other in place:
                around[index, row] = 0
                around[index, row, place[other]] = 1
    return around
