"""Task `sleep`: every cell chooses whether it sleeps, and how strongly it attracts users.

A slot: the cells observe what the last slot was like; they act; traffic arrives; users belong to the best
cell awake; the loads follow from each other; what cannot be served is lost; the users move.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import FloatArray
from networld_training.radio.arrays import BoolArray, IntArray
from networld_training.radio.arrays import FloatArray as DoubleArray
from networld_training.radio.channel import Channel
from networld_training.radio.demand import FILE_MBIT, Demand, draw_demand
from networld_training.radio.energy import SlotEnergy, slot_energy
from networld_training.radio.load import associate, couple_loads
from networld_training.tasks.base import Task
from networld_training.tasks.sleep.contract import SLEEP_SPEC
from networld_training.tasks.sleep.coupling import handover_shares, of_neighbours
from networld_training.tasks.sleep.modes import ACTIVE, DEEP, LIGHT, state_machine
from networld_training.tasks.sleep.network import SleepNetwork
from networld_training.tasks.sleep.observation import (
    Measurements,
    Memory,
    empty_memory,
    measure,
    remember,
    sleep_features,
    sleep_message,
)

__all__ = ["SleepNetwork", "SleepTask"]

# The slot before the first, and one for whoever looks a slot ahead in the last.
_MORE_SLOTS = 2


class SleepTask(Task):
    """Episodes of the sleep task; see `Task` for what all tasks share, `modes` for what orders do.

    An action is an order (0 active, 1 light, 2 deep) and a cell individual offset in dB, which is added
    to the cell's received power when users choose their cell. The slot before the first is with all
    cells awake and not scored, so that the first observation shows traffic.

    A cell's utility is minus its mean power in the slot, transitions included, over the reference power,
    minus the weighted unserved demand of the users that receive it best, awake or not, over the mean
    demand of a cell. The details of a slot hold `energy` in relative power times seconds, `load`, and
    `offered_mbit_s` and `unserved_mbit_s` of the users that receive the cell best.

    Attributes:
        machine: What orders do.
        demand: Traffic of the whole episodes.
        measured: The last slot as the cells measured it.
        memory: What the cells remember.
        state: State of each cell in the last slot, as in `modes` `[E, K]`.
        offset_db: Cell individual offset in the last slot `[E, K]`.
        serving_cell: Cell of each user in the last slot `[E, U]`.
        energy: What the cells used in the last slot.
    """

    spec = SLEEP_SPEC
    couplings = (
        "handover: share of a slot that own users would need of the neighbour",
        "fostering: share of a slot that the neighbour's users would need of this cell",
    )
    network: SleepNetwork
    demand: Demand
    measured: Measurements
    memory: Memory
    state: IntArray
    offset_db: DoubleArray
    serving_cell: IntArray
    energy: SlotEnergy

    def __init__(self, network: SleepNetwork, seeds: Sequence[int]) -> None:
        super().__init__(network, seeds)
        self._config = network.channel_config(fading=False)
        self.machine = state_machine(network.energy, network.slot_s)

    @property
    def user_gain(self) -> DoubleArray:
        """Gains at full power over the noise in the present slot `[E, U, K]`."""
        return self._user_gain

    @property
    def coupling(self) -> FloatArray:
        """What cells would need of their neighbours, and these of them, if they slept, `[E, K, 6, 2]`.

        A user belongs to the cell that it receives best, awake or not, and would be handed over to the one
        that it receives second best. The demand is that of the present slot.
        """
        demand = self.demand_mbit_s() * (1e6 / self.network.bandwidth_hz)
        shares = handover_shares(self._user_gain, self._strongest, demand)
        return of_neighbours(shares, self.neighbours).astype(np.float32)

    @property
    def turn(self) -> BoolArray:
        """Whose turn it is to reconsider in the present slot `[K]`: every third, by the site's colour."""
        return np.asarray(self.layout.reuse_colour == self.slot % 3)

    def demand_mbit_s(self, ahead: int = 0) -> DoubleArray:
        """Return the users' demand in the present slot, or `ahead` 1 slot later, `[E, U]`.

        No cell knows it before the slot is over; genies do.
        """
        return self.demand.mbit_s(self.slot + 1 + ahead)

    def _begin(self) -> None:
        """Drop the users, draw their traffic, and let a slot pass with all cells awake."""
        self._channel = Channel(self._config, self.streams)
        self._see_channel()
        slots = self.network.slots + _MORE_SLOTS
        cells = self.network.cells
        model = self.network.demand
        self.demand = draw_demand(model, self._strongest, cells, slots, self.streams)
        self.state = np.full(self.shape, ACTIVE)
        self.memory = empty_memory(*self.shape)
        self._serve(np.zeros(self.shape, dtype=np.int64), np.zeros(self.shape), -1)
        self._utility, self._energy, self._switches = np.zeros((3, len(self.seeds)))
        self._offered, self._served, self._unserved = np.zeros((3, len(self.seeds)))

    def _advance(self, action: DoubleArray) -> tuple[DoubleArray, dict[str, DoubleArray]]:
        awake_before = self.state == ACTIVE
        offered, unserved = self._serve(action[..., 0].astype(np.int64), action[..., 1], self.slot)
        self._channel.advance()
        if (self.slot + 1) % self.network.large_scale_slots == 0:
            self._see_channel()
        used = self.energy.total
        network = self.network
        utility = -used / (network.reference_power * network.slot_s)
        utility -= network.unserved_weight * unserved / network.mean_cell_demand_mbit_s
        self._utility += utility.mean(axis=-1)
        self._energy += used.sum(axis=-1)
        self._offered += offered.sum(axis=-1)
        self._served += self.measured.served_mbit_s.sum(axis=-1)
        self._unserved += unserved.sum(axis=-1)
        self._switches += (awake_before != (self.state == ACTIVE)).sum(axis=-1)
        details = {
            "energy": used,
            "load": self._load,
            "offered_mbit_s": offered,
            "unserved_mbit_s": unserved,
        }
        return utility, details

    def _tell(self) -> DoubleArray:
        return sleep_message(self.measured, self.offset_db)

    def _observe(self) -> FloatArray:
        phase = self.demand.phase[:, self.slot + 1]
        features = sleep_features(
            self.measured, self.memory, self.state, phase, self.offset_db, self.turn
        )
        return features.astype(np.float32)

    def effective_action(self, action: DoubleArray) -> DoubleArray:
        """Return actions as they take effect: from deep sleep nothing leads to light sleep."""
        effective = np.array(action)
        stays = (self.state == DEEP) & (action[..., 0] == LIGHT)
        effective[..., 0][stays] = DEEP
        return effective

    def balance(self) -> dict[str, DoubleArray]:
        """Return the traffic offered less what was served, by serving cell, and not served, by best cell."""
        left_mbit_s = self._offered - self._served - self._unserved
        return {"traffic_mbit": left_mbit_s * self.network.slot_s}

    def metrics(self) -> dict[str, DoubleArray]:
        """Return the figures of merit over the slots so far, each `[E]`.

        `mean_utility` of slots and cells, `power` per cell in the unit of the table, `unserved_share` of the
        offered traffic, `switches_per_hour` of a cell between serving and not serving, and
        `energy_per_mbit` served (at least one file).
        """
        slots = max(self.slot, 1)
        cell_s = self.network.cells * slots * self.network.slot_s
        served_mbit = self._served * self.network.slot_s
        return {
            "mean_utility": self._utility / slots,
            "power": self._energy / cell_s,
            "unserved_share": self._unserved / np.maximum(self._offered, np.finfo(float).tiny),
            "switches_per_hour": self._switches * 3600 / cell_s,
            "energy_per_mbit": self._energy / np.maximum(served_mbit, FILE_MBIT),
        }

    def _serve(
        self, order: IntArray, offset_db: DoubleArray, slot: int
    ) -> tuple[DoubleArray, DoubleArray]:
        """Obey, let traffic come, and return the offered and unserved traffic by best cell `[E, K]`."""
        machine, before = self.machine, self.state
        self.state = machine.state[before, order]
        self.offset_db = offset_db
        available = machine.awake_share[before, order]
        awake = available > 0
        demand_mbit_s = self.demand.mbit_s(slot + 1)
        demand = demand_mbit_s * (1e6 / self.network.bandwidth_hz)
        gain = self._user_gain
        self.serving_cell = associate(gain, offset_db, awake)
        loads = couple_loads(gain, self.serving_cell, demand, available)
        self._load = loads.load
        self.energy = slot_energy(
            self.network.energy,
            self.network.transmit_power_dbm,
            self.network.slot_s,
            available,
            loads.load,
            machine.sleep_power[before, order],
            machine.transition[before, order],
        )
        self.measured = measure(
            gain, self._strongest, self.serving_cell, demand_mbit_s, demand, awake, loads
        )
        self.memory = remember(self.memory, self.measured, self.state != before)
        unserved = demand_mbit_s * (1 - loads.served_share)
        by_cell = np.matmul(np.stack([demand_mbit_s, unserved], axis=1), self._at_home)
        return by_cell[:, 0], by_cell[:, 1]

    def _see_channel(self) -> None:
        self._user_gain = self._channel.gain * self.network.full_power_over_noise
        self._strongest = np.argmax(self._user_gain, axis=-1)
        at_home = self._strongest[..., None] == np.arange(self.network.cells)
        self._at_home = at_home.astype(np.float64)
