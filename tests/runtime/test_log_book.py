"""The neighbours' logs: checked, bounded, and only those of the newest epoch."""

from __future__ import annotations

import threading
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_logs import COUPLINGS, log_of

from networld_runtime.contract import Contract
from networld_runtime.episode_log import LARGEST_LOGS, encode_log
from networld_runtime.log_book import BURST_LOGS, LogBook


def payload(contract: Contract, episode: int, slots: int = 4, epoch: int = 5) -> bytes:
    return encode_log(log_of(contract, ["a"], range(slots), episode, epoch), contract)


def held(book: LogBook, name: str = "b") -> list[int]:
    return [log.episode for log in book.logs()[name]]


def test_logs_come_back_in_the_order_of_episodes(contract: Contract) -> None:
    book = LogBook(contract, COUPLINGS, ["b", "c"], 100)
    for episode in (3, 1, 2):
        book.receive("b", payload(contract, episode))
    book.receive("b", payload(contract, 1, slots=6))  # sent again: the newest counts
    assert held(book) == [1, 2, 3]
    assert len(book.logs()["b"][0].slots) == 6
    assert book.logs()["c"] == []


def test_all_neighbours_must_have_sent_the_episodes(contract: Contract) -> None:
    book = LogBook(contract, COUPLINGS, ["b", "c"], 100)
    assert book.covers([])
    for name, episode in (("b", 1), ("b", 2), ("c", 2)):
        book.receive(name, payload(contract, episode))
    assert book.covers([2])
    assert not book.covers([1, 2])
    book.receive("c", payload(contract, 1))
    assert book.covers([1, 2])
    assert LogBook(contract, COUPLINGS, [], 100).covers([1])


def test_an_older_epoch_is_stale_and_a_newer_one_starts_anew(contract: Contract) -> None:
    book = LogBook(contract, COUPLINGS, ["b"], 100)
    book.receive("b", payload(contract, 1, epoch=5))
    book.receive("b", payload(contract, 2, epoch=4))
    assert held(book) == [1]
    assert book.rejected() == {"b": {"stale": 1}}
    book.receive("b", payload(contract, 3, epoch=6))
    assert held(book) == [3]


def test_garbage_is_counted_by_reason_and_never_raises(contract: Contract) -> None:
    book = LogBook(contract, COUPLINGS, ["b"], 100)
    for garbage in (b"", bytes(300_000), b"\xc1", b"\x95\x01\x00\x00\x00\x00"):
        book.receive("b", garbage)
    assert book.rejected() == {"b": {"size": 2, "malformed": 1, "version": 1}}
    assert held(book) == []


def test_cleared_logs_are_gone_but_replays_stay_stale(contract: Contract) -> None:
    book = LogBook(contract, COUPLINGS, ["b"], 100)
    book.receive("b", payload(contract, 1, epoch=5))
    book.clear()
    assert held(book) == []
    book.receive("b", payload(contract, 1, epoch=4))
    assert held(book) == []


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 100))
def test_the_newest_that_fit_are_kept(
    contract: Contract, lengths: list[int], capacity: int
) -> None:
    book = LogBook(contract, COUPLINGS, ["b"], capacity)
    for episode, slots in enumerate(lengths):
        book.receive("b", payload(contract, episode, slots))
    expected: list[int] = []
    for episode in reversed(range(len(lengths))):
        if expected and sum(lengths[episode:]) > capacity:
            break
        expected.insert(0, episode)
    assert held(book) == expected[-LARGEST_LOGS:]


def test_receiving_while_reading_is_safe(contract: Contract) -> None:
    seconds = count()
    book = LogBook(contract, COUPLINGS, ["b"], 100, clock=lambda: float(next(seconds)))
    payloads = [payload(contract, episode) for episode in range(300)]

    def send() -> None:
        for one in payloads:
            book.receive("b", one)

    thread = threading.Thread(target=send)
    thread.start()
    while thread.is_alive():
        found = held(book)
        assert found == sorted(found)
        assert len(found) <= LARGEST_LOGS
    thread.join()
    assert held(book) == list(range(300 - LARGEST_LOGS, 300))


def test_a_neighbour_that_floods_is_not_read(contract: Contract) -> None:
    now_s = 0.0
    book = LogBook(contract, COUPLINGS, ["b", "c"], 1000, clock=lambda: now_s)
    for _ in range(BURST_LOGS):
        book.receive("b", b"garbage")
    book.receive("b", payload(contract, 1))
    book.receive("c", payload(contract, 1))
    assert book.rejected()["b"]["flood"] == 1
    assert held(book) == []
    assert held(book, "c") == [1]
    now_s = 1.0
    book.receive("b", payload(contract, 2))
    assert held(book) == [2]
