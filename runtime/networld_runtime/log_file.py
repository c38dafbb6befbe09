"""The logs of a star as one file: how a cell hands them to the process that trains its adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgpack

from networld_runtime.bundle import STAR
from networld_runtime.contract import Contract
from networld_runtime.episode_log import (
    LARGEST_LOG_BYTES,
    LARGEST_LOGS,
    EpisodeLog,
    decode_log,
    encode_log,
)
from networld_runtime.errors import DataError, MessageError
from networld_runtime.files import write_atomically
from networld_runtime.mesh.topics import NAME_PATTERN

LARGEST_FILE_BYTES = 2 * STAR * LARGEST_LOGS * LARGEST_LOG_BYTES


def write_logs(path: Path, logs: Mapping[str, Sequence[EpisodeLog]], contract: Contract) -> None:
    """Write the logs of some cells, by name; the file is the old or the new one, never a half.

    Raises:
        DataError: The file cannot be written.
    """
    data = [
        [name.encode(), *(encode_log(log, contract) for log in parts)]
        for name, parts in logs.items()
    ]
    try:
        write_atomically(path, msgpack.packb(data))
    except OSError as error:
        raise DataError(str(path), f"cannot be written ({error.strerror})") from error


def read_logs(path: Path, contract: Contract, couplings: int) -> dict[str, list[EpisodeLog]]:
    """Read what `write_logs` wrote.

    Raises:
        DataError: The file is missing, damaged or of another contract; lists every problem.
    """
    try:
        if path.stat().st_size > LARGEST_FILE_BYTES:
            raise DataError(str(path), f"larger than {LARGEST_FILE_BYTES} bytes")
        data = msgpack.unpackb(path.read_bytes(), max_map_len=0, max_ext_len=0)
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})") from error
    except Exception as error:  # msgpack raises several kinds; all mean the same to us
        if isinstance(error, DataError):
            raise
        raise DataError(str(path), f"not a file of logs ({type(error).__name__})") from error
    if not isinstance(data, list) or not all(_is_entry(one) for one in data):
        raise DataError(str(path), "not a file of logs; collect again")
    logs: dict[str, list[EpisodeLog]] = {}
    problems = []
    for raw, *payloads in data:
        name = raw.decode()
        try:
            logs[name] = [decode_log(payload, contract, couplings) for payload in payloads]
        except MessageError as error:
            problems.append(f"{name}: {error.problems[0]}; collect again with this bundle")
    if problems:
        raise DataError(str(path), problems)
    return logs


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and all(isinstance(part, bytes) for part in entry)
        and bool(entry)
        and NAME_PATTERN.fullmatch(entry[0].decode("ascii", "replace")) is not None
    )
