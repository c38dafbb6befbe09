"""`Seal` of a cell that has a key: tags for messages, signatures for logs and births.

A sealed message is

| bytes | meaning |
|---|---|
| 1 | number of tags k, at most 16 |
| 4 k | a tag for each receiver, in any order |
| the others | the message as without a seal |

A tag is BLAKE2b of 4 bytes, keyed with a secret that sender and receiver alone share, over the sender's
topic, the receiver's name and the message. So neither a broker nor another cell, a receiver of the same
message included, can make one. Logs and births are rare, so they carry an Ed25519 signature that all can
check.
"""

from __future__ import annotations

import hashlib
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any

from nacl import bindings

from networld_runtime.episode_log import LARGEST_LOG_BYTES
from networld_runtime.errors import MessageError, SignatureError
from networld_runtime.mesh.authentication import LARGEST_TAGS, TAG_BYTES
from networld_runtime.mesh.birth import LARGEST_BIRTH_BYTES
from networld_runtime.mesh.identity import Identity
from networld_runtime.mesh.message import LARGEST_PAYLOAD_BYTES
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.store.signature import SIGNATURE_BYTES, public_key, sign, verify

LARGEST_SEALED_BYTES = 1 + LARGEST_TAGS * TAG_BYTES + LARGEST_PAYLOAD_BYTES
SIGNATURE_FIELD, BIRTH_END = b',"signature":"', b'"}'
"""What stands around the signature at the end of a birth."""
SIGNED_MORE_BYTES = len(SIGNATURE_FIELD) + 88 + len(BIRTH_END)
"""How a birth ends that is signed, in place of its last brace; 64 bytes are 88 characters."""
LARGEST_SIGNED_BIRTH_BYTES = LARGEST_BIRTH_BYTES + SIGNED_MORE_BYTES - 1
PAIR_DOMAIN, TAG_DOMAIN = b"networld-pair", b"networld-message"
BEARABLE_FORGERIES = 64
"""Forged messages of one sender that are looked at in a row; one a second after that.

A tag of 32 bits is guessed in the end by who may try without limit; see `Forgeries`.
"""


class IdentitySeal:
    """`Seal` of a cell that has a key and knows the public keys of the others.

    Args:
        site: Name of the site.
        identity: The keys.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self, site: str, identity: Identity, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.keys = identity.cells
        self._name = identity.name
        self._topics = CellTopics(site, identity.name)
        self._senders = {name: CellTopics(site, name) for name in identity.cells}
        self._private_key = identity.private_key
        secrets = _pair_secrets(identity)
        # The secret, the topic and the name are hashed once; each message goes on with a copy.
        self._closing = {
            name: _tag_hash(secret, self._topics.message, name) for name, secret in secrets.items()
        }
        self._opening = {
            name: _tag_hash(secret, self._senders[name].message, identity.name)
            for name, secret in secrets.items()
        }
        self._forgeries = {name: Forgeries(clock) for name in secrets}

    def close(self, payload: bytes, receivers: Sequence[str]) -> bytes:
        """Put a tag before the message for each of the first `LARGEST_TAGS` receivers that has a key."""
        tags = []
        for name in receivers[:LARGEST_TAGS]:
            if name in self._closing:
                tag = self._closing[name].copy()
                tag.update(payload)
                tags.append(tag.digest())
        return b"".join((bytes((len(tags),)), *tags, payload))

    def open(self, sender: str, payload: bytes) -> bytes:
        """Take the tags off; one of them must be what `sender` would give this cell."""
        opening = self._opening.get(sender)
        if opening is None:
            raise MessageError("unknown_sender", f"no public key of {sender}")
        tags, message = _split(payload)
        forgeries = self._forgeries[sender]
        if not forgeries.bearable():
            raise MessageError("too_many", f"too many forged messages of {sender}")
        expected = opening.copy()
        expected.update(message)
        tag, fits = expected.digest(), False
        for start in range(0, len(tags), TAG_BYTES):  # to the end, also when one fits
            fits |= compare_digest(tag, tags[start : start + TAG_BYTES])
        if not fits:
            forgeries.add()
            raise MessageError("forged", f"none of the tags is one of {sender} for {self._name}")
        return message

    def sign_log(self, payload: bytes) -> bytes:
        """Put a signature before the log."""
        return sign(_signed(self._topics.log, payload), self._private_key) + payload

    def open_log(self, sender: str, payload: bytes) -> bytes:
        """Take the signature off; it must be the sender's."""
        if len(payload) > SIGNATURE_BYTES + LARGEST_LOG_BYTES:
            raise MessageError(
                "size", f"{len(payload)} bytes, at most {LARGEST_LOG_BYTES} of a log"
            )
        signature, log = payload[:SIGNATURE_BYTES], payload[SIGNATURE_BYTES:]
        self._verify(sender, _signed(self._topics_of(sender).log, log), signature)
        return log

    def sign_birth(self, payload: bytes) -> bytes:
        """Add a last field `signature`, over the bytes of the birth without it."""
        signature = b64encode(sign(_signed(self._topics.birth, payload), self._private_key))
        return b"".join((payload[:-1], SIGNATURE_FIELD, signature, BIRTH_END))

    def open_birth(self, sender: str, payload: bytes) -> bytes:
        """Take the field `signature` off; it must be the sender's."""
        if len(payload) > LARGEST_SIGNED_BIRTH_BYTES:
            raise MessageError(
                "size", f"{len(payload)} bytes, at most {LARGEST_SIGNED_BIRTH_BYTES}"
            )
        birth, more = payload[:-SIGNED_MORE_BYTES] + b"}", payload[-SIGNED_MORE_BYTES:]
        signature = b""
        if more.startswith(SIGNATURE_FIELD) and more.endswith(BIRTH_END):
            signature = _read_signature(more[len(SIGNATURE_FIELD) : -len(BIRTH_END)])
        self._verify(sender, _signed(self._topics_of(sender).birth, birth), signature)
        return birth

    def _topics_of(self, sender: str) -> CellTopics:
        if sender not in self._senders:
            raise MessageError("unknown_sender", f"no public key of {sender}")
        return self._senders[sender]

    def _verify(self, sender: str, signed: bytes, signature: bytes) -> None:
        if len(signature) != SIGNATURE_BYTES:
            raise MessageError("unsigned", f"no signature of {SIGNATURE_BYTES} bytes")
        try:
            verify(signed, signature, {sender: self.keys[sender]}, "payload")
        except SignatureError as error:
            raise MessageError("forged", f"not signed by {sender}") from error


