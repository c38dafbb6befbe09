"""TLS of a cell towards its broker: the files that it needs, and what is wrong with them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from networld_runtime.errors import ConfigError

if TYPE_CHECKING:
    from networld_runtime.config import BrokerConfig

CERTIFICATE = ("-----BEGIN CERTIFICATE-----", "-----BEGIN TRUSTED CERTIFICATE-----")
KEY = tuple(f"-----BEGIN {kind}PRIVATE KEY-----" for kind in ("", "RSA ", "EC "))
ENCRYPTED = ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "Proc-Type: 4,ENCRYPTED")
FILES = {
    "tls_ca_file": ("a certificate", CERTIFICATE),
    "tls_certificate_file": ("a certificate", CERTIFICATE),
    "tls_key_file": ("a private key", KEY),
}


def file_problems(broker: BrokerConfig) -> Iterator[tuple[str, str]]:
    """Yield the key and the problem of everything about the files that can be seen without using them."""
    given = {key: getattr(broker, key) for key in FILES}
    for key, other in (
        ("tls_certificate_file", "tls_key_file"),
        ("tls_key_file", "tls_certificate_file"),
    ):
        if given[key] is not None and given[other] is None:
            yield key, f"needs {other} beside it"
    if given["tls_certificate_file"] is not None and given["tls_ca_file"] is None:
        yield (
            "tls_certificate_file",
            "needs tls_ca_file beside it: a certificate is shown over TLS only",
        )
    for key, path in given.items():
        problem = None if path is None else _problem(path, *FILES[key])
        if problem is not None:
            yield key, problem


def tls_context(broker: BrokerConfig) -> ssl.SSLContext | None:
    """Return how to speak TLS, None if the broker is spoken to without.

    Raises:
        ConfigError: A file is missing, is not what it should be, or does not fit the others.
    """
    problems = [f"{key}: {problem}" for key, problem in file_problems(broker)]
    if problems:
        raise ConfigError("[broker]", problems)
    if broker.tls_ca_file is None:
        return None
    context = _context(broker.tls_ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Without renegotiation a write never waits for something to read, nor a read for room to write.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if broker.tls_certificate_file is not None and broker.tls_key_file is not None:
        _show(context, broker.tls_certificate_file, broker.tls_key_file)
    return context


def check_files(broker: BrokerConfig) -> None:
    """Read all that a connection needs from files.

    Raises:
        ConfigError: Something cannot be read or is not what it should be.
    """
    broker.password()
    tls_context(broker)


def _context(authorities: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=authorities)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            str(authorities), f"no authority can be read from it: {_reason(error)}; expected PEM"
        ) from None


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # A passphrase would otherwise be asked for at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        problem = f"cannot be used with the key {key}: {_reason(error)}"
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            problem = f"is for another key than {key}; give the two that were made together"
        raise ConfigError(str(certificate), problem) from None


def _problem(path: Path, what: str, marks: tuple[str, ...]) -> str | None:
    try:
        text = path.read_bytes().decode("latin-1")
    except FileNotFoundError:
        return f"no file at {path}; make it"
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}; let the user of the cell read it"
    if any(mark in text for mark in ENCRYPTED):
        return f"{path} needs a passphrase, and nobody is there to ask: store the key without"
    if not any(mark in text for mark in marks):
        return f"{path} holds no {what.removeprefix('a ')}, expected PEM with {marks[0]}"
    return None


def _reason(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)
