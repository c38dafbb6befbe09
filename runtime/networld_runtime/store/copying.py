"""Reads files out of a folder that nobody vouches for.

No link is followed, no limit passed, and nothing read but plain files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from networld_runtime.errors import BundleError
from networld_runtime.files import flush_folder
from networld_runtime.store.folder import make_folder

CHUNK_BYTES = 1 << 20


def read_inside(folder: Path, name: str, limit_bytes: int) -> bytes:
    """Return the content of a file in a folder.

    Raises:
        BundleError: It is not there, no plain file, larger than `limit_bytes`, or reached through a link.
    """
    with _opened(folder, name, limit_bytes) as source:
        return b"".join(_chunks(source, folder / name, limit_bytes))


def size_inside(folder: Path, name: str, limit_bytes: int) -> int:
    """Return the size of a file in a folder; raises as `read_inside` does."""
    with _opened(folder, name, limit_bytes) as source:
        return os.fstat(source).st_size


def copy_inside(folder: Path, name: str, target: Path, limit_bytes: int) -> str:
    """Copy a file out of a folder, flush it to the disk and return its SHA-256, hexadecimal.

    Args:
        folder: Where it is.
        name: Its name there, with `/` between folders.
        target: Where it goes, under the same name.
        limit_bytes: How large it may be.

    Raises:
        BundleError: As for `read_inside`.
        OSError: The copy cannot be written.
    """
    digest = hashlib.sha256()
    with _opened(folder, name, limit_bytes) as source:
        file = target / name
        make_folder(file.parent)
        with file.open("xb") as copy:
            for chunk in _chunks(source, folder / name, limit_bytes):
                digest.update(chunk)
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
    return digest.hexdigest()


def flush_tree(folder: Path) -> None:
    """Flush the names in a folder, and in all folders below, to the disk."""
    for below, _, _ in os.walk(folder, topdown=False):
        flush_folder(Path(below))


@contextlib.contextmanager
def _opened(folder: Path, name: str, limit_bytes: int) -> Iterator[int]:
    """Open a plain file step by step, so that no part of its name below `folder` may be a link."""
    *folders, last = name.split("/")
    no_link = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as stack:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, handle)
            for part in folders:
                handle = os.open(part, no_link | os.O_DIRECTORY, dir_fd=handle)
                stack.callback(os.close, handle)
            # without waiting: a pipe would never open
            handle = os.open(last, no_link | os.O_NONBLOCK, dir_fd=handle)
            stack.callback(os.close, handle)
            found = os.fstat(handle)
        except OSError as error:
            raise BundleError(
                str(folder / name),
                f"cannot be read: {error.strerror}; expected a plain file, links are not followed",
            ) from error
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(str(folder / name), "no plain file; copy the bundle again")
        if found.st_size > limit_bytes:
            raise BundleError(
                str(folder / name), f"{found.st_size} bytes, at most {limit_bytes} are allowed"
            )
        yield handle


def _chunks(source: int, path: Path, limit_bytes: int) -> Iterator[bytes]:
    """Yield what a file holds, and stop where it has grown past the limit meanwhile."""
    left = limit_bytes
    while True:
        try:
            chunk = os.read(source, min(CHUNK_BYTES, left + 1))
        except OSError as error:
            raise BundleError(str(path), f"cannot be read: {error.strerror}") from error
        if not chunk:
            return
        left -= len(chunk)
        if left < 0:
            raise BundleError(str(path), f"more than {limit_bytes} bytes are not allowed")
        yield chunk
