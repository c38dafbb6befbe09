"""Genies of the sleep task: they know all gains and all traffic of this slot and the next.

Each slot they look for the set of awake cells with the lowest true cost, without offsets: of this slot,
in which a cell in deep sleep cannot serve, and of the next, for which it must wake up now. Greedy in time:
not an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from networld_runtime.errors import ConfigError
from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.radio.geometry import RINGS
from networld_training.radio.load import associate, couple_loads
from networld_training.tasks.network import Network
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, PATIENCE_SLOTS
from networld_training.tasks.sleep.task import SleepTask
from networld_training.tasks.spec import Information

LARGEST_EXHAUSTIVE = 7
# Numbers in one batch of gains: keeps a search within the memory of a small machine.
_LARGEST_BATCH = 4_000_000
_TOLERANCE = 1e-4

Cost = Callable[[IntArray, BoolArray], FloatArray]
"""Maps episodes `[B]` and sets of awake cells `[B, K]` to costs `[B]`."""

Search = Callable[[Cost, BoolArray, BoolArray], BoolArray]
"""Finds cheap sets `[E, K]` from a cost, sets to start at and cells that may be awake, each `[E, K]`."""


class Genie:
    """Lowest true cost, found by a search over sets of awake cells.

    Args:
        name: Name in tables.
        search: Finds the sets.
        most_cells: Cells of the largest network that the search can do.
    """

    information: Information = "genie"

    def __init__(self, name: str, search: Search, most_cells: int = max(RINGS)) -> None:
        self.name = name
        self._search = search
        self._most_cells = most_cells

    def fits(self, network: Network) -> bool:
        """Return whether the search can do this network."""
        return network.cells <= self._most_cells

    def reset(self) -> None:
        """Do nothing: there is no state."""

    def act(self, task: SleepTask) -> FloatArray:
        """Return the orders for the best sets; offsets are 0.

        Raises:
            ConfigError: The network has too many cells for an exhaustive search.
        """
        deep = task.state == DEEP
        awake = task.state == ACTIVE
        now = self._search(set_cost(task, 0, awake), awake & ~deep, ~deep)
        following = self._search(set_cost(task, 1, now), now, np.ones_like(deep))
        rested = (task.state == LIGHT) & (task.memory.slots_in_state >= PATIENCE_SLOTS)
        asleep = np.where(deep | (rested & ~following), DEEP, LIGHT)
        order = np.where(now | (deep & following), ACTIVE, asleep)
        return np.stack([order, np.zeros(task.shape)], axis=-1)


def set_cost(task: SleepTask, ahead: int, reference: BoolArray) -> Cost:
    """Return the cost of a slot as a function of the set of cells awake.

    It is minus the sum of the cells' utilities, with cells not awake in light sleep, plus half the
    transition to and from the sleep that a cell is in for every cell that is not as in `reference`.

    Args:
        task: The episodes.
        ahead: 0 for the present slot, 1 for the next.
        reference: Set from which each change is charged `[E, K]`.
    """
    network, table = task.network, task.network.energy
    demand_mbit_s = task.demand_mbit_s(ahead)
    transmitting = table.transmitting(network.transmit_power_dbm)
    sleep_energy = np.where(task.state == DEEP, table.deep_transition, table.light_transition)
    change = sleep_energy / (2 * network.slot_s)

    def chunk_cost(episode: IntArray, awake: BoolArray) -> FloatArray:
        gain, offered = task.user_gain[episode], demand_mbit_s[episode]
        available = awake.astype(np.float64)
        serving = associate(gain, np.zeros_like(available), awake)
        demand = offered * (1e6 / network.bandwidth_hz)
        loads = couple_loads(gain, serving, demand, available, _TOLERANCE)
        power = np.where(
            awake, table.micro + loads.load * (transmitting - table.micro), table.light
        )
        power += change[episode] * (awake != reference[episode])
        unserved = (offered * (1 - loads.served_share)).sum(axis=-1)
        lost = network.unserved_weight * unserved / network.mean_cell_demand_mbit_s
        return np.asarray(power.sum(axis=-1) / network.reference_power + lost)

    def cost(episode: IntArray, awake: BoolArray) -> FloatArray:
        size = max(_LARGEST_BATCH // (network.users * network.cells), 1)
        parts = [
            chunk_cost(episode[start : start + size], awake[start : start + size])
            for start in range(0, len(episode), size)
        ]
        return np.concatenate(parts)

    return cost


def flip_search(cost: Cost, start: BoolArray, allowed: BoolArray) -> BoolArray:
    """Change the one cell that lowers the cost most, until none does."""
    episodes, cells = start.shape
    best = start.copy()
    lowest = cost(np.arange(episodes), best)
    flips = np.eye(cells, dtype=np.bool_)
    pending = np.arange(episodes)
    while len(pending):
        candidates = best[pending, None, :] ^ flips
        costs = cost(np.repeat(pending, cells), candidates.reshape(-1, cells)).reshape(-1, cells)
        costs = np.where(allowed[pending], costs, np.inf)
        flip = np.argmin(costs, axis=-1)
        lowest_now = np.take_along_axis(costs, flip[:, None], axis=-1)[:, 0]
        # More than the tolerance of the loads, or a pair of flips could go on for ever.
        better = lowest_now < lowest[pending] - 1e-2
        pending, flip = pending[better], flip[better]
        best[pending, flip] ^= True
        lowest[pending] = lowest_now[better]
    return best


def exhaustive_search(cost: Cost, start: BoolArray, allowed: BoolArray) -> BoolArray:
    """Try all sets.

    Raises:
        ConfigError: There are more than 2^7 of them.
    """
    episodes, cells = start.shape
    if cells > LARGEST_EXHAUSTIVE:
        raise ConfigError(
            "exhaustive",
            f"{cells} cells have 2^{cells} sets; expected at most {LARGEST_EXHAUSTIVE}. Use greedy",
        )
    sets = (np.arange(2**cells)[:, None] >> np.arange(cells) & 1).astype(np.bool_)
    costs = cost(np.repeat(np.arange(episodes), len(sets)), np.tile(sets, (episodes, 1)))
    possible = (allowed[:, None, :] | ~sets).all(axis=-1)
    best = np.argmin(np.where(possible, costs.reshape(episodes, -1), np.inf), axis=-1)
    return np.asarray(sets[best])
