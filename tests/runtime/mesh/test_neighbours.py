"""Neighbours: the right slot, the right age, no replays, and every rejection counted."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.contract import Contract
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.neighbours import (
    BURST_MESSAGES,
    FLOOD_FACTOR,
    REMEMBERED,
    Neighbours,
)
from networld_runtime.mesh.sender import Liveness

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


def test_words_of_the_boot_before_count_no_more(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 3)
    neighbours.receive("b", _payload(contract, 4, 1.0))
    neighbours.receive("b", _payload(contract, 5, 0.5, epoch=EPOCH + 1))
    assert neighbours.mean_field(5)[-1] == 0  # the old one is of another count of slots
    assert neighbours.mean_field(6)[0] == pytest.approx(0.5, abs=0.01)


def test_weights_count_and_none_is_not_heard(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b", "c", "d"], 2, weights={"b": 3, "d": 0, "x": 7})
    for name, value in (("b", 1.0), ("c", 0.0), ("d", -1.0)):
        neighbours.receive(name, _payload(contract, 4, value))
    field = neighbours.mean_field(5)
    np.testing.assert_allclose(field[:-1], 0.75)
    assert field[-1] == pytest.approx(2 / 3)
    assert neighbours.missing == ("d",)
    neighbours.weigh({"b": 0, "c": 0, "d": 0}, 1.0)
    assert not neighbours.mean_field(5).any()


def test_older_messages_count_less_by_each_slot(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b", "c"], 3, age_weight=0.5)
    neighbours.receive("b", _payload(contract, 6, 1.0))
    neighbours.receive("c", _payload(contract, 4, 0.0))
    field = neighbours.mean_field(7)  # ages of 1 and 3 slots: 1 and a quarter
    np.testing.assert_allclose(field[:-1], 1 / 1.25, atol=1e-6)
    assert field[-1] == 1
    neighbours.receive("b", _payload(contract, 7, 1.0, epoch=EPOCH + 1))
    neighbours.weigh({}, 0.01)
    assert neighbours.mean_field(7)[0] == 0  # alone, an old one is all there is
    assert neighbours.mean_field(7)[-1] == 0.5


def test_smallest_weights_of_the_oldest_messages_are_still_weights(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 100, 3600.0, weights={"b": 1e-9}, age_weight=0.01)
    neighbours.receive("b", _payload(contract, 0, 1.0))
    assert (neighbours.mean_field(100) == 1).all()


@pytest.mark.parametrize(("weights", "age_weight"), [({}, 0), ({}, 1.1), ({"b": -1}, 1)])
def test_weights_out_of_range_are_errors(
    contract: Contract, weights: dict[str, float], age_weight: float
) -> None:
    with pytest.raises(ValueError, match="out of range"):
        Neighbours(contract, ["b"], 1, weights=weights, age_weight=age_weight)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=16, max_size=16), max_size=9))
def test_without_weights_the_mean_is_the_plain_one_to_the_bit(
    contract: Contract, told: list[list[float]]
) -> None:
    names = [f"n{index}" for index in range(len(told) + 1)]
    neighbours = Neighbours(contract, names, 3)
    for index, (name, values) in enumerate(zip(names, told, strict=False)):
        message = MeanFieldMessage(EPOCH, 9 - index % 3, np.array(values, dtype=np.float32))
        neighbours.receive(name, encode(message, contract))
    expected = np.zeros(17, dtype=np.float32)
    if told:
        steps = np.rint(np.array(told, dtype=np.float32) * 127).astype(np.float32)
        expected[:-1] = np.mean(list(steps / np.float32(127)), axis=0)
        expected[-1] = len(told) / len(names)
    assert neighbours.mean_field(10).tobytes() == expected.tobytes()


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_order_of_arrival_does_not_matter_where_all_slots_are_past(
    contract: Contract, data: st.DataObject
) -> None:
    """The newest of each counts, however a network mixed up and repeated what was sent."""
    sent = data.draw(
        st.lists(
            st.tuples(st.sampled_from("bcd"), st.integers(0, 2), st.integers(0, 9)), max_size=12
        )
    )
    fields = set()
    for order in (sent, sorted(sent), data.draw(st.permutations(sent + sent))):
        neighbours = Neighbours(contract, ["b", "c", "d"], 4, clock=Clock(), age_weight=0.7)
        for name, epoch, slot in order:
            neighbours.receive(
                name, _payload(contract, slot, (slot + 10 * epoch) / 40, epoch=epoch)
            )
        fields.add(neighbours.mean_field(10).tobytes())
    assert len(fields) == 1


def test_neighbours_change_and_what_is_known_of_those_who_stay_is_kept(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b", "c"], 3)
    for name in ("b", "c"):
        neighbours.receive(name, _payload(contract, 4, 1.0))
    neighbours.mean_field(5)
    neighbours.change(["c", "d"], listening=["e"])
    assert (neighbours.names, neighbours.missing) == (("c", "d"), ("d",))
    field = neighbours.mean_field(5)
    assert (field[0], field[-1]) == (1, 0.5)
    neighbours.receive("e", _payload(contract, 4, -1.0))  # read, but no neighbour
    neighbours.receive("b", _payload(contract, 5, -1.0))  # no longer read
    assert neighbours.mean_field(6)[0] == 1
    arrivals = neighbours.arrivals_s()
    assert arrivals.keys() == {"c", "d", "e"}
    assert arrivals["d"] is None
    assert arrivals["e"] is not None
    neighbours.change(["b"])
    neighbours.receive("b", _payload(contract, 4))  # one that left and came back: still a replay
    assert neighbours.rejected()["b"] == {"stale": 1}
    assert neighbours.received == 3


def test_cells_that_came_and_went_are_forgotten_in_the_end(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 3)
    for index in range(3 * REMEMBERED):
        neighbours.change([f"x{index}"])
    assert len(neighbours.rejected()) == REMEMBERED + 1


def test_a_babbling_neighbour_is_not_read_but_its_newest_message_is(contract: Contract) -> None:
    """A thousand messages a second in slots of 100 ms: few are read, and each slot finds the newest."""
    clock = Clock()
    neighbours = Neighbours(contract, ["b", "c"], 2, slot_s=0.1, clock=clock)
    for count in range(5000):
        clock.now_s = count / 1000
        slot = count // 100
        neighbours.receive("b", _payload(contract, slot, slot / 50))
        if count % 100 == 0:  # the slot begins
            neighbours.receive("c", _payload(contract, slot, 0.0))
            field = neighbours.mean_field(slot)
            if slot > 1:
                assert neighbours.missing == ()
                assert field[0] * 2 == pytest.approx((slot - 1) / 50, abs=0.01)
    neighbours.mean_field(50)
    rejected = neighbours.rejected()
    assert rejected["c"] == {}
    assert neighbours.received == 100
    assert neighbours.received + rejected["b"]["flood"] + rejected["b"]["stale"] == 5050
    assert rejected["b"]["stale"] <= BURST_MESSAGES + 50 * (2 * FLOOD_FACTOR + 1)
    assert neighbours.liveness()["b"].valid_share == pytest.approx(0.01, abs=0.001)


def test_good_message_among_garbage_is_found_if_it_is_the_newest(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 2, clock=Clock())
    for slot in range(1, 20):
        for _ in range(3 * BURST_MESSAGES):
            neighbours.receive("b", b"\x00" * 40)
        neighbours.receive("b", _payload(contract, slot - 1, 1.0))
        assert neighbours.mean_field(slot)[0] == 1


def test_slots_faster_than_the_clock_are_no_flood(contract: Contract) -> None:
    """As in a simulation, where a cell goes through many slots in the time of one."""
    neighbours = Neighbours(contract, ["b"], 1, clock=Clock())
    for slot in range(1, 500):
        neighbours.receive("b", _payload(contract, slot - 1))
        neighbours.receive("b", _payload(contract, slot))  # the neighbour is ahead
        assert neighbours.mean_field(slot)[-1] == 1
    assert "flood" not in neighbours.rejected()["b"]


def test_what_is_unread_when_the_slots_begin_again_is_dropped(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 2, clock=Clock())
    for slot in range(BURST_MESSAGES + 1):
        neighbours.receive("b", _payload(contract, slot))
    neighbours.forget()
    assert neighbours.rejected() == {"b": {"flood": 1}}
    assert neighbours.mean_field(BURST_MESSAGES + 1)[-1] == 0


def test_liveness_tells_age_rate_and_share(contract: Contract) -> None:
    clock = Clock()
    neighbours = Neighbours(contract, ["b", "c"], 2, slot_s=0.1, clock=clock)
    assert neighbours.liveness()["b"] == Liveness(False, None, None, None)
    for slot in range(40):
        clock.now_s = slot / 10
        neighbours.receive("b", _payload(contract, slot))
        if slot % 2:
            neighbours.receive("b", b"nonsense")
    found = neighbours.liveness()
    assert found["c"] == Liveness(False, None, None, None)
    assert found["b"].alive
    assert found["b"].rate_per_s == pytest.approx(10, rel=0.05)
    assert found["b"].valid_share == pytest.approx(2 / 3, abs=0.01)
    clock.now_s += 0.31
    assert neighbours.liveness()["b"].age_s == pytest.approx(0.31)
    assert not neighbours.liveness()["b"].alive


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


def test_who_left_long_ago_cannot_be_replayed(contract: Contract) -> None:
    neighbours = Neighbours(contract, ["b"], 3)
    neighbours.receive("b", _payload(contract, 4, 1.0))
    for turn in range(REMEMBERED // 64 + 2):
        neighbours.change([f"other-{turn}-{index}" for index in range(64)])
    neighbours.change(["b"])
    neighbours.receive("b", _payload(contract, 4, 1.0))
    assert neighbours.rejected()["b"] == {"stale": 1}
    assert not neighbours.mean_field(5).any()
