"""Arrivals and queues: nothing is lost or made up, first come first served, Little's law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_training.radio.queues import FileQueues
from networld_training.radio.streams import spawn_streams
from networld_training.radio.traffic import draw_arrivals


def test_arrivals_are_poisson_and_the_same_alone() -> None:
    seeds = range(20)
    streams = [spawn_streams(seed) for seed in seeds]
    arrivals = draw_arrivals(streams, 8, 1000, 0.2, 2.0)
    assert arrivals.shape == (1000, 20, 8)
    later = arrivals[1:]
    assert later.mean() == pytest.approx(0.2, abs=0.004)
    assert later.var() == pytest.approx(0.2, abs=0.008)
    # The load at the start is of an episode, uniform from 0 to 2 files.
    loads = arrivals[0].mean(axis=-1)
    assert loads.min() < 0.8
    assert loads.max() > 1.6
    alone = draw_arrivals([spawn_streams(7)], 8, 1000, 0.2, 2.0)
    assert (alone[:, 0] == arrivals[:, 7]).all()


def test_arrivals_draw_from_the_traffic_stream_only() -> None:
    stream = spawn_streams(3)
    draw_arrivals([stream], 4, 10, 0.5, 1.0)
    fresh = spawn_streams(3)
    for purpose in ("topology", "fading", "mobility", "policy"):
        assert getattr(stream, purpose).random() == getattr(fresh, purpose).random()
    assert stream.traffic.random() != fresh.traffic.random()


def test_a_queue_by_hand() -> None:
    queues = FileQueues((1, 1), file_bits=100, buffer_files=3)

    def arrive(files: int, slot: int) -> int:
        return int(queues.arrive(np.array([[files]]), slot)[0, 0])

    def serve(bits: int, slot: int) -> int:
        return int(queues.serve(np.array([[bits]]), slot)[0, 0])

    def state(*names: str) -> list[int]:
        return [int(getattr(queues, name)[0, 0]) for name in names]

    assert arrive(2, slot=0) == 0
    assert serve(130, slot=0) == 130  # the first file, and 30 bits of the second
    assert state("bits", "files") == [70, 1]
    assert state("completed_files", "completed_slots") == [1, 1]
    assert queues.head_age(4) == 4
    assert arrive(4, slot=4) == 2  # room for two
    assert state("bits", "files") == [270, 3]
    assert queues.head_age(5) == 5
    assert serve(170, slot=6) == 170  # the second after 7 slots, the third after 3
    assert state("completed_files", "completed_slots") == [3, 1 + 7 + 3]
    assert serve(500, slot=7) == 100  # the rest of the capacity is lost
    assert state("completed_files", "completed_slots") == [4, 11 + 4]
    assert queues.head_age(9) == 0
    assert state("arrived_files", "accepted_files", "dropped_files") == [6, 4, 2]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 450)), min_size=1, max_size=40),
    st.integers(1, 5),
)
def test_against_a_plain_queue(slots: list[tuple[int, int]], buffer_files: int) -> None:
    queues = FileQueues((1, 2), file_bits=100, buffer_files=buffer_files)
    waiting: list[list[int]] = []  # arrival slot and bits left of each file
    delays, dropped, served = [], 0, 0
    for slot, (files, offered) in enumerate(slots):
        capacity = offered
        room = buffer_files - len(waiting)
        dropped += max(files - room, 0)
        waiting += [[slot, 100] for _ in range(min(files, room))]
        queues.arrive(np.array([[0, files]]), slot)
        assert queues.head_age(slot)[0, 1] == (slot - waiting[0][0] if waiting else 0)
        while waiting and capacity:
            part = min(waiting[0][1], capacity)
            waiting[0][1] -= part
            capacity -= part
            served += part
            if waiting[0][1] == 0:
                delays.append(slot + 1 - waiting.pop(0)[0])
        queues.serve(np.array([[0, offered]]), slot)
        assert queues.bits[0, 1] == sum(left for _, left in waiting)
        assert queues.files[0, 1] == len(waiting)
        assert queues.served_bits[0, 1] == served
        assert queues.dropped_files[0, 1] == dropped
        assert queues.completed_files[0, 1] == len(delays)
        assert queues.completed_slots[0, 1] == sum(delays)
        arrived = queues.arrived_files[0, 1] * 100
        assert arrived == served + queues.bits[0, 1] + dropped * 100
    assert (queues.bits[0, 0], queues.arrived_files[0, 0]) == (0, 0)


def test_littles_law_and_the_discrete_single_server_queue() -> None:
    """One file per slot at most: a discrete M/D/1 queue with the known mean delay."""
    load, slots, runs = 0.7, 1500, 200
    queues = FileQueues((runs, 1), file_bits=100, buffer_files=1000)
    arrivals = np.random.default_rng(0).poisson(load, size=(slots, runs, 1))
    present = 0
    for slot in range(slots):
        queues.arrive(arrivals[slot], slot)
        present += int(queues.files.sum())
        queues.serve(np.full((runs, 1), 100), slot)
    delay = queues.completed_slots.sum() / queues.completed_files.sum()
    assert present / queues.accepted_files.sum() == pytest.approx(delay, rel=0.002)
    # A file waits for those before it: load / (2 (1 - load)) slots on average, and its own slot.
    assert delay == pytest.approx(1 + load / (2 * (1 - load)), rel=0.05)
