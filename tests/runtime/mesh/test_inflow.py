"""What comes in from a neighbour: how much is read, and the rates that are told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.mesh.inflow import WINDOW_S, Arrivals, TokenBucket


def test_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    bucket = TokenBucket(5, 8, now_s=0.0)
    assert sum(bucket.take(0.0) for _ in range(20)) == 5
    assert sum(bucket.take(count / 1024) for count in range(1, 1025)) == 8
    bucket.add(3)
    assert sum(bucket.take(1.0) for _ in range(20)) == 3


@given(st.lists(st.floats(0, 0.5), max_size=60), st.integers(1, 8), st.floats(0.1, 20))
def test_bucket_never_lets_more_through_than_burst_and_rate(
    pauses_s: list[float], burst: int, rate: float
) -> None:
    bucket, now_s, taken = TokenBucket(burst, rate, now_s=100.0), 100.0, 0
    for pause_s in pauses_s:
        now_s += pause_s
        taken += bucket.take(now_s)
        assert taken <= burst + rate * (now_s - 100.0) + 1e-6


def test_rate_and_share_are_those_of_the_last_seconds() -> None:
    arrivals = Arrivals()
    assert (arrivals.rate_per_s(3.0), arrivals.valid_share(3.0)) == (None, None)
    for count in range(200):  # 20 a second for 10 s, every second one good
        now_s = 3.0 + count / 20
        arrivals.came(now_s)
        if count % 2:
            arrivals.good(now_s)
    assert arrivals.rate_per_s(13.0) == 10
    assert arrivals.valid_share(13.0) == 0.5
    arrivals.came(13.0)
    assert arrivals.rate_per_s(13.0 + WINDOW_S + 1) == 0
    assert arrivals.valid_share(13.0 + WINDOW_S + 1) is None


def test_rate_of_the_first_second_is_not_blown_up() -> None:
    arrivals = Arrivals()
    for now_s in (7.0, 7.001):
        arrivals.came(now_s)
        arrivals.good(now_s)
    assert arrivals.rate_per_s(7.002) == 2
