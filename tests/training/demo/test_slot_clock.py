"""The schedule of slots, on a clock that the test owns."""

from __future__ import annotations

import pytest

from networld_training.demo.slot_clock import SlotClock


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def now(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_slots_keep_their_distance_when_work_takes_time() -> None:
    clock = Clock()
    slots = SlotClock(1.0, clock.now, clock.sleep)
    ends = []
    for work_s in (0.2, 0.9, 1.3, 0.1):  # the third takes longer than its slot
        ends.append(slots.begin_slot())
        clock.sleep(work_s)
    assert ends == pytest.approx([101, 102, 103, 104])
    assert slots.slips == 0


def test_schedule_moves_when_more_than_half_a_slot_is_lost() -> None:
    clock = Clock()
    slots = SlotClock(1.0, clock.now, clock.sleep)
    slots.begin_slot()
    clock.sleep(1.6)
    assert slots.begin_slot() == pytest.approx(102.6)
    assert slots.slips == 1


def test_restart_begins_at_once() -> None:
    clock = Clock()
    slots = SlotClock(1.0, clock.now, clock.sleep)
    slots.begin_slot()
    slots.restart()
    clock.sleep(50)
    assert slots.begin_slot() == pytest.approx(151)
    assert slots.slips == 0
