"""The mean-field message: what goes in comes out, what is wrong is refused, and it stays small."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.contract import Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.message import MeanFieldMessage, decode, encode, quantise

REASONS = {"size", "malformed", "version", "contract", "range"}
PROPERTY = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EPOCH = 1_790_000_000


def _message(slot: int = 7, utility: float | None = 2.5) -> MeanFieldMessage:
    values = np.linspace(-1, 1, 16, dtype=np.float32)
    return MeanFieldMessage(EPOCH, slot, values, utility)


@PROPERTY
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(-1, 1, width=32), min_size=16, max_size=16),
    st.none() | st.floats(0, 10),
)
def test_round_trip_is_within_half_a_step(
    contract: Contract, epoch: int, slot: int, values: list[float], utility: float | None
) -> None:
    message = MeanFieldMessage(epoch, slot, np.array(values, dtype=np.float32), utility)
    payload = encode(message, contract)
    received = decode(payload, contract)
    assert len(payload) <= 37
    assert (received.epoch, received.slot) == (epoch, slot)
    assert received.values.dtype == np.float32
    assert np.abs(received.values - message.values).max() <= 0.5 / 127 + 1e-6
    if utility is None:
        assert received.utility is None
    else:
        assert received.utility == pytest.approx(utility, abs=10 * 0.5 / 254 + 1e-6)


@PROPERTY
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40), st.none() | st.floats(0, 10))
def test_four_bits_are_half_as_long_and_within_half_a_step(
    contract: Contract, values: list[float], utility: float | None
) -> None:
    small = replace(contract, latent_size=max(len(values), contract.latent_size))
    small = replace(small, message_size=len(values))
    message = MeanFieldMessage(EPOCH, 7, np.array(values, dtype=np.float32), utility)
    payload = encode(message, small, bits=4)
    received = decode(payload, small)
    steps = 7 if len(values) >= 4 else 127
    saved = len(values) // 2 if steps == 7 else 0
    assert len(payload) == len(encode(message, small)) - saved
    assert np.abs(received.values - message.values).max() <= 0.5 / steps + 1e-6
    assert (received.utility is None) == (utility is None)
    again = decode(encode(received, small, bits=4), small)
    assert (again.values == received.values).all()


def test_bytes_of_a_message_of_four_bits_are_fixed(contract: Contract) -> None:
    values = np.array([1, -1, 0, 1 / 7, *[0] * 12], dtype=np.float32)
    payload = encode(MeanFieldMessage(EPOCH, 5, values, 0.0), contract, bits=4)
    tag = contract.digest()[:4].hex()
    assert payload.hex() == f"9502c404{tag}ce6ab13b8005c4097901{'00' * 6}81"


HALF_STEPS = st.integers(-140, 140).map(lambda count: (count + 0.5) / 127)


@PROPERTY
@given(
    st.lists(HALF_STEPS | st.floats(-9, 9, width=32), min_size=16, max_size=16),
    HALF_STEPS.map(lambda share: 5 * share + 5) | st.floats(allow_nan=False),
    st.sampled_from([8, 4]),
)
def test_bytes_are_those_of_the_formula(
    contract: Contract, values: list[float], utility: float, bits: int
) -> None:
    """The quick ways through tables and Python numbers give what NumPy's float32 gives."""

    def counts(numbers: object, steps: int) -> npt.NDArray[np.int8]:
        told = np.clip(np.asarray(numbers, dtype=np.float64), -1, 1).astype(np.float32)
        rounded: npt.NDArray[np.int8] = np.rint(told * np.float32(steps)).astype(np.int8)
        return rounded

    told = np.array(values, dtype=np.float32)
    payload = encode(MeanFieldMessage(EPOCH, 7, told, utility), contract, bits)
    body = msgpack.unpackb(payload)[4]
    with np.errstate(over="ignore"):
        (last,) = counts([2 * utility / 10 - 1], 127)
    if bits == 8:
        expected = counts(told, 127).tobytes()
    else:
        halves = counts(told, 7).view(np.uint8) & 0xF
        expected = bytes(halves[::2] << 4 | halves[1::2])
    assert body == expected + last.tobytes()
    read = decode(payload, contract)
    steps = {8: 127, 4: 7}[bits]
    assert (read.values == counts(told, steps).astype(np.float32) / np.float32(steps)).all()


