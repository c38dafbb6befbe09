"""What a signed manifest says that a bundle holds: every file, its digest, a name that leads nowhere else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from networld_runtime.bundle import MANIFEST, MAXIMUM_MANIFEST_BYTES, file_digest, manifest_version
from networld_runtime.errors import BundleError
from networld_runtime.store.copying import read_inside
from networld_runtime.store.record import is_digest
from networld_runtime.store.signature import SIGNATURE, SIGNATURE_BYTES, verify

MOST_FILES = 1024
LONGEST_NAME = 200

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Contents:
    """What a manifest says.

    Attributes:
        manifest: Its bytes.
        signature: Their signature.
        signed_by: Name of the trusted key that made it.
        name: Name of the bundle.
        version: Counter of releases.
        tasks: Tasks that it holds, and the hash of each one's contract.
        files: SHA-256 of each file beside manifest and signature, by name.
    """

    manifest: bytes
    signature: bytes
    signed_by: str
    name: str
    version: int
    tasks: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, hexadecimal: the name of the bundle in a store."""
        return hashlib.sha256(self.manifest).hexdigest()


def read_contents(folder: Path, keys: dict[str, bytes]) -> Contents:
    """Read manifest and signature of a bundle; nothing is believed, or even parsed, before the signature.

    Raises:
        SignatureError: No trusted key signed it, or it was changed since.
        BundleError: It cannot be read, is of another format or names files that it may not.
    """
    manifest = read_inside(folder, MANIFEST, MAXIMUM_MANIFEST_BYTES)
    signature = read_inside(folder, SIGNATURE, SIGNATURE_BYTES)
    signed_by = verify(manifest, signature, keys, str(folder))
    subject = str(folder / MANIFEST)
    try:
        data = json.loads(manifest)
        version = manifest_version(data, folder)
        tasks = {str(task): str(entry["contract_hash"]) for task, entry in data["tasks"].items()}
        files = _files(subject, list(_entries(data)))
        name = str(data["name"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BundleError(
            subject, f"damaged ({type(error).__name__}: {error}); export again"
        ) from error
    return Contents(manifest, signature, signed_by, name, version, tasks, files)


def check_files(folder: Path, contents: Contents) -> None:
    """Check every file of a bundle against its digest.

    Raises:
        BundleError: Files are missing or damaged; lists all.
    """
    found = {name: _problem(folder / name, digest) for name, digest in contents.files.items()}
    problems = [f"{name}: {why}; install it again" for name, why in found.items() if why]
    if problems:
        raise BundleError(str(folder), problems)


def _problem(file: Path, digest: str) -> str | None:
    try:
        intact = file_digest(file) == digest
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if intact else "damaged, its SHA-256 differs from the manifest"


def _entries(manifest: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in manifest["tasks"].values():
        yield from entry["graphs"].values()
        yield entry["golden"]


def _files(subject: str, entries: list[Mapping[str, Any]]) -> dict[str, str]:
    files: dict[str, str] = {}
    problems = []
    if len(entries) > MOST_FILES:
        raise BundleError(subject, f"{len(entries)} files, at most {MOST_FILES} are allowed")
    for entry in entries:
        name, digest = entry["file"], entry["sha256"]
        if not _is_inside(name):
            problems.append(
                f"file {name!r:.80}: expected a name inside the bundle, of letters, digits, _ . - and /"
            )
        elif not is_digest(digest):
            problems.append(f"{name}: sha256 = {digest!r:.80}: expected 64 hexadecimal digits")
        elif files.setdefault(name, digest) != digest:
            problems.append(f"{name}: named twice, with different digests")
    if problems:
        raise BundleError(subject, problems)
    return files


def _is_inside(name: object) -> bool:
    return (
        isinstance(name, str)
        and len(name) <= LONGEST_NAME
        and name not in (MANIFEST, SIGNATURE)
        and all(_PART.fullmatch(part) for part in name.split("/"))
    )
