"""The keys that tell the cells of a site apart: a cell's own, and the public ones of all.

The operator makes and hands them out; a key that came over the network would prove nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nacl import bindings, exceptions

from networld_runtime.errors import ConfigError
from networld_runtime.mesh.topics import NAME_PATTERN
from networld_runtime.store.signature import (
    PUBLIC_SUFFIX,
    public_key,
    read_private_key,
    read_public_key,
)

OTHERS = stat.S_IRWXG | stat.S_IRWXO
CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Variable with the folder where systemd shows a service its secrets; it guards that folder itself."""


@dataclass(frozen=True)
class Identity:
    """Who a cell is, and how it knows the others.

    Attributes:
        name: Name of the cell.
        private_key: Its Ed25519 seed, 32 bytes.
        cells: Ed25519 public keys of the site's other cells, 32 bytes each, by name.
    """

    name: str
    private_key: bytes = field(repr=False)
    cells: Mapping[str, bytes]


def read_identity(name: str, key: Path, cells: Path, wanted: Iterable[str]) -> Identity:
    """Read a cell's own key and the folder of public keys, `<cell>.pub` each.

    Args:
        name: Name of the cell.
        key: File of its private key, which its owner alone may read.
        cells: Folder of public keys; that of the cell itself may be among them.
        wanted: Cells whose keys must be there.

    Raises:
        ConfigError: A file cannot be read, is no key or may be read by others, or keys do not belong
            together; lists all problems of a file or folder.
    """
    private = read_own_key(key)
    keys = read_cells(cells, wanted)
    own = public_key(private)
    if keys.pop(name, own) != own:
        raise ConfigError(
            str(cells / f"{name}{PUBLIC_SUFFIX}"),
            f"is not the public half of {key}; put the one there that "
            f"`networld-agent identity show {key}` prints",
        )
    copies = [other for other, found in keys.items() if found == own]
    if copies:
        raise ConfigError(
            str(cells),
            f"{', '.join(copies)}: has the key of {name} itself; give every cell its own",
        )
    return Identity(name, private, keys)


def read_own_key(path: Path) -> bytes:
    """Return a private key that its owner alone may read.

    Raises:
        ConfigError: The file cannot be read, is no key, or others may read it.
    """
    private = read_private_key(path)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        raise ConfigError(str(path), f"private key cannot be read: {error.strerror}") from error
    if mode & OTHERS and not _is_credential(path):
        raise ConfigError(
            str(path),
            f"mode {mode:04o}: expected a private key that its owner alone may read; "
            "make a new one if others could, then chmod 600",
        )
    return private


def read_cells(folder: Path, wanted: Iterable[str] = ()) -> dict[str, bytes]:
    """Return the public keys of a folder by the names of their cells.

    Raises:
        ConfigError: The folder cannot be read, a file is no key of a cell, two cells have the same key,
            or a wanted cell has none; lists all problems.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(PUBLIC_SUFFIX))
    except OSError as error:
        raise ConfigError(
            str(folder),
            f"public keys of cells cannot be read: {error.strerror}; put <cell>.pub files there",
        ) from error
    problems: list[str] = []
    keys: dict[str, bytes] = {}
    owners: dict[bytes, str] = {}
    for path in paths:
        key = _read_cell(path, problems)
        if key is not None:
            keys[path.name.removesuffix(PUBLIC_SUFFIX)] = key
            owner = owners.setdefault(key, path.name)
            if owner != path.name:
                problems.append(f"{path.name}: same key as {owner}; give every cell its own")
    found = {path.name for path in paths}
    problems += [
        f"{name}{PUBLIC_SUFFIX}: missing, the public key of that cell; copy it from where its key was made"
        for name in wanted
        if f"{name}{PUBLIC_SUFFIX}" not in found
    ]
    if problems:
        raise ConfigError(str(folder), problems)
    return keys


def _read_cell(path: Path, problems: list[str]) -> bytes | None:
    """Return a cell's public key; what is wrong with its file is added to `problems`."""
    if not NAME_PATTERN.fullmatch(path.name.removesuffix(PUBLIC_SUFFIX)):
        problems.append(f"{path.name}: no name of a cell, expected <cell>{PUBLIC_SUFFIX}")
        return None
    try:
        key = read_public_key(path)
        bindings.crypto_sign_ed25519_pk_to_curve25519(key)
    except ConfigError as error:
        problems += [f"{path.name}: {problem}" for problem in error.problems]
        return None
    except exceptions.CryptoError:  # 32 bytes that nobody has the private half of
        problems.append(f"{path.name}: no Ed25519 public key; make a new pair")
        return None
    return key


def _is_credential(path: Path) -> bool:
    folder = os.environ.get(CREDENTIALS)
    return folder is not None and path.resolve().is_relative_to(Path(folder).resolve())
