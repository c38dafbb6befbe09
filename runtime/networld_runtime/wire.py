"""Flat msgpack arrays with tight limits: what all payloads between cells and radios are made of."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import numpy as np
import numpy.typing as npt

from networld_runtime.contract import Contract, FloatArray
from networld_runtime.errors import MessageError

LARGEST_SLOT = 2**32 - 1
LARGEST_ARRAY = 16
TAG_BYTES = 4


def contract_tag(contract: Contract) -> bytes:
    """Return the four bytes that stand for `contract` in a message."""
    return contract.digest()[:TAG_BYTES]


def pack_array(*fields: float | bytes | None) -> bytes:
    """Return a msgpack array of integers, floats, bytes and nil."""
    return bytes(msgpack.packb(fields))


def unpack_array(payload: bytes, largest_bytes: int) -> list[Any]:
    """Unpack a short flat msgpack array of numbers, nil and bytes, within tight limits.

    Raises:
        MessageError: With reason `size` or `malformed`.
    """
    if not 0 < len(payload) <= largest_bytes:
        raise MessageError("size", f"{len(payload)} bytes, at most {largest_bytes}")
    try:
        fields = msgpack.unpackb(
            payload,
            max_array_len=LARGEST_ARRAY,
            max_map_len=0,
            max_str_len=0,
            max_bin_len=largest_bytes,
            max_ext_len=0,
        )
    except Exception as error:  # msgpack raises several kinds; all mean the same to us
        raise MessageError("malformed", type(error).__name__) from error
    if not isinstance(fields, list) or not fields:
        raise MessageError("malformed", "not an array with at least one entry")
    return fields


def unpack_message(
    payload: bytes, largest_bytes: int, version: int, contract: Contract, count: int
) -> list[Any]:
    """Unpack an array of `count` entries that begins with version and contract; return the others.

    Raises:
        MessageError: With reason `size`, `malformed`, `version` or `contract`.
    """
    found, *fields = unpack_array(payload, largest_bytes)
    check_version(found, version)
    if len(fields) != count - 1:
        raise MessageError("malformed", f"{len(fields) + 1} fields, expected {count}")
    tag, *rest = fields
    check_tag(tag, contract)
    return rest


def read_array(
    what: str, raw: object, kind: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return the array that bytes hold, in native byte order.

    Raises:
        MessageError: With reason `malformed`.
    """
    expected = kind.itemsize * math.prod(shape)
    if not isinstance(raw, bytes) or len(raw) != expected:
        raise MessageError("malformed", f"{what}: not {expected} bytes")
    return np.frombuffer(raw, dtype=kind).reshape(shape).astype(kind.newbyteorder("="))


def check_numbers(what: str, values: FloatArray, lowest: float, largest: float) -> None:
    """Check that all numbers of an array are finite and from `lowest` to `largest`.

    Raises:
        MessageError: With reason `not_finite` or `range`.
    """
    if not np.isfinite(values).all():
        raise MessageError("not_finite", what)
    if ((values < lowest) | (values > largest)).any():
        raise MessageError("range", f"{what}: expected {lowest:g} to {largest:g}")


def check_version(version: object, expected: int) -> None:
    """Check the first entry of a payload.

    Raises:
        MessageError: With reason `version`.
    """
    if type(version) is not int or version != expected:
        raise MessageError("version", f"expected {expected}, found {str(version)[:32]}")


def check_tag(tag: object, contract: Contract) -> None:
    """Check that a payload was made for `contract`.

    Raises:
        MessageError: With reason `malformed` or `contract`.
    """
    if not isinstance(tag, bytes) or len(tag) != TAG_BYTES:
        raise MessageError("malformed", f"contract is not {TAG_BYTES} bytes")
    if tag != contract_tag(contract):
        raise MessageError("contract", f"{tag.hex()}, ours is {contract_tag(contract).hex()}")


def check_integer(name: str, value: object, largest: int) -> None:
    """Check that `value` is an integer from 0 to `largest`.

    Raises:
        MessageError: With reason `malformed` or `range`.
    """
    if type(value) is not int:  # bool is an int to isinstance
        raise MessageError("malformed", f"{name} is not an integer")
    if not 0 <= value <= largest:
        raise MessageError("range", f"{name} = {value}, at most {largest}")
