"""The proxy does what it was told, counts it, and nothing else; without faults it is a wire."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from faulty_proxy import DOWN, UP, Direction, FaultyProxy
from hypothesis import given
from hypothesis import strategies as st
from packet_faults import Faults
from raw_mqtt import PUBLISH, PacketReader, is_qos_0_publish, packet, publish

PATIENCE_S = 20.0
PING = b"\xc0\x00"


class Peer:
    """What listens behind the proxy: takes one connection after the other, and keeps what comes."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.server.getsockname()[1])

    def accept(self) -> socket.socket:
        self.server.settimeout(PATIENCE_S)
        accepted, _ = self.server.accept()
        accepted.settimeout(PATIENCE_S)
        return accepted


@contextmanager
def connection(
    seed: int = 0,
) -> Iterator[tuple[FaultyProxy, socket.socket, socket.socket]]:
    """A proxy with one connection through it: both ends."""
    peer = Peer()
    with peer.server, FaultyProxy(peer.port, seed) as proxy:
        client = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)
        with client, peer.accept() as broker:
            until(lambda: proxy.connected_s)
            yield proxy, client, broker


def take(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = end.recv(65536)
        assert chunk, f"ended after {len(data)} of {count} bytes"
        data += chunk
    return data


def take_all(end: socket.socket) -> bytes:
    return b"".join(iter(lambda: end.recv(65536), b""))


def is_quiet(end: socket.socket, seconds: float = 0.15) -> bool:
    end.settimeout(seconds)
    try:
        return not end.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        end.settimeout(PATIENCE_S)


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen"
        time.sleep(0.005)


def told(count: int) -> list[bytes]:
    return [publish("t", f"{number:04}".encode()) for number in range(count)]


def numbers(stream: bytes) -> list[int]:
    return [int(one[-4:]) for one in PacketReader().feed(stream)]


def test_without_faults_it_is_a_wire() -> None:
    with connection() as (proxy, client, broker):
        data = bytes(range(256)) * 2000
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        assert take(broker, len(data)) == data
        sender.join()
        broker.sendall(b"\x40\x02\x00\x01")
        assert take(client, 4) == b"\x40\x02\x00\x01"
        client.close()
        assert take_all(broker) == b""
        assert proxy.counters["bytes_up"] == len(data)
        assert not {name for name in proxy.counters if name.split("_")[0] in ("dropped", "held")}


def test_no_broker_is_seen_as_a_reset() -> None:
    with Peer().server as server:
        port = server.getsockname()[1]
    with FaultyProxy(port) as proxy:
        address = ("127.0.0.1", proxy.port)
        with (
            pytest.raises(ConnectionResetError),
            socket.create_connection(address, PATIENCE_S) as client,
        ):
            client.recv(1)
        assert proxy.counters["refused"] == 1


def test_delay_keeps_the_order_and_is_at_least_as_long_as_asked_for() -> None:
    with connection(3) as (proxy, client, broker):
        proxy.set(Faults(delay_s=0.1, jitter_s=0.08), UP)
        begin_s = time.monotonic()
        for one in told(20):
            client.sendall(one)
            time.sleep(0.005)
        assert numbers(take(broker, len(b"".join(told(20))))) == list(range(20))
        assert time.monotonic() - begin_s >= 0.02
        assert proxy.counters["delayed_up"] >= 1
        begin_s = time.monotonic()
        broker.sendall(PING)
        assert take(client, 2) == PING
        assert proxy.counters["delayed_down"] == 0
        proxy.set(Faults(delay_s=0.2), DOWN)
        begin_s = time.monotonic()
        broker.sendall(PING)
        take(client, 2)
        assert time.monotonic() - begin_s >= 0.2


def test_slices_carry_the_same_bytes() -> None:
    with connection() as (proxy, client, broker):
        proxy.set(Faults(slice_bytes=3))
        data = b"".join(told(50))
        client.sendall(data)
        assert take(broker, len(data)) == data
        until(lambda: proxy.counters["slices_up"] >= len(data) // 3)


def test_bandwidth_is_a_limit() -> None:
    with connection() as (proxy, client, broker):
        proxy.set(Faults(bandwidth_bytes_per_s=20_000, slice_bytes=1000), UP)
        begin_s = time.monotonic()
        client.sendall(bytes(8000))
        take(broker, 8000)
        assert time.monotonic() - begin_s >= 7 * 1000 / 20_000
        until(lambda: proxy.counters["throttled_up"] == 8)


@pytest.mark.parametrize("directions", [(), (UP,), (DOWN,)])
def test_a_silence_lets_nothing_pass_and_heals(directions: tuple[Direction, ...]) -> None:
    with connection() as (proxy, client, broker):
        proxy.silence(*directions)
        client.sendall(PING)
        broker.sendall(PING)
        for end, direction in ((broker, UP), (client, DOWN)):
            silent = not directions or direction in directions
            assert is_quiet(end) is silent
            assert (proxy.counters[f"held_{direction}"] == 1) is silent
        proxy.heal()
        assert take(broker, 2) == PING
        assert take(client, 2) == PING
        assert proxy.counters["silences"] == 1


def test_an_end_is_not_told_through_a_silence() -> None:
    with connection() as (proxy, client, broker):
        proxy.silence()
        client.close()
        assert is_quiet(broker)
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as late:
            assert is_quiet(late)  # accepted, and nobody answers
        proxy.heal()
        assert take_all(broker) == b""


def test_a_stall_ends_by_itself() -> None:
    with connection() as (proxy, client, broker):
        begin_s = time.monotonic()
        proxy.stall(0.2, UP)
        client.sendall(PING)
        assert take(broker, 2) == PING
        assert time.monotonic() - begin_s >= 0.2
        assert proxy.counters["held_up"] == 1


def test_a_reset_is_a_reset_and_a_close_is_an_end() -> None:
    with connection() as (proxy, client, broker):
        assert proxy.reset() == 1
        for end in (client, broker):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        assert (proxy.counters["resets"], proxy.counters["closes"]) == (1, 0)
    with connection() as (proxy, client, broker):
        assert proxy.close_all() == 1
        assert (take_all(client), take_all(broker)) == (b"", b"")
        assert proxy.reset() == 0
        assert proxy.counters["closes"] == 1


def test_loss_is_as_often_as_asked_for_and_the_same_for_the_same_seed() -> None:
    found = [_mangled(Faults(drop=0.3), seed) for seed in (1, 1, 2)]
    (first, counters), (again, _), (other, _) = found
    assert first == again != other
    assert counters["dropped_up"] == 1000 - len(first)
    assert 240 < counters["dropped_up"] < 360  # four standard deviations
    assert first == sorted(first)


def test_what_comes_twice_comes_twice_in_a_row() -> None:
    came, counters = _mangled(Faults(duplicate=0.2))
    twice = Counter(came)
    assert sorted(twice) == list(range(1000))
    assert sum(count == 2 for count in twice.values()) == counters["duplicated_up"] > 100
    assert came == sorted(came)


def test_reordered_packets_all_come_and_few_places_late() -> None:
    came, counters = _mangled(Faults(reorder=0.2))
    assert sorted(came) == list(range(1000))
    assert counters["reordered_up"] > 100
    assert came != sorted(came)
    overtaken = sum(later < earlier for earlier, later in itertools.pairwise(came))
    assert overtaken > 50
    assert all(abs(place - number) <= 12 for place, number in enumerate(came))


def test_what_mqtt_promises_is_never_touched() -> None:
    promised = [publish("t", f"{number:04}".encode(), quality=1) for number in range(200)]
    others = [packet(kind, b"\0\1") for kind in range(1, 16) if kind != PUBLISH]
    data = b"".join(promised + others)
    with connection() as (proxy, client, broker):
        proxy.set(Faults(drop=1.0, duplicate=1.0, reorder=1.0))
        client.sendall(data + publish("t", b"lost"))
        assert take(broker, len(data)) == data
        until(lambda: proxy.counters["dropped_up"] == 1)
        client.close()
        assert take_all(broker) == b""


def test_faults_may_change_while_packets_pass() -> None:
    with connection() as (proxy, client, broker):
        proxy.set(Faults(drop=1.0), UP)
        client.sendall(b"".join(told(5)))
        until(lambda: proxy.counters["dropped_up"] == 5)
        proxy.set(Faults())
        client.sendall(b"".join(told(2)))
        assert numbers(take(broker, 2 * len(told(1)[0]))) == [0, 1]


@given(
    st.lists(st.tuples(st.integers(1, 15), st.integers(0, 15), st.binary(max_size=300))),
    st.lists(st.integers(1, 50)),
)
def test_packets_are_found_however_the_stream_is_cut(
    packets: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    whole = [packet(kind, body, flags) for kind, flags, body in packets]
    stream, reader, found = b"".join(whole), PacketReader(), []
    for size in [*cuts, len(stream)]:
        found += list(reader.feed(stream[:size]))
        stream = stream[size:]
    assert found == whole
    assert reader.rest() == b""
    assert [is_qos_0_publish(one) for one in whole] == [
        kind == PUBLISH and flags & 6 == 0 for kind, flags, _ in packets
    ]


@given(st.binary(max_size=100))
def test_what_is_not_mqtt_passes_as_it_is(data: bytes) -> None:
    reader = PacketReader()
    stream = b"\x30\xff\xff\xff\xff" + data  # no length is that long
    assert b"".join(reader.feed(stream)) + reader.rest() == stream


def _mangled(faults: Faults, seed: int = 0) -> tuple[list[int], Counter[str]]:
    """Return which of 1,000 numbered packets came through, in the order in which they came."""
    with connection(seed) as (proxy, client, broker):
        proxy.set(faults, UP)
        client.sendall(b"".join(told(1000)))
        client.shutdown(socket.SHUT_WR)
        return numbers(take_all(broker)), proxy.counters
