"""Delays between attempts: short at first, never long, never those of another cell."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.mesh.back_off import (
    FIRST_S,
    LONGEST_S,
    LONGEST_SUSPECT_S,
    SHORTEST_S,
    STEADY_S,
    SUSPECT_AFTER,
    BackOff,
)


@given(st.integers(0, 2**32))
def test_ceilings_double_up_to_the_longest(seed: int) -> None:
    back_off = BackOff(random.Random(seed))
    for attempt in range(100):
        delay_s = back_off.delay_s()
        assert SHORTEST_S <= delay_s <= min(FIRST_S * 2**attempt, LONGEST_S)


def test_cells_that_lose_the_broker_at_once_come_back_evenly() -> None:
    back_offs = [BackOff() for _ in range(2000)]  # seeded by the system, as in cells
    for back_off in back_offs:
        for _ in range(5):
            back_off.delay_s()
    delays = sorted(back_off.delay_s() for back_off in back_offs)
    for share in (0.1, 0.5, 0.9):
        expected_s = SHORTEST_S + share * (LONGEST_S - SHORTEST_S)
        assert abs(delays[int(share * len(delays))] - expected_s) < 0.1


def test_connections_that_the_broker_ends_soon_again_and_again_are_suspect() -> None:
    back_off = BackOff(random.Random(0))
    suspect = []
    for _ in range(SUSPECT_AFTER):
        back_off.ended(0.2, by_broker=True)
        suspect.append(back_off.suspect)
    assert suspect == [False] * (SUSPECT_AFTER - 1) + [True]
    assert max(back_off.delay_s() for _ in range(100)) > LONGEST_S
    assert max(back_off.delay_s() for _ in range(100)) <= LONGEST_SUSPECT_S
    back_off.ended(STEADY_S, by_broker=True)
    assert back_off.delay_s() <= FIRST_S
    assert max(back_off.delay_s() for _ in range(100)) <= LONGEST_S


def test_silence_is_not_suspect() -> None:
    back_off = BackOff(random.Random(0))
    for _ in range(10 * SUSPECT_AFTER):
        back_off.ended(0.2, by_broker=False)
    assert not back_off.suspect
