"""The header of a message as those see it who know no contract and no key."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime.contract import Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.authentication import LARGEST_TAGS
from networld_runtime.mesh.message import BITS, MeanFieldMessage, encode
from networld_runtime.mesh.peek import MessageHeader, peek
from networld_runtime.wire import contract_tag

REASONS = {"size", "malformed", "version", "range"}


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("tags", [None, 0, 1, 6, LARGEST_TAGS])
def test_the_header_of_what_is_encoded(contract: Contract, bits: int, tags: int | None) -> None:
    values = np.linspace(-1, 1, contract.message_size, dtype=np.float32)
    payload = encode(MeanFieldMessage(1_790_000_000, 77, values, 3.0), contract, bits)
    if tags is not None:
        payload = bytes([tags]) + b"\x95\x02\xc4\x04" * tags + payload
    assert peek(payload) == MessageHeader(contract_tag(contract), 1_790_000_000, 77, tags)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "size"),
        (bytes([3, 0, 0, 0]), "size"),  # tags and nothing after them
        (b"\x95" * 600, "size"),
        (b"\x11" + bytes(200), "malformed"),
        (msgpack.packb([1, b"abcd", 1, 2, b""]), "version"),
        (msgpack.packb([True, b"abcd", 1, 2, b""]), "version"),
        (msgpack.packb([2, b"abcd", 1, 2]), "malformed"),
        (msgpack.packb([2, b"abc", 1, 2, b""]), "malformed"),
        (msgpack.packb([2, b"abcd", 1.0, 2, b""]), "malformed"),
        (msgpack.packb([2, b"abcd", 1, 2**32, b""]), "range"),
        (msgpack.packb([2, b"abcd", -1, 2, b""]), "range"),
        (msgpack.packb([2, b"abcd", 1, 2, None]), "malformed"),
    ],
)
def test_what_is_no_message_has_a_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        peek(payload)
    assert caught.value.reason == reason


@given(st.binary(max_size=700))
def test_random_bytes_raise_nothing_else(payload: bytes) -> None:
    reason = None
    try:
        header = peek(payload)
    except MessageError as error:
        reason = error.reason
    assert reason in REASONS if reason else len(header.contract) == 4
