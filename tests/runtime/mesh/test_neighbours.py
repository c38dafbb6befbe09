"""Neighbours: the right slot, the right age, no replays, and every rejection counted."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.contract import Contract
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import Neighbours

EPOCH = 1_790_000_000


class Clock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _payload(
    contract: Contract,
    slot: int,
    value: float = 0.0,
    utility: float | None = None,
    epoch: int = EPOCH,
) -> bytes:
    values = np.full(contract.message_size, value, dtype=np.float32)
    return encode(MeanFieldMessage(epoch, slot, values, utility), contract)


def test_mean_field_is_the_mean_and_the_share_heard(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b", "c", "d"], 2)
    neighbours.receive("b", _payload(contract, 4, 1.0))
    neighbours.receive("c", _payload(contract, 4, 0.0))
    field = neighbours.mean_field(5)
    assert field.shape == (17,)
    assert field.dtype == np.float32
    np.testing.assert_allclose(field[:-1], 0.5)
    assert field[-1] == pytest.approx(2 / 3)
    assert neighbours.missing == ("d",)


def test_nobody_heard_gives_zeros(contract: Contract) -> None:
    assert not Neighbours(contract, ["b"], 1).mean_field(3).any()
    assert not Neighbours(contract, [], 1).mean_field(3).any()


def test_slot_uses_the_message_of_the_slot_before(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 3)
    neighbours.receive("b", _payload(contract, 4, 0.0))
    neighbours.receive("b", _payload(contract, 5, 1.0))  # early: the neighbour is in slot 5 already
    assert neighbours.mean_field(5)[0] == 0
    assert neighbours.mean_field(6)[0] == 1


def test_old_slot_is_missing(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 2)
    neighbours.receive("b", _payload(contract, 4, 1.0))
    assert neighbours.mean_field(6)[-1] == 1
    assert neighbours.mean_field(7)[-1] == 0


def test_message_that_arrived_long_ago_is_missing(contract: Contract) -> None:
    clock = Clock()
    neighbours = Neighbours(contract, ["b"], 2, slot_s=0.1, clock=clock)
    neighbours.receive("b", _payload(contract, 4, 1.0))
    clock.now_s = 0.29
    assert neighbours.mean_field(5)[-1] == 1
    clock.now_s = 0.31
    assert neighbours.mean_field(5)[-1] == 0


def test_replays_are_rejected(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 2)
    for slot in (4, 5):
        neighbours.receive("b", _payload(contract, slot))
    for payload in (
        _payload(contract, 5),
        _payload(contract, 4),
        _payload(contract, 9, epoch=EPOCH - 1),
    ):
        neighbours.receive("b", payload)
    assert neighbours.rejected() == {"b": {"stale": 3}}
    assert neighbours.received == 2


def test_new_epoch_starts_again_at_any_slot(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 2)
    neighbours.receive("b", _payload(contract, 500, 1.0))
    neighbours.forget()
    neighbours.begin_episode(0)
    neighbours.receive("b", _payload(contract, 0, 0.5, epoch=EPOCH + 1))
    assert neighbours.mean_field(1)[0] == pytest.approx(0.5, abs=0.01)
    assert neighbours.rejected() == {"b": {}}


def test_message_of_an_older_episode_never_counts(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b", "c"], 3)
    neighbours.receive("b", _payload(contract, 9, 1.0))
    neighbours.receive("c", _payload(contract, 10, 1.0))  # c is in the new episode already
    neighbours.begin_episode(10)
    assert neighbours.mean_field(10)[-1] == 0
    assert neighbours.mean_field(11)[-1] == 0.5


def test_slot_of_the_far_future_does_not_lock_a_neighbour_out(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 2)
    neighbours.begin_episode(0)
    neighbours.receive("b", _payload(contract, 2**32 - 1))
    neighbours.receive("b", _payload(contract, 1, 1.0))
    assert neighbours.mean_field(2)[-1] == 1
    assert neighbours.rejected() == {"b": {"ahead": 1}}


def test_garbage_is_counted_by_reason_and_never_raises(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 2)
    for payload in (b"", b"\xff" * 600, b"\x00", b"\x95\x01\x00\x00\x00\x00"):
        neighbours.receive("b", payload)
    assert neighbours.rejected() == {"b": {"size": 2, "malformed": 1, "version": 1}}


def test_maximum_age_below_one_is_an_error(contract: Contract) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Neighbours(contract, ["b"], 0)


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), max_size=30),
    st.integers(0, 13),
    st.integers(1, 4),
)
def test_any_order_of_delivery_gives_only_fresh_messages(
    contract: Contract, deliveries: list[tuple[int, int]], slot: int, age: int
) -> None:
    neighbours = Neighbours(contract, ["b"], age, clock=Clock())
    newest = (-1, -1)
    accepted = []
    for epoch, sent in deliveries:
        neighbours.receive("b", _payload(contract, sent, sent / 20, epoch=epoch))
        if (epoch, sent) > newest:
            newest = (epoch, sent)
            accepted.append((epoch, sent))
    assert neighbours.received == len(accepted)
    kept = [sent for epoch, sent in accepted[-4:] if epoch == newest[0]]
    usable = [sent for sent in kept if slot - age <= sent < slot]
    field = neighbours.mean_field(slot)
    assert field[-1] == bool(usable)
    if usable:
        assert field[0] == pytest.approx(usable[-1] / 20, abs=0.005)


def test_receiving_while_reading_is_safe(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 50)
    payloads = [_payload(contract, slot, 0.5) for slot in range(2000)]

    def send() -> None:
        for payload in payloads:
            neighbours.receive("b", payload)

    thread = threading.Thread(target=send)
    thread.start()
    while thread.is_alive():
        field = neighbours.mean_field(1000)
        assert field[-1] in (0, 1)
    thread.join()
    neighbours.mean_field(1000)  # reads what there was no time for
    assert neighbours.received + sum(neighbours.rejected()["b"].values()) == 2000