@dataclass
class Forgeries:
    """How many more forged messages of a sender are borne.

    A guess fits with a chance of 16 in 2^32. Looking at all of 1,000 guesses a second would let one through
    in three days; at one a second it takes eight years. Who can publish so much under a cell's name can
    silence it anyway, and a cell that is missing does no harm.

    Attributes:
        clock: Monotonic clock in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _count: float = field(default=0.0, init=False)
    _counted_s: float = field(default=0.0, init=False)

    def bearable(self) -> bool:
        """Return whether another message may be looked at."""
        return self._count - (self.clock() - self._counted_s) < BEARABLE_FORGERIES

    def add(self) -> None:
        """Count a forged message; one is forgiven every second."""
        now_s = self.clock()
        self._count = max(self._count - (now_s - self._counted_s), 0.0) + 1
        self._counted_s = now_s


def pair_secret(private_key: bytes, other: bytes) -> bytes:
    """Return the secret of 32 bytes that a private and another's public Ed25519 key share.

    Both sides get the same: X25519 of the keys' Montgomery forms, hashed with both public keys.
    """
    own = public_key(private_key)
    shared = bindings.crypto_scalarmult(
        bindings.crypto_sign_ed25519_sk_to_curve25519(private_key + own),
        bindings.crypto_sign_ed25519_pk_to_curve25519(other),
    )
    both = b"".join(sorted((own, other)))
    return hashlib.blake2b(shared + both, digest_size=32, person=PAIR_DOMAIN).digest()


def _pair_secrets(identity: Identity) -> dict[str, bytes]:
    return {name: pair_secret(identity.private_key, key) for name, key in identity.cells.items()}


def _tag_hash(secret: bytes, topic: str, receiver: str) -> Any:
    """Return the hash of a tag up to the message; neither a topic nor a name holds a zero byte."""
    beginning = f"{topic}\0{receiver}\0".encode()
    return hashlib.blake2b(beginning, key=secret, digest_size=TAG_BYTES, person=TAG_DOMAIN)


def _split(payload: bytes) -> tuple[bytes, bytes]:
    """Return the tags and the message of a sealed message."""
    if len(payload) > LARGEST_SEALED_BYTES:
        raise MessageError("size", f"{len(payload)} bytes, at most {LARGEST_SEALED_BYTES}")
    count = payload[0] if payload else 0
    if (
        count == 0 or count >> 4 == 0x9
    ):  # as every array of msgpack begins, so a message without a seal
        raise MessageError("unsigned", "no tags")
    end = 1 + count * TAG_BYTES
    if count > LARGEST_TAGS or len(payload) < end:
        raise MessageError("malformed", f"{count} tags in {len(payload)} bytes")
    return payload[1:end], payload[end:]


def _signed(topic: str, payload: bytes) -> bytes:
    """Return what a signature of a payload is over."""
    return topic.encode() + b"\0" + payload


def _read_signature(text: bytes) -> bytes:
    """Return the bytes of a signature in base64; none if it is not exactly that."""
    try:
        raw = b64decode(text, validate=True)
    except ValueError:  # binascii.Error among them
        return b""
    return raw if b64encode(raw) == text else b""
