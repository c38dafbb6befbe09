"""The credit model: what a slot is worth to a cell by what it and its neighbours do.

It learns from logs that hold how strongly neighbours reach each cell, so it can be asked what would have
happened had several cells acted otherwise at once. A base station acts without it; it adapts by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from networld_runtime.contract import Action, Choice
from networld_training.model.layers import plain_perceptron

BINS = 61
BURDENS = 4
SHOWN = 12
"""Numbers by which a cell counts in what it makes together with each neighbour."""
TOGETHER = 24
"""Numbers that a cell and one neighbour make together."""
TAIL = 0.01
"""Share of the logged credits beyond the bins at either end; they count as the nearest bin."""


@dataclass(frozen=True)
class CreditSize:
    """Widths of the credit model.

    Attributes:
        hidden: Hidden width of the prediction.
        burden: Hidden width of what neighbours bear.
        pair: Hidden width of what a cell and one neighbour make together.
    """

    hidden: int = 192
    burden: int = 96
    pair: int = 64


@dataclass(frozen=True)
class Situation:
    """What is given in a slot, for the `K` cells of `B` networks.

    Attributes:
        observation: Normalised observations `[B, K, D]`.
        coupling: How strongly each neighbour acts on a cell, linear `[B, K, n, Q]`.
        neighbours: Indices of each cell's neighbours `[K, n]`; or shares `[K, n, K]`, each row adding up
            to 1. A neighbour that is one of the cells has all of its share at that cell. One that nothing
            is known of is spread evenly over the known neighbours of the same cell: it counts as their
            mean field.
        weight: How much each cell counts `[B, K]`; None if all count the same.
    """

    observation: Tensor
    coupling: Tensor
    neighbours: Tensor
    weight: Tensor | None = None

    def around(self, values: Tensor) -> Tensor:
        """Return what each cell's neighbours have, `[B, K, n, ...]` of `[B, K, ...]`."""
        if not self.neighbours.is_floating_point():
            return values[:, self.neighbours]
        mixed = self.neighbours.flatten(0, 1) @ values.reshape(*values.shape[:2], -1)
        return mixed.reshape(len(values), *self.neighbours.shape[:2], *values.shape[2:])

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over the cells `[B]` of `[B, K]`, each as much as it counts."""
        return (values if self.weight is None else values * self.weight).sum(dim=1)

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over networks and cells of `[B, K]`, each as much as it counts."""
        if self.weight is None:
            return values.mean()
        return (values * self.weight).sum() / self.weight.sum().clamp(min=1e-6)

    def of(self, networks: Tensor) -> Situation:
        """Return some networks, by index."""
        weight = None if self.weight is None else self.weight[networks]
        return Situation(
            self.observation[networks], self.coupling[networks], self.neighbours, weight
        )

    def repeated(self, times: int) -> Situation:
        """Return every network `times` times, one after the other."""
        return Situation(
            self.observation.repeat_interleave(times, dim=0),
            self.coupling.repeat_interleave(times, dim=0),
            self.neighbours,
            None if self.weight is None else self.weight.repeat_interleave(times, dim=0),
        )


