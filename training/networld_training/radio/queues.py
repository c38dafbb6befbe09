"""Queues of files of one size, first come first served, counted in whole bits."""

from __future__ import annotations

import numpy as np

from networld_training.radio.arrays import IntArray


class FileQueues:
    """One bounded queue for each user of E episodes.

    Bits are integers, so that at any time arrived = served + waiting + dropped holds exactly.

    Args:
        shape: Episodes and users, (E, U).
        file_bits: Size of a file.
        buffer_files: Largest number of files in a queue, the one in service included.

    Attributes:
        bits: Bits that wait `[E, U]`.
        files: Files that wait, a file in service counts in full `[E, U]`.
        arrived_files: Files that arrived so far, dropped ones included `[E, U]`.
        dropped_files: Files that found the queue full `[E, U]`.
        served_bits: Bits that were served `[E, U]`.
        completed_files: Files that were served in full `[E, U]`.
        completed_slots: Slots from arrival to completion, both included, summed over these `[E, U]`.
    """

    def __init__(self, shape: tuple[int, int], file_bits: int, buffer_files: int) -> None:
        self.file_bits = file_bits
        self.buffer_files = buffer_files
        self.bits: IntArray = np.zeros(shape, dtype=np.int64)
        self.files: IntArray = np.zeros(shape, dtype=np.int64)
        self.arrived_files: IntArray = np.zeros(shape, dtype=np.int64)
        self.dropped_files: IntArray = np.zeros(shape, dtype=np.int64)
        self.served_bits: IntArray = np.zeros(shape, dtype=np.int64)
        self.completed_files: IntArray = np.zeros(shape, dtype=np.int64)
        self.completed_slots: IntArray = np.zeros(shape, dtype=np.int64)
        # A ring of arrival slots for each queue, and where in it the oldest file is.
        self._arrival_slot = np.zeros((*shape, buffer_files), dtype=np.int64)
        self._first: IntArray = np.zeros(shape, dtype=np.int64)
        self._ring = buffer_files * np.arange(shape[0] * shape[1]).reshape(shape)

    @property
    def accepted_files(self) -> IntArray:
        """Files that arrived and were not dropped `[E, U]`."""
        return self.arrived_files - self.dropped_files

    def arrive(self, files: IntArray, slot: int) -> IntArray:
        """Let files arrive `[E, U]` in this slot and return how many of them were dropped."""
        accepted = np.minimum(files, self.buffer_files - self.files)
        for number in range(int(accepted.max(initial=0))):
            queue = np.nonzero(accepted > number)
            place = (self._first[queue] + self.files[queue] + number) % self.buffer_files
            self._arrival_slot[(*queue, place)] = slot
        self.files += accepted
        self.bits += accepted * self.file_bits
        dropped = files - accepted
        self.arrived_files += files
        self.dropped_files += dropped
        return dropped

    def serve(self, capacity_bits: IntArray, slot: int) -> IntArray:
        """Serve at most so many bits of each queue `[E, U]` and return the bits served.

        Files are completed at the end of the slot. Capacity that finds no bits is lost.
        """
        served = np.minimum(self.bits, capacity_bits)
        self.bits -= served
        self.served_bits += served
        left = -(-self.bits // self.file_bits)
        completed = self.files - left
        for number in range(int(completed.max(initial=0))):
            queue = np.nonzero(completed > number)
            place = (self._first[queue] + number) % self.buffer_files
            self.completed_slots[queue] += slot + 1 - self._arrival_slot[(*queue, place)]
        self.completed_files += completed
        self._first = (self._first + completed) % self.buffer_files
        self.files = left
        return served

    def head_age(self, slot: int) -> IntArray:
        """Return for how many slots the oldest file has waited `[E, U]`; 0 where there is none."""
        arrival = self._arrival_slot.take(self._ring + self._first)
        return np.where(self.files > 0, slot - arrival, 0)
