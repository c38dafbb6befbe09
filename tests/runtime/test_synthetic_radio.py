"""The synthetic radio: every slot once, at its time, and values that the contract allows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from networld_runtime.checked_radio import CheckedRadio
from networld_runtime.contract import Contract
from networld_runtime.errors import ConfigError
from networld_runtime.radio import RadioSetup
from networld_runtime.synthetic_radio import SyntheticRadio

SLOT_S = 0.05
MORNING_S = 20_000 * 86_400 + 3_600.0


class Time:
    """Clocks that go on only where somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 5.01
        self.skew_s = 0.0

    def wall(self) -> float:
        return MORNING_S + self.now_s + self.skew_s

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now_s += seconds


def _radio(contract: Contract, time: Time, cell: str = "a", **options: Any) -> SyntheticRadio:
    setup = RadioSetup("test", cell, ("b",), contract, 1, SLOT_S, options)
    return SyntheticRadio(setup, time.wall, time.monotonic, time.sleep)


def test_every_slot_is_observed_once_when_it_begins(contract: Contract) -> None:
    time = Time()
    radio = _radio(contract, time, episode_slots=10)
    seen = [one for _ in range(40) if (one := radio.observe(1.0)) is not None]
    assert [one.slot for one in seen] == list(range(seen[0].slot, seen[0].slot + 40))
    assert seen[0].slot == round(3605 / SLOT_S) + 1
    for one in seen:
        assert one.episode == one.slot // 10
        assert one.deadline_s - one.arrived_s == pytest.approx(SLOT_S, abs=1e-6)
        normalised = contract.normalise(one.values)
        assert np.abs(normalised).max() <= 1.0
    assert radio.counters["skipped"] == 0
    assert len({float(one.values[0]) for one in seen}) == 40


def test_nothing_comes_before_its_time(contract: Contract) -> None:
    time = Time()
    radio = _radio(contract, time)
    first = radio.observe(1.0)
    assert first is not None
    assert radio.observe(0) is None
    assert radio.due_s == pytest.approx(time.now_s + SLOT_S)
    assert radio.observe(SLOT_S / 2) is None
    assert radio.observe(SLOT_S) is not None


def test_slots_that_are_over_are_skipped_and_counted(contract: Contract) -> None:
    time = Time()
    radio = _radio(contract, time)
    first = radio.observe(1.0)
    time.now_s += 3.5 * SLOT_S
    second = radio.observe(1.0)
    assert first is not None
    assert second is not None
    assert second.slot == first.slot + 3
    assert second.deadline_s > time.now_s
    assert radio.counters["skipped"] == 2


def test_cells_agree_on_slots_and_begin_them_at_places_of_their_own(contract: Contract) -> None:
    time = Time()
    together = [_radio(contract, time, name) for name in "abc"]
    apart = [_radio(contract, time, name, spread=0.5) for name in "abc"]
    assert len({round(one.due_s, 9) for one in together}) == 1
    due_s = [one.due_s for one in apart]
    assert len({round(one, 6) for one in due_s}) == 3
    assert max(due_s) - min(due_s) <= 1.5 * SLOT_S


def test_wall_clock_that_is_set_changes_nothing(contract: Contract) -> None:
    time = Time()
    radio = _radio(contract, time)
    first = radio.observe(1.0)
    time.skew_s = 3600.0
    second = radio.observe(1.0)
    assert first is not None
    assert second is not None
    assert second.slot == first.slot + 1


def test_the_checks_between_radio_and_loop_take_what_it_says(contract: Contract) -> None:
    setup = RadioSetup("test", "a", ("b",), contract, 1, SLOT_S, {})
    radio = SyntheticRadio(setup)
    checked = CheckedRadio(radio, contract, (1, 1))
    assert checked.due_s == radio.due_s
    assert checked.observe(1.0) is not None
    assert dict(checked.counters) == {"received": 2}  # by both of them


def test_all_mistakes_in_the_options_are_told(contract: Contract) -> None:
    setup = RadioSetup("test", "a", ("b",), contract, 1, SLOT_S)
    wrong = {"spread": 1.0, "episode_slots": 0, "speed": 3}
    with pytest.raises(ConfigError) as caught:
        SyntheticRadio(replace(setup, options=wrong))
    assert [problem.split()[0] for problem in caught.value.problems] == [
        "speed:", "spread", "episode_slots",
    ]  # fmt: skip
