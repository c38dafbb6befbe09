"""Task `sched`: every cell serves one of its users in every slot, or is silent, for short delays.

A slot: files arrive; the cells rank their users and observe; they act; the users receive what the
SINR and their queues allow; the users move, and are handed over with their queues.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from networld_runtime.contract import FloatArray
from networld_training.radio.arrays import BoolArray, IntArray
from networld_training.radio.arrays import FloatArray as DoubleArray
from networld_training.radio.attachment import hand_over, strongest_cell
from networld_training.radio.channel import Channel
from networld_training.radio.link import spectral_efficiency
from networld_training.radio.queues import FileQueues
from networld_training.radio.traffic import draw_arrivals
from networld_training.tasks.base import CREDIT, Task
from networld_training.tasks.gains import disturbance, leakage
from networld_training.tasks.sched.contract import LOWEST_RATE, MEGABIT, MUTE, SCHED_SPEC
from networld_training.tasks.sched.network import SchedNetwork
from networld_training.tasks.sched.observation import (
    Measurements,
    observed,
    ranked_users,
    sched_message,
)

__all__ = ["MUTE", "SchedNetwork", "SchedTask"]

# A utility of -1 is a backlog of ten files of 0.1 MB, about what a busy cell has.
UTILITY_BITS = 8e6
# A dropped bit costs as much as one that waits for ten slots.
DROP_WEIGHT = 10.0


class SchedTask(Task):
    """Episodes of the scheduling task; see `Task` for what all tasks share.

    Users belong to the cell that they receive best on average; they are handed over when another
    one is better by 3 dB, and their queues move with them. An action is the place of a user in the
    cell's list (see `Measurements`), or 8 to be silent. A cell that serves a user sends at full
    power for the whole slot; capacity beyond the user's queue is lost.

    A cell's utility is minus its backlog at the end of the slot, over 8 Mbit, minus ten times what
    was dropped there for lack of room, over 8 Mbit. The details of a slot hold
    `spectral_efficiency` in b/s/Hz and `served_mbit` of each cell. A cell's credit is the square root of
    the backlog of the user that it chose, in Mbit before the slot, times the Mbit served of it in the slot.

    Attributes:
        measured: The present slot in linear units, for rules and the genie.
        serving_cell: Cell of each user `[E, U]`.
        queues: The users' files.
        user_gain: SNR of all pairs at full power in the present slot, linear `[E, U, K]`.
        user_interference: Interference and noise over noise in the last slot `[E, U]`.
        average_rate: Exponential average of the rate that a user was served at, b/s/Hz `[E, U]`.
        last: Whether a cell transmitted in the last slot, and its spectral efficiency `[E, K, 2]`.
    """

    spec = SCHED_SPEC
    couplings = ("gain to the first user of the list, over noise at full power",)
    network: SchedNetwork
    measured: Measurements
    serving_cell: IntArray
    queues: FileQueues
    user_gain: DoubleArray
    user_interference: DoubleArray
    average_rate: DoubleArray
    last: DoubleArray

    def __init__(self, network: SchedNetwork, seeds: Sequence[int]) -> None:
        super().__init__(network, seeds)
        self._config = network.channel_config()
        # Where users, and pairs of user and serving cell, lie in flattened arrays.
        self._first_user = network.users * np.arange(len(self.seeds))[:, None]
        self._pair = network.cells * (self._first_user + np.arange(network.users))
        self._scale = network.full_power_over_noise

    @property
    def coupling(self) -> FloatArray:
        """Gain of each neighbour to the first user of a cell's list, `[E, K, 6, 1]`; 0 without backlog."""
        measured = self.measured
        gain = disturbance(measured.gain, measured.waiting, self.neighbours)
        return gain[..., None].astype(np.float32)

    def _begin(self) -> None:
        """Drop the users with some files that wait already."""
        network = self.network
        self._channel = Channel(self._config, self.streams)
        gain = self._channel.large_scale_gain * self._scale
        best = gain.max(axis=-1)
        self.serving_cell = strongest_cell(gain)
        self.user_interference = np.maximum(gain.sum(axis=-1) - best, 0.0) + 1
        expected = spectral_efficiency(best / self.user_interference) / network.users_per_cell
        self.average_rate = np.maximum(expected, LOWEST_RATE)
        self._arrivals = draw_arrivals(
            self.streams,
            network.users,
            network.slots,
            network.files_per_slot,
            network.waiting_files,
        )
        self.queues = FileQueues(best.shape, network.file_bits, network.buffer_files)
        self._bit_slots: IntArray = np.zeros(best.shape, dtype=np.int64)
        self.last = np.zeros((*self.shape, 2))
        self.queues.arrive(self._arrivals[0], 0)
        self._measure(0)

    def _advance(self, action: DoubleArray) -> tuple[DoubleArray, dict[str, DoubleArray]]:
        choice = action[..., 0].astype(np.int64)
        sending = choice != MUTE
        place = np.where(sending, choice, 0)[..., None]
        user = np.take_along_axis(self.measured.user, place, axis=-1)[..., 0]
        backlog = np.take_along_axis(self.measured.backlog_bits, place, axis=-1)[..., 0]
        efficiency = self._transmit(user, sending)
        served = self._serve(user, sending, efficiency)
        self.last = np.stack([sending, efficiency], axis=-1)

        following = self.slot + 1
        self._channel.advance()
        if following % self.network.large_scale_slots == 0:
            self.serving_cell = hand_over(self.serving_cell, self._channel.large_scale_gain)
        waiting = self._of_cells(self.queues.bits)
        dropped = np.zeros(self.shape)
        if following < self.network.slots:
            lost = self.queues.arrive(self._arrivals[following], following)
            if lost.any():
                dropped = self._of_cells(lost) * self.network.file_bits
        self._measure(following)
        utility = -(waiting + DROP_WEIGHT * dropped) / UTILITY_BITS
        served_mbit = served / MEGABIT
        return utility, {
            "spectral_efficiency": efficiency,
            "served_mbit": served_mbit,
            CREDIT: np.sqrt(backlog / MEGABIT) * served_mbit,
        }

    def _tell(self) -> DoubleArray:
        return sched_message(self.measured, self.last)

    def balance(self) -> dict[str, DoubleArray]:
        """Return the bits that arrived less those served, waiting and dropped `[E]`."""
        queues = self.queues
        kept = self.network.file_bits * queues.accepted_files - queues.served_bits - queues.bits
        return {"queue_bits": np.asarray(kept.sum(axis=-1), dtype=np.float64)}

    def metrics(self) -> dict[str, DoubleArray]:
        """Return the figures of merit over the slots so far, each `[E]`.

        `mean_delay_s` is Little's law: the time that bits spent in the queues over the bits accepted;
        bits that still wait count with their time so far. `delay_p95_s` is the 95 percentile over the
        users of the same, of one file at least. `file_delay_s` is the mean time from arrival to
        completion of the files completed, the time so far if none was. `dropped_share` is of the files
        that arrived, `served_mbit_s` is per cell.
        """
        queues, slot_s = self.queues, self.network.slot_s
        waited = self._bit_slots / queues.file_bits * slot_s
        completed = queues.completed_files.sum(axis=-1)
        delay = queues.completed_slots.sum(axis=-1) / np.maximum(completed, 1)
        arrived = np.maximum(queues.arrived_files.sum(axis=-1), 1)
        served = queues.served_bits.sum(axis=-1) / MEGABIT / self.network.cells
        return {
            "mean_delay_s": waited.sum(axis=-1) / np.maximum(queues.accepted_files.sum(axis=-1), 1),
            "delay_p95_s": np.percentile(
                waited / np.maximum(queues.accepted_files, 1), 95, axis=-1
            ),
            "dropped_share": queues.dropped_files.sum(axis=-1) / arrived,
            "served_mbit_s": served / (max(self.slot, 1) * slot_s),
            "file_delay_s": np.where(completed > 0, delay, self.slot) * slot_s,
        }

    def _transmit(self, user: IntArray, sending: BoolArray) -> DoubleArray:
        """Let all users receive what is sent, and return the chosen ones' efficiency `[E, K]`."""
        received = self.user_gain @ sending[..., None].astype(np.float64)
        own = self._own_gain * np.take_along_axis(sending, self.serving_cell, axis=-1)
        self.user_interference = np.maximum(received[..., 0] - own, 0.0) + 1
        chosen = self._first_user + user
        ratio = own.take(chosen) / self.user_interference.take(chosen)
        return np.where(sending, spectral_efficiency(ratio), 0.0)

    def _serve(self, user: IntArray, sending: BoolArray, efficiency: DoubleArray) -> DoubleArray:
        """Take what was received from the queues and return it per cell in bits `[E, K]`."""
        self._bit_slots += self.queues.bits
        chosen = self._first_user + user
        rate = np.zeros_like(self.average_rate)
        rate.put(chosen[sending], efficiency[sending])
        capacity = (rate * self.network.bandwidth_hz * self.network.slot_s).astype(np.int64)
        served = self.queues.serve(capacity, self.slot)
        self.average_rate += self.network.averaging * (rate - self.average_rate)
        np.maximum(self.average_rate, LOWEST_RATE, out=self.average_rate)
        return np.where(sending, served.take(chosen), 0.0)

    def _measure(self, slot: int) -> None:
        """Rank the users of each cell by backlog times estimated rate, and measure for them."""
        self.user_gain = self._channel.gain * self._scale
        self._own_gain = self.user_gain.take(self._pair + self.serving_cell)
        rate = spectral_efficiency(self._own_gain / self.user_interference)
        bits = self.queues.bits
        # A user out of reach keeps a little priority, and one without backlog goes by its rate alone.
        key = np.where(bits > 0, bits * np.maximum(rate, LOWEST_RATE), rate - 10.0)
        user, present, attached = ranked_users(self.serving_cell, key, self.shape[1])
        table = np.stack([bits, self.queues.head_age(slot), rate, self.average_rate], axis=-1)
        flat = self._first_user[..., None] + user
        listed = table.reshape(-1, table.shape[-1]).take(flat, axis=0)
        listed = np.where(present[..., None], listed, 0.0)
        first = flat[..., 0]
        gain = self.user_gain.reshape(-1, self.shape[1]).take(first, axis=0)
        waiting = listed[..., 0, 0] > 0
        self.measured = Measurements(
            user=user,
            present=present,
            backlog_bits=listed[..., 0],
            head_age=listed[..., 1],
            rate=listed[..., 2],
            average_rate=listed[..., 3],
            attached=attached,
            cell_bits=self._of_cells(bits),
            waiting=waiting,
            gain=gain,
            interference=self.user_interference.take(first),
            leakage=leakage(gain, waiting, self.neighbours),
        )

    def _of_cells(self, values: IntArray) -> DoubleArray:
        """Return sums over the users of each cell `[E, K]`, from `[E, U]`."""
        flat = self.serving_cell + self.shape[1] * np.arange(self.shape[0])[:, None]
        total = np.bincount(flat.ravel(), values.ravel(), minlength=self.shape[0] * self.shape[1])
        return np.asarray(total, dtype=np.float64).reshape(self.shape)

    def _observe(self) -> FloatArray:
        mask = np.ones((*self.shape, MUTE + 1), dtype=np.bool_)
        mask[..., :MUTE] = self.measured.backlog_bits > 0
        self.action_mask = mask
        return observed(self.measured, self.last)
