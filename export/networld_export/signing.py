"""The signature of a bundle that is whole."""

from __future__ import annotations

from pathlib import Path

from networld_export.golden import read_manifest
from networld_runtime.bundle import MANIFEST, load_bundle
from networld_runtime.errors import BundleError
from networld_runtime.files import write_atomically
from networld_runtime.store.contents import check_files, read_contents
from networld_runtime.store.signature import SIGNATURE, public_key, read_private_key, sign


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
