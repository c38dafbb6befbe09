"""The one network thread: serves sockets, timers and other threads, and outlives what it calls."""

from __future__ import annotations

import os
import resource
import selectors
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from networld_runtime.mesh.network_loop import NetworkLoop

DEADLINE_S = 10.0


@pytest.fixture
def loop() -> Iterator[NetworkLoop]:
    with NetworkLoop() as one:
        one.start()
        yield one


def test_calls_of_many_threads_all_happen_and_on_one_thread(loop: NetworkLoop) -> None:
    called: list[tuple[int, int]] = []
    threads: set[str] = set()

    def note(caller: int, number: int) -> None:
        called.append((caller, number))
        threads.add(threading.current_thread().name)

    def call(caller: int) -> None:
        for number in range(500):
            assert loop.call_soon(note, caller, number)

    callers = [threading.Thread(target=call, args=(index,)) for index in range(8)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    done = threading.Event()
    loop.call_soon(done.set)
    assert done.wait(DEADLINE_S)
    assert threads == {"network"}
    for index in range(8):
        assert [number for caller, number in called if caller == index] == list(range(500))


def test_what_fails_is_counted_and_told_once_and_ends_nothing(
    loop: NetworkLoop, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError("broken")

    for _ in range(3):
        loop.call_soon(fail)
    loop.call_soon(loop.call_later, 0.0, fail)
    loop.call_soon(loop.call_later, 0.01, done.set)
    assert done.wait(DEADLINE_S)
    assert loop.counters["errors"] == 4
    assert len(caplog.records) == 1


def test_timers_come_in_the_order_of_their_times(loop: NetworkLoop) -> None:
    order: list[str] = []
    done = threading.Event()

    def set_all() -> None:
        loop.call_later(0.10, done.set)
        loop.call_later(0.05, order.append, "second")
        loop.call_later(0.01, order.append, "first")
        loop.call_later(0.05, order.append, "third")

    loop.call_soon(set_all)
    assert done.wait(DEADLINE_S)
    assert order == ["first", "second", "third"]


def test_sockets_are_served_until_they_are_unwatched(loop: NetworkLoop) -> None:
    ours, theirs = socket.socketpair()
    heard: list[bytes] = []
    arrived = threading.Event()

    def read(events: int) -> None:
        assert events & selectors.EVENT_READ
        heard.append(ours.recv(100))
        arrived.set()

    loop.call_soon(loop.watch, ours.fileno(), read)
    for word in (b"one", b"two"):
        arrived.clear()
        theirs.send(word)
        assert arrived.wait(DEADLINE_S)
    assert heard == [b"one", b"two"]
    loop.call_soon(loop.unwatch, ours.fileno())
    done = threading.Event()
    loop.call_soon(done.set)
    assert done.wait(DEADLINE_S)
    theirs.send(b"three")
    time.sleep(0.1)
    assert heard == [b"one", b"two"]
    ours.close()
    theirs.close()


def test_a_socket_that_has_room_is_told_so_only_while_somebody_asks(loop: NetworkLoop) -> None:
    ours, theirs = socket.socketpair()
    rounds: list[int] = []
    done = threading.Event()

    def ready(events: int) -> None:
        rounds.append(events)
        if len(rounds) == 3:
            loop.watch(ours.fileno(), ready)
            loop.call_later(0.1, done.set)

    loop.call_soon(lambda: loop.watch(ours.fileno(), ready, write=True))
    assert done.wait(DEADLINE_S)
    assert rounds == [selectors.EVENT_WRITE] * 3
    loop.call_soon(loop.unwatch, ours.fileno())
    loop.close()
    ours.close()
    theirs.close()


def test_descriptors_beyond_those_of_select(loop: NetworkLoop) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1300:
        pytest.skip("this system allows too few open files (ulimit -n)")
    many = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        ours, theirs = socket.socketpair()
        assert ours.fileno() >= 1024
        arrived = threading.Event()
        loop.call_soon(loop.watch, ours.fileno(), lambda _: arrived.set())
        theirs.send(b"x")
        assert arrived.wait(DEADLINE_S)
        done = threading.Event()
        loop.call_soon(loop.unwatch, ours.fileno())
        loop.call_soon(done.set)
        assert done.wait(DEADLINE_S)
        ours.close()
        theirs.close()
    finally:
        for descriptor in many:
            os.close(descriptor)


def test_closing_does_what_was_asked_before_and_then_takes_nothing() -> None:
    loop = NetworkLoop()
    loop.start()
    done: list[int] = []
    for number in range(100):
        loop.call_soon(done.append, number)
    loop.close()
    assert done == list(range(100))
    assert not loop.call_soon(done.append, 100)
    loop.close()
    loop.start()
    assert "network" not in {thread.name for thread in threading.enumerate()}


def test_one_that_never_ran_closes_too() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    loop = NetworkLoop()
    assert len(os.listdir("/proc/self/fd")) > descriptors
    loop.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_it_may_be_closed_by_what_it_calls() -> None:
    loop = NetworkLoop()
    loop.start()
    loop.call_soon(loop.close)
    deadline_s = time.monotonic() + DEADLINE_S
    while "network" in {thread.name for thread in threading.enumerate()}:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