def test_four_bits_never_mean_minus_eight_nor_a_value_too_many(contract: Contract) -> None:
    odd = replace(contract, message_size=15)
    fields = msgpack.unpackb(encode(_message(), contract))
    tag = odd.digest()[:4]
    for wrong in (b"\x80" + bytes(7), b"\x08" + bytes(7), bytes(7) + b"\x01"):
        with pytest.raises(MessageError) as caught:
            decode(msgpack.packb([fields[0], tag, *fields[2:4], wrong]), odd)
        assert caught.value.reason == "range"
    assert decode(msgpack.packb([fields[0], tag, *fields[2:4], bytes(8)]), odd).values.shape == (
        15,
    )


def test_quantising_twice_changes_nothing(contract: Contract) -> None:
    once = decode(encode(_message(), contract), contract)
    again = decode(encode(once, contract), contract)
    assert (once.values == again.values).all()
    assert once.utility == again.utility


def test_bytes_of_one_message_are_fixed(contract: Contract) -> None:
    payload = encode(_message(slot=70_000, utility=10.0), contract)
    tag = contract.digest()[:4].hex()
    body = quantise(np.linspace(-1, 1, 16)).tobytes().hex()
    assert payload.hex() == f"9502c404{tag}ce6ab13b80ce00011170c411{body}7f"
    assert len(payload) == 37


@PROPERTY
@given(st.binary(max_size=600))
def test_random_bytes_only_raise_message_error(contract: Contract, payload: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        decode(payload, contract)
    assert caught.value.reason in REASONS


@PROPERTY
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), min_size=1, max_size=6))
def test_mutants_are_read_as_valid_or_refused(
    contract: Contract, changes: list[tuple[int, int]]
) -> None:
    payload = bytearray(encode(_message(), contract))
    for position, value in changes:
        payload[position % len(payload)] = value
    try:
        message = decode(bytes(payload), contract)
    except MessageError:
        return
    assert message.values.shape == (16,)
    assert np.abs(message.values).max() <= 1
    assert message.utility is None or 0 <= message.utility <= 10


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (0, 1, "version"),
        (0, True, "version"),
        (0, None, "version"),
        (1, b"abcd", "contract"),
        (1, b"abc", "malformed"),
        (2, -1, "range"),
        (2, 2**32, "range"),
        (2, True, "malformed"),
        (2, 1.0, "malformed"),
        (3, 2**32, "range"),
        (3, None, "malformed"),
        (4, b"\x00" * 15, "range"),
        (4, b"\x00" * 18, "range"),
        (4, b"\x80" + b"\x00" * 16, "range"),
        (4, 5, "malformed"),
    ],
)
def test_wrong_field_is_refused(
    contract: Contract, position: int, value: object, reason: str
) -> None:
    fields = msgpack.unpackb(encode(_message(), contract))
    fields[position] = value
    with pytest.raises(MessageError) as caught:
        decode(msgpack.packb(fields), contract)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "size"),
        (b"\x00" * 513, "size"),
        (b"\x90", "malformed"),
        (b"\x01", "malformed"),
        (b"\xdd\xff\xff\xff\xff", "malformed"),
        (b"\x91" * 400, "malformed"),
        (msgpack.packb({"a": 1}), "malformed"),
        (msgpack.packb([2, "text", 0, 0, b""]), "malformed"),
        (msgpack.packb([2, b"abcd", 0]), "malformed"),
    ],
)
def test_wrong_payload_is_refused(contract: Contract, payload: bytes, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(payload, contract)
    assert caught.value.reason == reason


def test_another_contract_is_told_from_damage(contract: Contract) -> None:
    theirs = replace(contract, discount=0.5)
    with pytest.raises(MessageError) as caught:
        decode(encode(_message(), theirs), contract)
    assert caught.value.reason == "contract"


def test_values_beyond_the_range_are_clipped_and_nan_is_an_error(contract: Contract) -> None:
    wide = MeanFieldMessage(EPOCH, 1, np.full(16, 7, dtype=np.float32), 99.0)
    received = decode(encode(wide, contract), contract)
    assert (received.values == 1).all()
    assert received.utility == 10
    huge = MeanFieldMessage(EPOCH, 1, np.zeros(16, dtype=np.float32), -1e300)
    assert decode(encode(huge, contract), contract).utility == 0
    sick = MeanFieldMessage(EPOCH, 1, np.full(16, np.nan, dtype=np.float32))
    with pytest.raises(ValueError, match="not finite"):
        encode(sick, contract)
