"""Proof of who sent a payload: what a cell puts around its own, and takes off and checks of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from networld_runtime.config import Config
from networld_runtime.errors import ConfigError

LARGEST_TAGS = 16
"""Receivers that a message can be sealed for."""
TAG_BYTES = 4


class Seal(Protocol):
    """Proves to others who sent a payload, and checks their proofs.

    Attributes:
        keys: Public keys of the cells whose proofs are checked, by name; none: nothing is checked.
    """

    keys: Mapping[str, bytes]

    def close(self, payload: bytes, receivers: Sequence[str]) -> bytes:
        """Return a message of this cell as it is published."""
        ...

    def open(self, sender: str, payload: bytes) -> bytes:
        """Return the message in what arrived on the topic of `sender`.

        Raises:
            MessageError: With reason `size`, `malformed`, `unsigned`, `forged`, `unknown_sender` or
                `too_many`.
        """
        ...

    def sign_log(self, payload: bytes) -> bytes:
        """Return a log of this cell as it is published."""
        ...

    def open_log(self, sender: str, payload: bytes) -> bytes:
        """Return the log in what arrived on the topic of `sender`.

        Raises:
            MessageError: With reason `size`, `unsigned`, `forged` or `unknown_sender`.
        """
        ...

    def sign_birth(self, payload: bytes) -> bytes:
        """Return a birth of this cell, a JSON object, as it is published."""
        ...

    def open_birth(self, sender: str, payload: bytes) -> bytes:
        """Return the birth in what arrived on the topic of `sender`, without its signature.

        Raises:
            MessageError: With reason `size`, `malformed`, `unsigned`, `forged` or `unknown_sender`.
        """
        ...


class NoSeal:
    """`Seal` of a site without keys: payloads as they are, and whoever may publish is believed."""

    keys: Mapping[str, bytes] = {}

    def close(self, payload: bytes, receivers: Sequence[str]) -> bytes:
        """Return the message as it is."""
        del receivers
        return payload

    def open(self, sender: str, payload: bytes) -> bytes:
        """Return the payload as it is."""
        del sender
        return payload

    def sign_log(self, payload: bytes) -> bytes:
        """Return the log as it is."""
        return payload

    def open_log(self, sender: str, payload: bytes) -> bytes:
        """Return the payload as it is."""
        return self.open(sender, payload)

    def open_birth(self, sender: str, payload: bytes) -> bytes:
        """Return the payload as it is."""
        return self.open(sender, payload)

    def sign_birth(self, payload: bytes) -> bytes:
        """Return the birth as it is."""
        return payload


def make_seal(config: Config) -> Seal:
    """Return the seal that a configuration asks for.

    Raises:
        ConfigError: A key is missing, is none, or others may read the private one; or there are more
            receivers than tags.
    """
    authentication, cell = config.authentication, config.cell
    if authentication.key is None or authentication.cells is None:
        return NoSeal()
    receivers = cell.neighbours if authentication.receivers is None else authentication.receivers
    if len(receivers) > LARGEST_TAGS:
        raise ConfigError(
            str(config.path),
            f"{len(receivers)} cells use the messages of this one, at most {LARGEST_TAGS} can with "
            "authentication; name them in authentication.receivers",
        )
    # The library of the keys is loaded where there are keys.
    from networld_runtime.mesh.identity import read_identity  # noqa: PLC0415
    from networld_runtime.mesh.identity_seal import IdentitySeal  # noqa: PLC0415

    wanted = dict.fromkeys([*cell.neighbours, *receivers])
    identity = read_identity(cell.name, authentication.key, authentication.cells, wanted)
    return IdentitySeal(cell.site, identity)