class CreditModel(nn.Module):
    """Two-hot distribution of a cell's credit over bins that are even in a symmetric logarithm.

    Heavy tails ask for both: a mean over values is ruled by a few of them, a mean over logarithms forgets
    what they cost. The distribution is learned in the logarithm, its expectation taken over values
    (Hafner et al. 2023, DreamerV3).

    A cell's neighbours count by their couplings, summed over those active and over those not. What is
    left of a neighbour to lean on depends on its own neighbours: each cell has a few learned burdens,
    which those who are coupled to it see. Sums forget who is coupled to whom: what each neighbour and the
    cell make together is learned as well, and averaged, plainly and by each coupling.

    Args:
        observation_size: Features `D`.
        actions: Components of an action.
        activity: How active each entry of a coded action is `[A]`.
        floors: A coupling that does not matter `[Q]`.
        size: Widths.
    """

    activity: Tensor
    read: Tensor
    floors: Tensor
    centre: Tensor
    spread: Tensor
    pair_centre: Tensor
    pair_spread: Tensor
    scale: Tensor
    bounds: Tensor

    def __init__(
        self,
        observation_size: int,
        actions: Sequence[Action],
        activity: tuple[float, ...],
        floors: tuple[float, ...],
        size: CreditSize,
    ) -> None:
        super().__init__()
        couplings = len(floors)
        read = _readings(actions)
        self.register_buffer("read", read)
        self.register_buffer("activity", torch.tensor(activity))
        self.register_buffer("floors", torch.tensor(floors))
        self.register_buffer("centre", torch.zeros(couplings))
        self.register_buffer("spread", torch.ones(couplings))
        self.register_buffer("pair_centre", torch.zeros(couplings))
        self.register_buffer("pair_spread", torch.ones(couplings))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("bounds", torch.tensor([-1.0, 1.0]))
        own = observation_size + read.shape[1] + 2 * couplings + 1
        self.burden = plain_perceptron(own, size.burden, BURDENS)
        self.shown = nn.Linear(own, SHOWN)
        self.pair = nn.Sequential(
            nn.Linear(2 * SHOWN + couplings + 1, size.pair),
            nn.SiLU(),
            nn.Linear(size.pair, TOGETHER),
        )
        around = BURDENS * (couplings + 1) + TOGETHER * (couplings + 1)
        self.head = plain_perceptron(own + around, size.hidden, BINS)

    def fit(self, credit: Tensor, coupling: Tensor) -> None:
        """Set scales and bins from logged credits of any shape and couplings `[..., n, Q]`."""
        total = torch.log(coupling.flatten(0, -3).sum(dim=1) + self.floors)
        self.centre.copy_(total.mean(dim=0))
        self.spread.copy_(total.std(dim=0).clamp(min=1e-3))
        single = torch.log(coupling.flatten(0, -2) + self.floors)
        self.pair_centre.copy_(single.mean(dim=0))
        self.pair_spread.copy_(single.std(dim=0).clamp(min=1e-3))
        sizes = credit.abs()
        self.scale.copy_(sizes[sizes > 0].median())
        ordered = credit.flatten().sort().values
        last = len(ordered) - 1
        ends = torch.tensor([round(TAIL * last), round((1 - TAIL) * last)])
        self.bounds.copy_(self._compressed(ordered[ends]))

    @property
    def values(self) -> Tensor:
        """Credits of the bins `[BINS]`."""
        even = torch.linspace(0.0, 1.0, BINS, device=self.bounds.device)
        even = self.bounds[0] + (self.bounds[1] - self.bounds[0]) * even
        return torch.sign(even) * (torch.exp(even.abs()) - 1) * self.scale

    def forward(self, given: Situation, action: Tensor) -> Tensor:
        """Return logits `[B, K, BINS]` for coded actions `[B, K, A]` of all cells."""
        active = action @ self.activity
        around = given.around(active).unsqueeze(-1)
        reaching = self._level((given.coupling * around).sum(dim=2))
        resting = self._level((given.coupling * (1 - around)).sum(dim=2))
        own = torch.cat(
            [given.observation, action @ self.read, reaching, resting, around.mean(dim=2)], dim=-1
        )
        burden = given.around(nn.functional.softplus(self.burden(own))) * around
        borne = [
            self._level((given.coupling[..., index, None] * burden).sum(dim=2), index)
            for index in range(len(self.floors))
        ]
        x = [own, *borne, torch.log(burden.mean(dim=2) + 1e-2), *self._together(given, own, around)]
        logits: Tensor = self.head(torch.cat(x, dim=-1))
        return logits

    def expected(self, given: Situation, action: Tensor) -> Tensor:
        """Return the expected credits `[B, K]`."""
        return torch.softmax(self(given, action), dim=-1) @ self.values

    def loss(self, given: Situation, action: Tensor, credit: Tensor) -> Tensor:
        """Return the mean cross-entropy with logged credits `[B, K]`."""
        logits = torch.log_softmax(self(given, action), dim=-1)
        return -(self._two_hot(credit) * logits).sum(dim=-1).mean()

    def _together(self, given: Situation, own: Tensor, around: Tensor) -> list[Tensor]:
        """Return what cells and neighbours make together, averaged plainly and by each coupling."""
        shown = self.shown(own)
        theirs = given.around(shown)
        single = (torch.log(given.coupling + self.floors) - self.pair_centre) / self.pair_spread
        ours = shown.unsqueeze(2).expand_as(theirs)
        made = self.pair(torch.cat([ours, theirs, single, around], dim=-1))
        weight = given.coupling + self.floors
        weight = weight / weight.sum(dim=2, keepdim=True)
        by_coupling = [
            (weight[..., index, None] * made).sum(dim=2) for index in range(len(self.floors))
        ]
        return [made.mean(dim=2), *by_coupling]

    def _level(self, total: Tensor, index: int | slice = slice(None)) -> Tensor:
        """Return the standardised logarithm of sums of couplings `[..., Q]`, or of one of them."""
        return (torch.log(total + self.floors[index]) - self.centre[index]) / self.spread[index]

    def _compressed(self, credit: Tensor) -> Tensor:
        return torch.sign(credit) * torch.log1p(credit.abs() / self.scale)

    def _two_hot(self, credit: Tensor) -> Tensor:
        low, high = self.bounds
        place = (self._compressed(credit) - low) / (high - low) * (BINS - 1)
        distance = (place.clamp(0, BINS - 1).unsqueeze(-1) - torch.arange(BINS).to(place)).abs()
        return torch.clamp(1 - distance, min=0)


def _readings(actions: Sequence[Action]) -> Tensor:
    """Return what is read from a coded action `[A, n]`: choices as they are, numbers as place and "off".

    A number read from its bins one by one would leave the model to guess between those that were logged.
    """
    parts = []
    for action in actions:
        if isinstance(action, Choice):
            parts.append(torch.eye(action.size))
            continue
        place = torch.linspace(-1.0, 1.0, action.count)
        off = torch.zeros(action.size)
        if action.off is not None:
            place = torch.cat([torch.tensor([-1.0]), place])
            off[0] = 1.0
        parts.append(torch.stack([place, off], dim=1))
    together: Tensor = torch.block_diag(*parts)  # type: ignore[no-untyped-call]
    return together
