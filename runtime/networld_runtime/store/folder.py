"""The folder of a store: where everything lies, and how it is changed so that nothing is ever half done.

| in the folder | holds |
|---|---|
| `bundles/<SHA-256 of the manifest>/` | bundles, complete and checked |
| `incoming/` | copies under way; whatever is there when nobody installs is litter |
| `record.json` | which bundle is in use |
| `current`, `previous` | symbolic links to them, for people and other programs |
| `lock`, `install.lock` | held while the record is changed, and while a bundle is installed |
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from networld_runtime.errors import BundleError
from networld_runtime.files import flush_folder, write_atomically
from networld_runtime.store.record import MAXIMUM_RECORD_BYTES, Record, is_digest

_log = logging.getLogger(__name__)

LOCK_WAIT_S = 10.0
LOCK_POLL_S = 0.02


class Store:
    """The folder of a store.

    Args:
        path: The folder; made when something is written to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record_file = path / "record.json"

    def folder(self, digest: str) -> Path:
        """Return where a bundle lies, or would."""
        return self.path / "bundles" / digest

    def record(self) -> Record:
        """Read the record; an empty one where nothing was activated yet.

        Raises:
            BundleError: It is damaged or cannot be read.
        """
        try:
            with self.record_file.open("rb") as file:
                return Record.from_bytes(file.read(MAXIMUM_RECORD_BYTES + 1)[:MAXIMUM_RECORD_BYTES])
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise BundleError(str(self.record_file), f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise BundleError(
                str(self.record_file),
                f"damaged ({error}); remove it and activate a bundle again: versions start afresh then",
            ) from error

    def stamp(self) -> tuple[int, int] | None:
        """Return what changes whenever the record does, at the price of one system call."""
        try:
            found = os.stat(self.record_file)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def change(self, change: Callable[[Record], Record]) -> Record:
        """Change the record in one step, with nobody else changing it, and return the new one.

        Raises:
            BundleError: The record cannot be read or written, or another process holds the lock for long.
        """
        with self.locked("lock"):
            before = self.record()
            after = change(before)
            if after != before:
                with self._writing():
                    write_atomically(self.record_file, after.to_bytes())
            try:
                self.show(after)
            except OSError as error:  # nothing here reads them
                _log.warning("%s: the links are not up to date: %s", self.path, error.strerror)
        return after

    def show(self, record: Record) -> None:
        """Have the links show the record.

        Raises:
            OSError: A link cannot be made.
        """
        self._link("current", record.current)
        self._link("previous", record.previous)

    def shown(self, name: str) -> str | None:
        """Return the digest that a link shows, None if it shows none; for when the record is damaged."""
        try:
            digest = Path(os.readlink(self.path / name)).name
        except OSError:
            return None
        return digest if is_digest(digest) else None

    def installed(self) -> list[str]:
        """Return the digests of all bundles, sorted."""
        try:
            names = os.listdir(self.path / "bundles")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BundleError(str(self.path), f"cannot be read: {error.strerror}") from error
        return sorted(name for name in names if is_digest(name))

    def find(self, prefix: str) -> str:
        """Return the one digest that begins so.

        Raises:
            BundleError: None does, or several do.
        """
        found = [digest for digest in self.installed() if digest.startswith(prefix.lower())]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(digest[:16] for digest in found)
            raise BundleError(str(self.path), f"{prefix!r} begins several digests: {shown}")
        known = ", ".join(digest[:12] for digest in self.installed()) or "none"
        raise BundleError(
            str(self.path),
            f"no bundle {prefix!r:.80}; installed: {known}; see `networld-agent bundle list`",
        )

    @contextlib.contextmanager
    def incoming(self) -> Iterator[Path]:
        """Lend an empty folder beside the bundles, while nobody else installs; it is removed in the end.

        Raises:
            BundleError: The store cannot be written, or another process installs.
        """
        with self.locked("install.lock"), self._writing():
            folder = self.path / "incoming"
            remove_tree(folder)  # what a process left that was killed
            make_folder(folder)
            try:
                yield folder
            finally:
                remove_tree(folder)

    def put(self, folder: Path, digest: str) -> None:
        """Move a complete folder, flushed to the disk, to its place among the bundles.

        Raises:
            OSError: It cannot be moved.
        """
        bundles = self.path / "bundles"
        make_folder(bundles)
        target = self.folder(digest)
        if target.exists():  # damaged, or it would not be put again
            self.take_away(digest)
        os.rename(folder, target)
        flush_folder(bundles)

    def take_away(self, digest: str) -> None:
        """Remove a bundle: out of sight in one step, then bit by bit. Only while lent `incoming`.

        Raises:
            OSError: It cannot be moved.
        """
        litter = self.path / "incoming" / f"{digest}.old"
        remove_tree(litter)
        os.rename(self.folder(digest), litter)
        flush_folder(self.path / "bundles")
        remove_tree(litter)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock that ends with the process, however it ends.

        Raises:
            BundleError: The lock cannot be had.
        """
        deadline_s = time.monotonic() + LOCK_WAIT_S
        with self._writing():
            make_folder(self.path)
            handle = os.open(self.path / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline_s:
                        raise BundleError(
                            str(self.path),
                            f"another process has held {name} for {LOCK_WAIT_S:g} s; try again later",
                        ) from None
                    time.sleep(LOCK_POLL_S)
            yield
        finally:
            os.close(handle)

    def _link(self, name: str, digest: str | None) -> None:
        link = self.path / name
        wanted = None if digest is None else f"bundles/{digest}"
        found = os.readlink(link) if link.is_symlink() else None
        if found == wanted:
            return
        if wanted is None:
            link.unlink(missing_ok=True)
        else:
            temporary = self.path / f"{name}.tmp"
            temporary.unlink(missing_ok=True)
            os.symlink(wanted, temporary)
            os.replace(temporary, link)
        flush_folder(self.path)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            where = "" if error.filename is None else f" ({error.filename})"
            raise BundleError(
                str(self.path), f"cannot be written: {reason}{where}; nothing was changed"
            ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it, and flush their names to the disk."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    flush_folder(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a folder or file with all that is in it, without following links; nothing where nothing is."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
