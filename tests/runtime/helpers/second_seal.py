"""Seals of messages, written a second time from docs/protocol.md alone: see second_decoder.py."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from second_decoder import reject

MAX_SEALED_BYTES, MAX_TAGS, TAG_BYTES = 577, 16, 4
PRIME = 2**255 - 19


def x25519(scalar: bytes, point: bytes) -> bytes:
    """X25519 of RFC 7748, which clamps the scalar itself."""
    k = (int.from_bytes(scalar, "little") & ~7 & (2**254 - 1)) | 2**254
    u = int.from_bytes(point, "little") % 2**255
    x2, z2, x3, z3, swapped = 1, 0, u, 1, 0
    for bit in ((k >> t) & 1 for t in range(254, -1, -1)):
        if bit ^ swapped:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swapped = bit
        plus, minus = (x2 + z2) % PRIME, (x2 - z2) % PRIME
        square, other = plus * plus, minus * minus
        da, cb = (x3 - z3) * plus, (x3 + z3) * minus
        x3, z3 = (da + cb) ** 2 % PRIME, u * (da - cb) ** 2 % PRIME
        x2, difference = square * other % PRIME, square - other
        z2 = difference * (square + 121665 * difference) % PRIME
    if swapped:
        x2, z2 = x3, z3
    return (x2 * pow(z2, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


def montgomery_public(public: bytes) -> bytes:
    """The Montgomery form of an Ed25519 public key: u = (1 + y) / (1 - y)."""
    y = int.from_bytes(public, "little") % 2**255
    return ((1 + y) * pow(1 - y, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


def montgomery_private(private: bytes) -> bytes:
    """The Montgomery form of an Ed25519 private key: the first half of its SHA-512 (RFC 8032)."""
    return hashlib.sha512(private).digest()[:32]


def pair_secret(private: bytes, own_public: bytes, other_public: bytes) -> bytes:
    """The secret of two cells, the same from both sides."""
    shared = x25519(montgomery_private(private), montgomery_public(other_public))
    keys = b"".join(sorted([own_public, other_public]))
    return hashlib.blake2b(shared + keys, digest_size=32, person=b"networld-pair").digest()


def seal_tag(secret: bytes, topic: str, receiver: str, message: bytes) -> bytes:
    """The tag of a message for one receiver."""
    said = topic.encode() + b"\0" + receiver.encode() + b"\0" + message
    return hashlib.blake2b(
        said, digest_size=TAG_BYTES, key=secret, person=b"networld-message"
    ).digest()


def split_sealed(payload: bytes) -> tuple[list[bytes], bytes]:
    """Tags and message of a sealed payload."""
    if len(payload) > MAX_SEALED_BYTES:
        reject("size")
    # A message without a seal begins as a short array does: 95, or other lengths in other versions.
    if not payload or payload[0] == 0 or payload[0] >> 4 == 9:
        reject("unsigned")
    end = 1 + TAG_BYTES * payload[0]
    if payload[0] > MAX_TAGS or len(payload) < end:
        reject("malformed")
    return [payload[at : at + TAG_BYTES] for at in range(1, end, TAG_BYTES)], payload[end:]


def open_sealed(payload: bytes, secret: bytes | None, topic: str, receiver: str) -> bytes:
    """The message in a sealed payload; `secret` is None if the sender's public key is not known.

    The page's `too_many` is a limit on how often this may be called, so it is not here.
    """
    tags, message = split_sealed(payload)
    if secret is None:
        reject("unknown_sender")
    expected = seal_tag(secret, topic, receiver, message)
    # All are compared, so that the time does not tell which one fits.
    if sum(hmac.compare_digest(tag, expected) for tag in tags) == 0:
        reject("forged")
    return message


def write_sealed(message: bytes, topic: str, secrets: Mapping[str, bytes]) -> bytes:
    """Seal a message for receivers by name."""
    tags = [seal_tag(secret, topic, receiver, message) for receiver, secret in secrets.items()]
    return bytes([len(tags)]) + b"".join(tags) + message
