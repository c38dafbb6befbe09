"""Ed25519 signatures of manifests, and the keys that a base station trusts.

A signature is the 64 bytes of Ed25519 over the exact bytes of `manifest.json`, which holds the digests of all
files. It lies beside the manifest. OpenSSL makes and checks the same bytes.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any

from networld_runtime.errors import ConfigError, SignatureError

SIGNATURE = "manifest.sig"
SIGNATURE_BYTES = 64
PUBLIC_SUFFIX = ".pub"
PRIVATE_SUFFIX = ".key"
KEY_BYTES = 32
MAXIMUM_KEY_FILE_BYTES = 4096


def make_keys() -> tuple[str, str]:
    """Return a new private key and the public key that belongs to it, as text of one line each."""
    _, signing = _nacl()
    private = signing.SigningKey.generate()
    return _text(bytes(private)), _text(bytes(private.verify_key))


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


def read_private_key(path: Path) -> bytes:
    """Return the private key of a file that `write_keys` wrote.

    Raises:
        ConfigError: The file cannot be read or holds no key.
    """
    return _read_key(path, "private")


def read_public_key(path: Path) -> bytes:
    """Return the public key of a file that `write_keys` wrote.

    Raises:
        ConfigError: The file cannot be read or holds no key.
    """
    return _read_key(path, "public")


def sign(message: bytes, private_key: bytes) -> bytes:
    """Return the signature of a message, `SIGNATURE_BYTES` long."""
    _, signing = _nacl()
    return bytes(signing.SigningKey(private_key).sign(message).signature)


def public_key(private_key: bytes) -> bytes:
    """Return the public key that belongs to a private one."""
    _, signing = _nacl()
    return bytes(signing.SigningKey(private_key).verify_key)


def trusted_keys(folder: Path) -> dict[str, bytes]:
    """Return the public keys of a folder, by file name; each `*.pub` holds one: base64, then any comment.

    Raises:
        ConfigError: The folder cannot be read, holds no key, or a file is no key; lists all such files.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(PUBLIC_SUFFIX))
    except OSError as error:
        raise ConfigError(
            str(folder), f"trusted keys cannot be read: {error.strerror}; put *.pub files there"
        ) from error
    if not paths:
        raise ConfigError(
            str(folder),
            f"holds no trusted key, expected one *{PUBLIC_SUFFIX} file or more; "
            "`networld bundle keys` makes one",
        )
    problems: list[str] = []
    keys = {path.name: _trusted(path, problems) for path in paths}
    if problems:
        raise ConfigError(str(folder), problems)
    return keys


def _trusted(path: Path, problems: list[str]) -> bytes:
    """Return a public key; what is wrong with its file is added to `problems`."""
    try:
        return read_public_key(path)
    except ConfigError as error:
        problems += [f"{path.name}: {problem}" for problem in error.problems]
        return b""


def verify(message: bytes, signature: bytes, keys: dict[str, bytes], subject: str) -> str:
    """Return the name of the trusted key that signed a message.

    Args:
        message: What was signed.
        signature: Its signature.
        keys: Trusted keys by name.
        subject: What the message is, for the error.

    Raises:
        SignatureError: None of the keys did.
    """
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureError(
            subject,
            f"signature of {len(signature)} bytes, expected {SIGNATURE_BYTES}; sign it again",
        )
    exceptions, signing = _nacl()
    for name, key in keys.items():
        try:
            signing.VerifyKey(key).verify(message, signature)
        except exceptions.BadSignatureError:
            continue
        return name
    raise SignatureError(
        subject,
        f"not signed by a trusted key ({', '.join(keys)}), or changed since; get it again from who signed it",
    )


def _read_key(path: Path, kind: str) -> bytes:
    """Read the first word of a file of one line as a key."""
    wanted = f"expected one line: {KEY_BYTES} bytes in base64, then any comment"
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), f"{kind} key cannot be read: {error.strerror}") from error
    lines = data.strip().splitlines()
    if len(data) > MAXIMUM_KEY_FILE_BYTES or len(lines) != 1:
        raise ConfigError(str(path), f"no {kind} key, {wanted}")
    word = lines[0].split()[0]
    try:
        key = base64.b64decode(word, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES or base64.b64encode(key) != word:  # the value itself is never shown
        raise ConfigError(str(path), f"no {kind} key, {wanted}")
    return key


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


def _nacl() -> Any:
    """Return PyNaCl's errors and signatures, imported only where there is something to sign or to check."""
    from nacl import exceptions, signing  # noqa: PLC0415

    return exceptions, signing
