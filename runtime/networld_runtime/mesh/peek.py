"""The beginning of a message, for those who look on and know no contract."""

from __future__ import annotations

from dataclasses import dataclass

from networld_runtime.errors import MessageError
from networld_runtime.mesh.authentication import LARGEST_TAGS
from networld_runtime.mesh.authentication import TAG_BYTES as SEAL_TAG_BYTES
from networld_runtime.mesh.message import LARGEST_EPOCH, LARGEST_PAYLOAD_BYTES, VERSION
from networld_runtime.wire import (
    LARGEST_SLOT,
    TAG_BYTES,
    check_integer,
    check_version,
    unpack_array,
)

_FIELDS = 5


@dataclass(frozen=True)
class MessageHeader:
    """What can be read of a message without its contract and without a key.

    Attributes:
        contract: First bytes of the sender's contract.
        epoch: Seconds; larger than any earlier epoch of the same sender.
        slot: Running slot number in which it was sent.
        tags: Authentication tags before it; None if it is not sealed. They are not checked.
    """

    contract: bytes
    epoch: int
    slot: int
    tags: int | None


def peek(payload: bytes) -> MessageHeader:
    """Read the header of a payload from the network, sealed or not; nothing about it is trusted.

    Raises:
        MessageError: With reason `size`, `malformed`, `version` or `range`.
    """
    tags = None
    begin = 0
    if payload and payload[0] <= LARGEST_TAGS:  # a msgpack array begins with a larger byte
        tags = payload[0]
        begin = 1 + tags * SEAL_TAG_BYTES
    fields = unpack_array(payload[begin:], LARGEST_PAYLOAD_BYTES)
    check_version(fields[0], VERSION)
    if len(fields) != _FIELDS:
        raise MessageError("malformed", f"{len(fields)} fields, expected {_FIELDS}")
    _, contract, epoch, slot, body = fields
    if not isinstance(contract, bytes) or len(contract) != TAG_BYTES:
        raise MessageError("malformed", f"contract is not {TAG_BYTES} bytes")
    check_integer("epoch", epoch, LARGEST_EPOCH)
    check_integer("slot", slot, LARGEST_SLOT)
    if not isinstance(body, bytes):
        raise MessageError("malformed", "body is not bytes")
    return MessageHeader(contract, epoch, slot, tags)
