"""Observations and actions: exact both ways, checked at both ends, the newest wins."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from networld_runtime import two_hot
from networld_runtime.contract import ActionBins, Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.radio import MqttRadio
from networld_runtime.radio_codec import (
    ActionMessage,
    ObservationMessage,
    decode_action,
    decode_observation,
    encode_action,
    encode_observation,
)

REASONS = {"size", "malformed", "version", "contract", "range", "not_finite"}
PROPERTY = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TOPICS = CellTopics("test", "a")
SHAPE = (2, 1)
COUPLING = np.array([[0.5], [0.0]], dtype=np.float32)


def _observation(slot: int = 3, value: float = 1.5) -> ObservationMessage:
    return ObservationMessage(
        1, slot, np.full(6, value, dtype=np.float32), 2.0, 0.1, coupling=COUPLING
    )


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def radio(bus: MemoryBus, contract: Contract) -> MqttRadio:
    transport = MemoryTransport(bus)
    radio = MqttRadio(transport, TOPICS, contract, SHAPE)
    transport.connect()
    return radio


@PROPERTY
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=6, max_size=6),
    st.none() | st.floats(-1e3, 1e3),
    st.floats(0.001, 3600),
)
def test_observation_round_trip_is_exact(
    contract: Contract,
    episode: int,
    slot: int,
    values: list[float],
    utility: float | None,
    answer_s: float,
) -> None:
    sent = ObservationMessage(episode, slot, np.array(values, dtype=np.float32), utility, answer_s)
    received = decode_observation(encode_observation(sent, contract), contract, SHAPE)
    assert (received.values == sent.values).all()
    assert (received.episode, received.slot) == (episode, slot)
    assert (received.utility, received.answer_s) == (utility, answer_s)


@PROPERTY
@given(st.binary(max_size=120))
def test_random_bytes_only_raise_message_error(contract: Contract, payload: bytes) -> None:
    for read in (partial(decode_observation, coupling_shape=SHAPE), decode_action):
        with pytest.raises(MessageError) as caught:
            read(payload, contract)
        assert caught.value.reason in REASONS


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 70), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutants_are_read_as_valid_or_refused(
    contract: Contract, changes: list[tuple[int, int]]
) -> None:
    payload = bytearray(encode_observation(_observation(), contract))
    for position, value in changes:
        payload[position % len(payload)] = value
    try:
        received = decode_observation(bytes(payload), contract, SHAPE)
    except MessageError:
        return
    known = received.values[~np.isnan(received.values)]
    assert np.abs(known).max(initial=0) <= 1e18


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_a_slot_with_unknown_values_is_a_slot(contract: Contract, value: float) -> None:
    message = _observation()
    values = message.values.copy()
    values[2] = value
    payload = encode_observation(replace(message, values=values), contract)
    received = decode_observation(payload, contract, SHAPE)
    assert np.isnan(received.values).tolist() == [False, False, True, False, False, False]
    assert received.slot == message.slot


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (0, 9, "version"),
        (1, b"abcd", "contract"),
        (2, -1, "range"),
        (3, "x", "malformed"),
        (4, b"\x00" * 20, "malformed"),
        (5, float("nan"), "not_finite"),
        (5, b"1", "malformed"),
        (5, 1e300, "range"),
        (6, 0, "range"),
        (6, -1.0, "range"),
        (6, None, "malformed"),
        (7, b"\x01", "malformed"),  # a mask where the task has none
        (7, b"", "malformed"),
        (8, 0.5, "malformed"),
        (8, b"", "malformed"),
        (8, bytes(4), "malformed"),
        (8, bytes(12), "malformed"),
        (8, np.array([0.5, np.nan], dtype="<f4").tobytes(), "not_finite"),
        (8, np.array([0.5, np.inf], dtype="<f4").tobytes(), "not_finite"),
        (8, np.array([0.5, -0.1], dtype="<f4").tobytes(), "range"),
        (8, np.array([0.5, 2e18], dtype="<f4").tobytes(), "range"),
    ],
)
def test_wrong_observation_is_refused(
    contract: Contract, position: int, value: object, reason: str
) -> None:
    fields = msgpack.unpackb(encode_observation(_observation(), contract))
    fields[position] = value
    with pytest.raises(MessageError) as caught:
        decode_observation(msgpack.packb(fields), contract, SHAPE)
    assert caught.value.reason == reason


@PROPERTY
@given(st.lists(st.booleans(), min_size=3, max_size=3))
def test_mask_round_trip(hybrid: Contract, users: list[bool]) -> None:
    mask = np.array([*users, True])
    sent = replace(_observation(), mask=mask)
    received = decode_observation(encode_observation(sent, hybrid), hybrid, SHAPE)
    assert received.mask is not None
    assert received.mask.dtype == np.bool_
    np.testing.assert_array_equal(received.mask, mask)


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        (None, "malformed"),
        (b"", "malformed"),
        (b"\x01" * 3, "malformed"),
        (b"\x01" * 5, "malformed"),
        (True, "malformed"),
        ([1, 1, 1, 1], "malformed"),
        (b"\x01\x01\x02\x01", "range"),
        (b"\x01\xff\x01\x01", "range"),
        (b"\x00" * 4, "range"),
        (b"\x01\x01\x01\x00", "range"),  # the safe choice is the last one
        (b"\x01" * 500, "size"),
    ],
)
def test_wrong_mask_is_refused(hybrid: Contract, mask: object, reason: str) -> None:
    whole = replace(_observation(), mask=np.ones(4, dtype=np.bool_))
    fields = msgpack.unpackb(encode_observation(whole, hybrid))
    fields[7] = mask
    with pytest.raises(MessageError) as caught:
        decode_observation(msgpack.packb(fields), hybrid, SHAPE)
    assert caught.value.reason == reason


def test_mask_of_another_size_is_not_sent(contract: Contract, hybrid: Contract) -> None:
    with pytest.raises(ValueError, match="mask of 0 choices: expected 4"):
        encode_observation(_observation(), hybrid)
    with pytest.raises(ValueError, match="mask of 4 choices: expected 0"):
        encode_observation(replace(_observation(), mask=np.ones(4, dtype=np.bool_)), contract)


@PROPERTY
@given(st.none() | st.lists(st.floats(0, 2.0**59, width=32), min_size=6, max_size=6))
def test_couplings_round_trip_is_exact(contract: Contract, values: list[float] | None) -> None:
    coupling = None if values is None else np.array(values, dtype=np.float32).reshape(3, 2)
    payload = encode_observation(replace(_observation(), coupling=coupling), contract)
    received = decode_observation(payload, contract, (3, 2)).coupling
    if coupling is None:
        assert received is None
    else:
        np.testing.assert_array_equal(received, coupling)


@pytest.mark.parametrize("rows", [0, 3, 64])
def test_couplings_of_a_cell_that_discovers_its_neighbours_are_ignored(
    contract: Contract, bus: MemoryBus, rows: int
) -> None:
    transport = MemoryTransport(bus)
    radio = MqttRadio(transport, TOPICS, contract, None)
    transport.connect()
    coupling = np.full((rows, 4), np.nan, dtype=np.float32)
    payload = encode_observation(replace(_observation(), coupling=coupling), contract)
    bus.publish(TOPICS.observation, payload, retain=False)
    observation = radio.observe(0)
    assert observation is not None
    assert observation.coupling is None


@pytest.mark.parametrize("power_db", [-30.0, -20.0, -3.25, 0.0, -25.0])
def test_allowed_action_round_trip(contract: Contract, power_db: float) -> None:
    action = np.array([power_db], dtype=np.float32)
    received = decode_action(encode_action(ActionMessage(2, 9, action), contract), contract)
    assert (received.episode, received.slot) == (2, 9)
    np.testing.assert_array_equal(received.action, action)


@PROPERTY
@given(st.integers(0, 3), st.floats(-6, 6, width=32), st.integers(0, 2))
def test_action_of_several_components_round_trip(
    hybrid: Contract, user: int, offset_db: float, mode: int
) -> None:
    action = np.array([user, offset_db, mode], dtype=np.float32)
    payload = encode_action(ActionMessage(2**32 - 1, 2**32 - 1, action), hybrid)
    np.testing.assert_array_equal(decode_action(payload, hybrid).action, action)


BOUNDS = st.floats(-3.4e38, 3.4e38) | st.floats(-100, 100)
SHARES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12)


@PROPERTY
@given(st.lists(BOUNDS, min_size=3, max_size=3), st.booleans(), SHARES)
@example([-1.0, 0.0, 0.1], False, [0, 1])
@example([-0.9, -0.7, 0.1], True, [0, 1])
@example([-0.9, -0.7, 0.1], True, [1, 0])
@example([-0.9, -0.7, 0.1], False, [1, 0])
def test_whatever_bins_decode_to_reaches_the_radio(
    contract: Contract, bounds: list[float], with_off: bool, shares: list[float]
) -> None:
    """Also where a bound is not exact in float32."""
    off, low, high = sorted(bounds)
    assume(np.float32(off) < np.float32(low) < np.float32(high))
    count = max(2, len(shares))
    bins = ActionBins("p", low, high, count, off if with_off else None)
    one = replace(contract, actions=(bins,), safe_action=(low,))
    weights = np.zeros((3, bins.size), dtype=np.float32)
    weights[0, : len(shares)] = shares
    weights[1, 0] = weights[2, -1] = 1  # the edges
    weights[0] /= max(weights[0].sum(), 1e-6)
    alone = [two_hot.decode_bins(row, bins) for row in weights]
    np.testing.assert_array_equal(alone[1:], two_hot.decode_bins(weights, bins)[1:])
    for value in alone:
        action = value[None]
        assert one.allows(action)
        sent = encode_action(ActionMessage(2, 9, action), one)
        np.testing.assert_array_equal(decode_action(sent, one).action, action)


@pytest.mark.parametrize("number", [3.5e38, -3.5e38, 1e300, -1e300])
def test_number_that_float32_does_not_hold_is_refused(contract: Contract, number: float) -> None:
    widest = ActionBins("p", -3.4028234e38, 3.4028234e38, 3)
    whole = replace(contract, actions=(widest,), safe_action=(0.0,))
    fields = msgpack.unpackb(encode_action(ActionMessage(2, 9, np.zeros(1, np.float32)), whole))
    fields[4] = number
    with pytest.raises(MessageError) as caught:
        decode_action(msgpack.packb(fields), whole)
    assert caught.value.reason == "range"


def test_largest_payloads_are_within_their_limits(hybrid: Contract) -> None:
    largest = ObservationMessage(
        2**32 - 1,
        2**32 - 1,
        np.ones(6, dtype=np.float32),
        0.1,
        3600.0,
        np.ones(4, dtype=np.bool_),
        COUPLING,
    )
    payload = encode_observation(largest, hybrid)
    assert len(payload) <= 64 + 4 * 6 + 4 + 4 * 2
    decode_observation(payload, hybrid, SHAPE)
    action = ActionMessage(2**32 - 1, 2**32 - 1, np.array([3, 0.1, 2], dtype=np.float32))
    assert len(encode_action(action, hybrid)) <= 64 + 9 * 3


@pytest.mark.parametrize(
    ("power_db", "reason"),
    [(-30.1, "range"), (1.0, "range"), (float("nan"), "not_finite"), (float("inf"), "not_finite")],
)
def test_action_that_the_contract_does_not_allow_is_refused(
    contract: Contract, power_db: float, reason: str
) -> None:
    message = ActionMessage(2, 9, np.array([power_db], dtype=np.float32))
    with pytest.raises(MessageError) as caught:
        decode_action(encode_action(message, contract), contract)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ([], "malformed"),
        ([3.0, 0.0], "malformed"),
        ([3.0, 0.0, 0.0, 0.0], "malformed"),
        ([[3.0, 0.0, 0.0]], "malformed"),
        ([3.0, [0.0], 0.0], "malformed"),
        ([3.0, None, 0.0], "malformed"),
        ([3.0, b"0", 0.0], "malformed"),
        ([True, 0.0, 0.0], "malformed"),
        ([4.0, 0.0, 0.0], "range"),
        ([-1.0, 0.0, 0.0], "range"),
        ([0.5, 0.0, 0.0], "range"),
        ([3.0, 6.01, 0.0], "range"),
        ([3.0, 1e300, 0.0], "range"),
        ([3.0, 0.0, 2.5], "range"),
        ([3.0, 0.0, float("nan")], "not_finite"),
        ([3.0, float("-inf"), 0.0], "not_finite"),
        ([0.0] * 20, "size"),
        ([3.0, 0.0, b"0" * 100], "size"),
    ],
)
def test_wrong_list_of_numbers_is_refused(
    hybrid: Contract, numbers: list[object], reason: str
) -> None:
    whole = ActionMessage(2, 9, np.array([3.0, 0.0, 0.0], dtype=np.float32))
    head = msgpack.unpackb(encode_action(whole, hybrid))[:4]
    with pytest.raises(MessageError) as caught:
        decode_action(msgpack.packb([*head, *numbers]), hybrid)
    assert caught.value.reason == reason


def test_newest_observation_wins(contract: Contract, radio: MqttRadio) -> None:
    for slot in (3, 4):
        radio.receive(encode_observation(_observation(slot), contract))
    observation = radio.observe(0)
    assert observation is not None
    assert observation.slot == 4
    assert observation.deadline_s == pytest.approx(observation.arrived_s + 0.1)
    assert radio.observe(0) is None
    assert radio.counters == {"received": 2, "overtaken": 1}


def test_repeated_and_wrong_observations_are_counted(contract: Contract, radio: MqttRadio) -> None:
    payload = encode_observation(_observation(), contract)
    for one in (payload, payload, b"", payload[:-1]):
        radio.receive(one)
    assert radio.counters["rejected_repeated"] == 1
    assert radio.counters["rejected_size"] == 1
    assert radio.counters["rejected_malformed"] == 1


def test_value_far_out_of_range_is_counted_and_kept(contract: Contract, radio: MqttRadio) -> None:
    radio.receive(encode_observation(_observation(value=1e6), contract))
    assert radio.counters["clipped"] == 1
    assert radio.observe(0) is not None


def test_observe_wakes_up_when_one_arrives(contract: Contract, radio: MqttRadio) -> None:
    payload = encode_observation(_observation(), contract)
    threading.Timer(0.05, radio.receive, [payload]).start()
    begin = time.monotonic()
    assert radio.observe(5.0) is not None
    assert time.monotonic() - begin < 2
    begin = time.monotonic()
    assert radio.observe(0.05) is None
    assert time.monotonic() - begin < 1


def test_action_goes_out_on_the_action_topic(
    contract: Contract, bus: MemoryBus, radio: MqttRadio
) -> None:
    heard: list[bytes] = []
    other = MemoryTransport(bus)
    other.subscribe({TOPICS.action: heard.append})
    other.connect()
    other.publish(TOPICS.observation, encode_observation(_observation(), contract))
    observation = radio.observe(0)
    assert observation is not None
    radio.act(observation, np.array([-3.0], dtype=np.float32))
    received = decode_action(heard[0], contract)
    assert (received.episode, received.slot, received.action.tolist()) == (1, 3, [-3.0])


def test_mask_reaches_the_loop(hybrid: Contract, bus: MemoryBus) -> None:
    radio = MqttRadio(MemoryTransport(bus), TOPICS, hybrid, SHAPE)
    mask = np.array([False, True, False, True])
    radio.receive(encode_observation(replace(_observation(), mask=mask), hybrid))
    observation = radio.observe(0)
    assert observation is not None
    assert observation.mask is not None
    np.testing.assert_array_equal(observation.mask, mask)


def test_couplings_reach_the_loop(contract: Contract, radio: MqttRadio) -> None:
    radio.receive(encode_observation(_observation(), contract))
    observation = radio.observe(0)
    assert observation is not None
    np.testing.assert_array_equal(observation.coupling, COUPLING)
