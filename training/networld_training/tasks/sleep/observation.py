"""What a cell of the sleep task can measure, as the features of the contract.

A cell that is awake counts its traffic and knows its users' reports: reference-signal powers of the
cells awake, and interference. From the reports that a user sent before its own cell fell asleep it knows
whom it serves in place of a sleeping cell. A cell that serves nobody measures nothing: it remembers its
demand when it was last awake, knows the time of day, and hears its neighbours' messages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from networld_training.radio.arrays import BoolArray, FloatArray, IntArray
from networld_training.radio.link import MINIMUM_SINR, spectral_efficiency
from networld_training.radio.load import Loads, of_cell, take_out
from networld_training.tasks.sleep.contract import (
    LARGEST_GAP_DB,
    LARGEST_LOAD,
    LONGEST_SLOTS,
    SLEEP_SPEC,
)

HISTORY = 3
_STATES = 4
LOWEST_EFFICIENCY = float(spectral_efficiency(MINIMUM_SINR))


@dataclass
class Measurements:
    """What cells measured in a slot, each `[E, K]`; 0 where a cell was not awake.

    Attributes:
        awake: Whether a cell served users.
        load: Share of the slot that would have served all of its users.
        offered_mbit_s: Demand of its users.
        served_mbit_s: What of it was served.
        own_demand_mbit_s: Demand of those of its users that receive no cell better.
        attached: Number of its users.
        gap_db: How much worse its users receive the best other cell awake, mean in dB.
        efficiency: Mean spectral efficiency of its users.
        handover_load: Share of a slot that its users would need of the best other cells awake.
        fostered_load: Share of the slot that it needs for users who receive a sleeping cell better.
    """

    awake: BoolArray
    load: FloatArray
    offered_mbit_s: FloatArray
    served_mbit_s: FloatArray
    own_demand_mbit_s: FloatArray
    attached: FloatArray
    gap_db: FloatArray
    efficiency: FloatArray
    handover_load: FloatArray
    fostered_load: FloatArray

    @property
    def unserved_share(self) -> FloatArray:
        """Share of the offered traffic that was not served."""
        offered = self.offered_mbit_s
        lost = np.maximum(offered - self.served_mbit_s, 0.0)
        return np.divide(lost, offered, out=np.zeros_like(lost), where=offered > 0)


@dataclass
class Memory:
    """What a cell remembers, each `[E, K]` unless said otherwise.

    Attributes:
        offered_mbit_s: Offered traffic of the last three slots, latest first `[E, K, 3]`.
        own_demand_mbit_s: Own demand when it was last awake.
        slots_in_state: Slots that it has been in its state.
    """

    offered_mbit_s: FloatArray
    own_demand_mbit_s: FloatArray
    slots_in_state: IntArray


def measure(
    gain: FloatArray,
    strongest: IntArray,
    serving: IntArray,
    demand_mbit_s: FloatArray,
    demand: FloatArray,
    awake: BoolArray,
    loads: Loads,
) -> Measurements:
    """Return what the cells measured.

    Args:
        gain: Gains at full power over the noise `[E, U, K]`.
        strongest: The best cell of each user, awake or not `[E, U]`.
        serving: Its cell `[E, U]`.
        demand_mbit_s: Its demand `[E, U]`.
        demand: The same over the bandwidth, b/s/Hz `[E, U]`.
        awake: Whether a cell serves users `[E, K]`.
        loads: The solution of the load coupling.
    """
    others = np.multiply(gain, awake[:, None, :], order="C")
    own = take_out(others, serving)
    second = np.argmax(others, axis=-1)
    signal = take_out(others, second)
    alone = signal == 0
    ratio = np.maximum(own, 1.0) / np.where(alone, 1.0, signal)
    gap_db = np.where(alone, LARGEST_GAP_DB, 10 * np.log10(ratio))
    # Handed over, a user gets its second cell as signal, and its own one is silent.
    second_load = of_cell(loads.load, second)
    rest = np.maximum(loads.interference - second_load * signal, 1.0)
    handed_over = np.maximum(spectral_efficiency(signal / rest), LOWEST_EFFICIENCY)
    needed = np.zeros_like(demand)
    np.divide(demand, loads.efficiency, out=needed, where=loads.efficiency > 0)
    at_home = serving == strongest
    asleep = of_cell(np.where(awake, 0.0, 1.0), strongest)
    per_user = np.stack(
        [
            demand_mbit_s,
            demand_mbit_s * loads.served_share,
            demand_mbit_s * at_home,
            gap_db,
            loads.efficiency,
            demand / handed_over,
            needed * asleep,
            np.ones_like(demand),
        ],
        axis=-1,
    )
    summed = np.matmul(loads.member, per_user) * awake[..., None]
    offered, served, own_demand, gap_sum, efficiency_sum, handover, foster, attached = np.moveaxis(
        summed, -1, 0
    )
    users = np.maximum(attached, 1)
    nobody_else = awake & (awake.sum(axis=-1, keepdims=True) == 1)
    return Measurements(
        awake=awake,
        load=loads.needed,
        offered_mbit_s=offered,
        served_mbit_s=served,
        own_demand_mbit_s=own_demand,
        attached=attached,
        gap_db=gap_sum / users,
        efficiency=efficiency_sum / users,
        handover_load=np.where(nobody_else, LARGEST_LOAD, handover),
        fostered_load=foster,
    )


def empty_memory(episodes: int, cells: int) -> Memory:
    """Return what cells remember before anything happened."""
    return Memory(
        np.zeros((episodes, cells, HISTORY)),
        np.zeros((episodes, cells)),
        np.zeros((episodes, cells), dtype=np.int64),
    )


def remember(memory: Memory, measured: Measurements, changed: BoolArray) -> Memory:
    """Return what the cells remember after a slot.

    Args:
        memory: What they remembered before it.
        measured: What they measured in it.
        changed: Whether their states did change `[E, K]`.
    """
    offered = np.concatenate(
        [measured.offered_mbit_s[..., None], memory.offered_mbit_s[..., :-1]], axis=-1
    )
    return Memory(
        offered_mbit_s=offered,
        own_demand_mbit_s=np.where(
            measured.awake, measured.own_demand_mbit_s, memory.own_demand_mbit_s
        ),
        slots_in_state=np.where(changed, 1, memory.slots_in_state + 1),
    )


def sleep_features(
    measured: Measurements,
    memory: Memory,
    state: IntArray,
    phase: FloatArray,
    offset_db: FloatArray,
    turn: BoolArray,
) -> FloatArray:
    """Return the observations `[E, K, 21]`.

    Args:
        measured: What the cells measured in the slot before.
        memory: What they remember.
        state: Their states `[E, K]`.
        phase: Phase of the day `[E]`.
        offset_db: Their offsets `[E, K]`.
        turn: Whose turn to reconsider it is `[K]`.
    """
    features = np.empty((*state.shape, len(SLEEP_SPEC.features)))
    features[..., 0] = measured.load
    features[..., 1] = np.log(1 + memory.offered_mbit_s[..., 0])
    features[..., 2] = np.log(1 + measured.served_mbit_s)
    features[..., 3] = measured.unserved_share
    features[..., 4] = measured.attached
    features[..., 5] = measured.gap_db
    features[..., 6] = measured.efficiency
    features[..., 7] = measured.handover_load
    features[..., 8] = measured.fostered_load
    features[..., 9:13] = state[..., None] == np.arange(_STATES)
    features[..., 13] = np.minimum(memory.slots_in_state, LONGEST_SLOTS)
    features[..., 14] = np.log(1 + memory.own_demand_mbit_s)
    features[..., 15:17] = np.log(1 + memory.offered_mbit_s[..., 1:])
    features[..., 17] = np.sin(phase)[:, None]
    features[..., 18] = np.cos(phase)[:, None]
    features[..., 19] = offset_db
    features[..., 20] = turn
    return features


def sleep_message(measured: Measurements, offset_db: FloatArray) -> FloatArray:
    """Return what the cells tell, `[E, K, 6]` as `SLEEP_SPEC.message` names it."""
    told = np.empty((*offset_db.shape, len(SLEEP_SPEC.message)))
    told[..., 0] = measured.load
    told[..., 1] = measured.unserved_share
    told[..., 2] = measured.handover_load
    told[..., 3] = measured.fostered_load
    told[..., 4] = offset_db
    told[~measured.awake] = np.nan
    told[..., 5] = measured.awake
    return told
