"""The log of an episode: what a cell saw, as its neighbours learn from it after the episodes.

One msgpack array, at most 256 KiB. Of a contract with D features and A entries of the action mask, Q
couplings, and T slots of a cell with n neighbours:

| entry | type and limits | meaning |
|---|---|---|
| version | 2 | of this layout |
| contract | 4 bytes | first bytes of `Contract.digest` |
| epoch | integer, 0 to 2^32 - 1 | that of the sender's messages; logs of an older one mean nothing now |
| episode | integer, 0 to 2^32 - 1 | number of the episode |
| neighbours | bytes | names of the sender's neighbours, with commas between them; at most 6, each another |
| slots | 4 T bytes | little-endian uint32, running slot numbers of the site, rising; T is 1 or more |
| observations | 4 T D bytes | little-endian float32 in native units, finite, at most 1e18 in size |
| couplings | 4 T n Q bytes | little-endian float32, from 0 to 1e18, in the order of the neighbours |
| masks | T A bytes | 1 for a choice that was possible, else 0; at least one was |
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from networld_runtime.bundle import NEIGHBOURS
from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.errors import MessageError
from networld_runtime.mesh.message import LARGEST_EPOCH
from networld_runtime.mesh.topics import NAME_PATTERN
from networld_runtime.radio_codec import LARGEST_EPISODE, LARGEST_VALUE
from networld_runtime.wire import (
    check_integer,
    check_numbers,
    contract_tag,
    pack_array,
    read_array,
    unpack_message,
)

VERSION = 2
LARGEST_LOG_BYTES = 256 * 1024
LARGEST_LOGS = 16
"""Episodes of a cell that are sent and kept at most."""
HEADER_BYTES = 512
_FIELDS = 9
_SLOT = np.dtype("<u4")
_NUMBER = np.dtype("<f4")


@dataclass(frozen=True)
class EpisodeLog:
    """What a cell saw in `T` slots of an episode; some slots may be missing between them.

    Attributes:
        epoch: That of the sender's messages.
        episode: Number of the episode.
        neighbours: Names of the cell's neighbours `n`.
        slots: Running slot numbers of the site, rising `[T]`.
        observation: Native units `[T, D]`.
        coupling: How strongly each neighbour acted on the cell, linear `[T, n, Q]`.
        mask: Choices that were possible `[T, mask_size]`.
    """

    epoch: int
    episode: int
    neighbours: tuple[str, ...]
    slots: npt.NDArray[np.int64]
    observation: FloatArray
    coupling: FloatArray
    mask: BoolArray

    def newest(self, count: int) -> EpisodeLog:
        """Return the log of the newest slots, `count` of them at most."""
        return replace(
            self,
            slots=self.slots[-count:],
            observation=self.observation[-count:],
            coupling=self.coupling[-count:],
            mask=self.mask[-count:],
        )


def encode_log(log: EpisodeLog, contract: Contract) -> bytes:
    """Return the payload of a log; of an episode that is too long, the newest slots that fit."""
    _, neighbours, couplings = log.coupling.shape
    fitting = (LARGEST_LOG_BYTES - HEADER_BYTES) // _slot_bytes(contract, neighbours, couplings)
    log = log.newest(fitting)
    return pack_array(
        VERSION,
        contract_tag(contract),
        log.epoch,
        log.episode,
        ",".join(log.neighbours).encode(),
        log.slots.astype(_SLOT).tobytes(),
        log.observation.astype(_NUMBER).tobytes(),
        log.coupling.astype(_NUMBER).tobytes(),
        log.mask.astype(np.uint8).tobytes(),
    )


def decode_log(payload: bytes, contract: Contract, couplings: int) -> EpisodeLog:
    """Read a log from the network; nothing about it is trusted.

    Args:
        payload: The bytes.
        contract: Contract that it must have been made under.
        couplings: Numbers that say how strongly one cell acts on another, `Q`.

    Raises:
        MessageError: With reason `size`, `malformed`, `version`, `contract`, `range` or `not_finite`.
    """
    fields = unpack_message(payload, LARGEST_LOG_BYTES, VERSION, contract, _FIELDS)
    epoch, episode, *parts = fields
    check_integer("epoch", epoch, LARGEST_EPOCH)
    check_integer("episode", episode, LARGEST_EPISODE)
    if not all(isinstance(part, bytes) for part in parts):
        raise MessageError("malformed", "neighbours, slots or values are not bytes")
    names = _read_names(parts[0])
    count = len(parts[1]) // _SLOT.itemsize
    slots = read_array("slots", parts[1], _SLOT, (count,)).astype(np.int64)
    if not count or (np.diff(slots) <= 0).any():
        raise MessageError("range", "slots do not rise, or there are none")
    observation = read_array("observations", parts[2], _NUMBER, (count, contract.observation_size))
    coupling = read_array("couplings", parts[3], _NUMBER, (count, len(names), couplings))
    check_numbers("observations", observation, -LARGEST_VALUE, LARGEST_VALUE)
    check_numbers("couplings", coupling, 0.0, LARGEST_VALUE)
    mask = read_array("masks", parts[4], np.dtype(np.uint8), (count, contract.mask_size))
    if mask.size and (mask.max() > 1 or not mask.any(axis=1).all()):
        raise MessageError("range", "a mask holds a byte other than 0 and 1, or allows nothing")
    return EpisodeLog(epoch, episode, names, slots, observation, coupling, mask.astype(np.bool_))


def _read_names(raw: bytes) -> tuple[str, ...]:
    if not raw:
        return ()
    names = tuple(raw.decode("ascii", "replace").split(","))
    if len(names) > NEIGHBOURS or len(set(names)) < len(names):
        raise MessageError("range", f"{len(names)} neighbours, at most {NEIGHBOURS} different ones")
    if not all(NAME_PATTERN.fullmatch(name) for name in names):
        raise MessageError("malformed", "a neighbour's name is none")
    return names


def _slot_bytes(contract: Contract, neighbours: int, couplings: int) -> int:
    numbers = contract.observation_size + neighbours * couplings
    return _SLOT.itemsize + _NUMBER.itemsize * numbers + contract.mask_size
