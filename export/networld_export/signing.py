"""Keys on the disk, and the signature of a bundle that is whole."""

from __future__ import annotations

import os
from pathlib import Path

from networld_export.golden import read_manifest
from networld_runtime.bundle import MANIFEST, load_bundle
from networld_runtime.errors import BundleError, ConfigError
from networld_runtime.files import write_atomically
from networld_runtime.store.contents import check_files, read_contents
from networld_runtime.store.signature import (
    PRIVATE_SUFFIX,
    PUBLIC_SUFFIX,
    SIGNATURE,
    make_keys,
    public_key,
    read_private_key,
    sign,
)


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a pair of keys and return their files, the private one first, which only its owner may read.

    Raises:
        ConfigError: A file is there already or cannot be written; no key is ever overwritten.
    """
    private, public = folder / f"{name}{PRIVATE_SUFFIX}", folder / f"{name}{PUBLIC_SUFFIX}"
    private_text, public_text = make_keys()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if public.exists():
            raise FileExistsError
        for path, text, mode in ((private, private_text, 0o600), (public, public_text, 0o644)):
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "w") as file:
                file.write(f"{text} {name}\n")
                file.flush()
                os.fsync(handle)
    except FileExistsError:
        raise ConfigError(
            str(folder), f"there are keys named {name} already; give another --name"
        ) from None
    except OSError as error:
        raise ConfigError(str(folder), f"cannot be written: {error.strerror}") from error
    return private, public


def sign_bundle(folder: Path, key: Path) -> Path:
    """Check every task of a bundle, sign its manifest and return the file of the signature.

    Raises:
        BundleError: The bundle is damaged, or a base station would refuse its manifest; nothing is signed.
        ConfigError: The key cannot be read.
    """
    private = read_private_key(key)
    tasks = read_manifest(folder).get("tasks")
    if not isinstance(tasks, dict) or not tasks:
        raise BundleError(str(folder / MANIFEST), "damaged (no tasks); export again")
    for task in tasks:
        load_bundle(folder, task)
    file = folder / SIGNATURE
    try:
        write_atomically(file, sign((folder / MANIFEST).read_bytes(), private))
    except OSError as error:
        raise BundleError(str(folder), f"cannot be signed: {error.strerror}") from error
    try:
        check_files(folder, read_contents(folder, {key.name: public_key(private)}))
    except BundleError:
        file.unlink()
        raise
    return file
