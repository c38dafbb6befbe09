"""What waits to be said: the newest counts, what is reliable queues, nothing locks a cell out."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from networld_runtime.mesh.outbox import LARGE_BYTES, MOST_TRIES, QUEUED_RELIABLE, Outbox, Outgoing

TOPICS = ("a", "b")


def _retained(payload: bytes, topic: str = "state") -> Outgoing:
    return Outgoing(topic, payload, True, True)


def _log(payload: bytes = b"log") -> Outgoing:
    return Outgoing("log", payload, True, False)


def _connect(outbox: Outbox) -> list[Outgoing]:
    return [one for one in outbox.begin(closing=False) if outbox.sends(one)]


def _payloads(outgoing: Iterable[Outgoing]) -> list[bytes]:
    return [one.payload for one in outgoing]


def test_the_newest_of_a_topic_follows_the_one_that_is_on_its_way() -> None:
    outbox = Outbox()
    first = _retained(b"1")
    assert outbox.admit(first, connected=True, closing=False) == "published"
    assert outbox.sends(first)
    for payload in (b"2", b"3"):
        newer = _retained(payload)
        assert outbox.admit(newer, connected=True, closing=False) == "published"
        assert not outbox.sends(newer)  # not now
    following = outbox.sent(first)
    assert following is not None
    assert following.payload == b"3"
    assert outbox.sends(following)
    assert outbox.sent(following) is None
    assert outbox.reliable == 0


def test_a_connection_begins_with_what_is_retained_and_then_with_what_waits() -> None:
    outbox = Outbox()
    logs = [_log(bytes([number])) for number in range(3)]
    for log in logs:
        assert outbox.admit(log, connected=False, closing=False) == "published"
    assert outbox.admit(_retained(b"s"), connected=False, closing=False) == "unsent"
    assert _payloads(_connect(outbox)) == [b"s", b"\0", b"\1", b"\2"]
    outbox.sent(logs[0])
    outbox.ended()
    assert _payloads(_connect(outbox)) == [b"s", b"\1", b"\2"]


def test_only_what_is_reliable_and_not_retained_fills_the_queue() -> None:
    outbox = Outbox()
    taken = [outbox.admit(_log(), connected=False, closing=False) for _ in range(40)]
    assert taken.count("published") == QUEUED_RELIABLE
    assert outbox.admit(_retained(b"s"), connected=True, closing=False) == "published"


def test_a_large_retained_payload_that_ends_connections_is_given_up_and_a_small_one_never() -> None:
    outbox = Outbox()
    status, state = _retained(bytes(LARGE_BYTES + 1), "status"), _retained(b"online")
    for one in (status, state):
        outbox.admit(one, connected=False, closing=False)
    ends = []
    for _ in range(MOST_TRIES):
        assert len(_connect(outbox)) == 2
        ends.append(outbox.ended())
    assert ends[:-1] == [None] * (MOST_TRIES - 1)
    assert ends[-1] is not None
    assert ends[-1].topic == "status"
    for _ in range(3 * MOST_TRIES):
        assert _payloads(_connect(outbox)) == [b"online"]
        assert outbox.ended() is None


def test_what_was_taken_once_is_no_suspect() -> None:
    outbox = Outbox()
    outbox.admit(_retained(bytes(LARGE_BYTES + 1), "status"), connected=False, closing=False)
    for _ in range(3 * MOST_TRIES):
        (status,) = _connect(outbox)
        outbox.sent(status)
        assert outbox.ended() is None


class Machine(RuleBasedStateMachine):
    """A broker that takes what it likes, and a connection that comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox()
        self.connected = False
        self.count = 0
        self.flying: list[Outgoing] = []
        self.wanted: dict[str, bytes] = {}
        self.broker: dict[str, bytes] = {}

    @rule()
    def connect(self) -> None:
        if not self.connected:
            self.connected = True
            self.flying = _connect(self.outbox)

    @rule()
    def lose(self) -> None:
        if self.connected:
            self.connected = False
            self.flying.clear()
            self.outbox.ended()

    @rule(topic=st.sampled_from(TOPICS))
    def tell(self, topic: str) -> None:
        self.count += 1
        outgoing = _retained(str(self.count).encode(), topic)
        self.wanted[topic] = outgoing.payload
        outcome = self.outbox.admit(outgoing, connected=self.connected, closing=False)
        if outcome == "published" and self.outbox.sends(outgoing):
            self.flying.append(outgoing)

    @rule()
    def arrive(self) -> None:
        if self.flying:
            outgoing = self.flying.pop(0)
            if outgoing.retain:
                self.broker[outgoing.topic] = outgoing.payload
            following = self.outbox.sent(outgoing)
            if following is not None and self.outbox.sends(following):
                self.flying.append(following)

    @invariant()
    def the_broker_learns_the_newest_once_all_has_arrived(self) -> None:
        if self.connected and not self.flying:
            assert self.broker == self.wanted

    @invariant()
    def one_of_each_topic_is_on_its_way(self) -> None:
        assert len({one.topic for one in self.flying}) == len(self.flying)


TestMachine = Machine.TestCase
TestMachine.settings = settings(deadline=None, max_examples=200, stateful_step_count=30)
