"""One archive with what somebody needs to help from afar, and no secrets.

Nothing is copied whole: what goes in is built from checked parts, every value whose key names a secret is
taken out, and every text is searched for the secrets that the configuration points to.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import stat
import tarfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from networld_runtime.bundle import MANIFEST, MAXIMUM_MANIFEST_BYTES
from networld_runtime.config import Config
from networld_runtime.errors import DataError, NetWorldError
from networld_runtime.files import obstacle_to_writing, write_atomically
from networld_runtime.startup import active_bundle
from networld_runtime.watch.log_lines import FILE_BYTES, previous_file, utc_text
from networld_runtime.watch.query import ask_for_status

REMOVED = "<removed>"
SECRET_KEY = re.compile(
    r"(password|passphrase|secret|token|credential|private|api_?key)", re.IGNORECASE
)
PLACE_KEY = re.compile(r"_(file|path|folder|directory)$")
SHORTEST_SECRET = 4
LARGEST_SECRET_BYTES = 1 << 16
LOG_BYTES = 200_000
LISTED_FILES = 1000
DIGESTED_BYTES = 64 << 20
DIGESTED = (
    ".json",
    ".msgpack",
    ".onnx",
    ".safetensors",
)  # a digest of a short secret could be guessed
PACKAGES = (
    "networld-runtime",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "paho-mqtt",
    "msgpack",
    "safetensors",
    "prometheus-client",
)


def write_diagnostics(config: Config, output: Path) -> list[str]:
    """Write the archive; a part that cannot be had holds the reason instead.

    Args:
        config: Of the cell; the cell need not run.
        output: A `.tar.gz` file, readable by its owner only.

    Returns:
        Names of the files in the archive.

    Raises:
        DataError: The archive cannot be written.
    """
    obstacle = obstacle_to_writing(output)
    if obstacle:
        raise DataError(str(output), obstacle)
    secrets = known_secrets(config)
    files = {
        name: scrub(_text(make), secrets)
        for name, make in {
            "configuration.json": lambda: without_secrets(asdict(config)),
            "versions.json": _versions,
            "machine.json": _machine,
            "bundle.json": lambda: _bundle(config),
            "state.json": lambda: _state(config.state.directory),
            "status.json": lambda: ask_for_status(config.watch),
        }.items()
    }
    if config.log.file is not None:
        files["log.txt"] = scrub(_log_tail(config.log.file), secrets)
    try:
        write_atomically(output, _archive(files))
        output.chmod(0o600)
    except OSError as error:
        raise DataError(str(output), f"cannot be written ({error.strerror})") from error
    return list(files)


def known_secrets(config: Config) -> list[str]:
    """Return the secrets that a configuration holds or points to, the longest first.

    A key whose name says that it is a secret and a place is read as a file: its content, and each line of it.
    """
    found: set[str] = set()
    for key, value in _leaves(asdict(config)):
        if not SECRET_KEY.search(key) and not key.endswith("key_file"):
            continue
        if isinstance(value, Path):
            with suppress(OSError):
                with value.open("rb") as file:
                    text = file.read(LARGEST_SECRET_BYTES).decode(errors="replace")
                found.update((text.strip(), *(line.strip() for line in text.splitlines())))
        elif isinstance(value, str) and not PLACE_KEY.search(key):
            found.add(value)
    return sorted((one for one in found if len(one) >= SHORTEST_SECRET), key=len, reverse=True)


def without_secrets(data: Any, key: str = "") -> Any:
    """Return plain data with the value of each key that names a secret taken out; places of files stay."""
    if isinstance(data, Mapping):
        return {str(name): without_secrets(value, str(name)) for name, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [without_secrets(value, key) for value in data]
    if SECRET_KEY.search(key) and not PLACE_KEY.search(key) and data is not None:
        return REMOVED
    return str(data) if isinstance(data, Path) else data


def scrub(text: str, secrets: Iterable[str]) -> str:
    """Return a text without secrets, also where they stand as JSON writes them."""
    for secret in secrets:
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
        ):
            text = text.replace(form, REMOVED)
    return text


def _leaves(data: Any, key: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(data, Mapping):
        for name, value in data.items():
            yield from _leaves(value, str(name))
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from _leaves(value, key)
    else:
        yield key, data


def _text(make: Callable[[], Any]) -> str:
    try:
        data = make()
    except NetWorldError as error:
        data = {"problem": error.subject, "problems": error.problems}
    except OSError as error:
        data = {"problem": f"{error.filename}: {error.strerror}"}
    return json.dumps(data, indent=2, sort_keys=True, default=str) + "\n"


def _versions() -> dict[str, Any]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {"time": utc_text(), "packages": found}


def _machine() -> dict[str, Any]:
    from networld_runtime.bench.machine import describe_machine  # noqa: PLC0415 - ONNX Runtime

    return asdict(describe_machine())


def _bundle(config: Config) -> dict[str, Any]:
    """Return the manifest, and whether every file of the cell's task is as the manifest says."""
    path = config.bundle.path
    try:
        bundle = active_bundle(config)
        path = bundle.path
        answer: dict[str, Any] = {"digest": bundle.digest, "intact": True}
    except NetWorldError as error:
        answer = {"intact": False, "problems": error.problems}
    if path is not None:
        with suppress(OSError, ValueError, RecursionError), (path / MANIFEST).open("rb") as file:
            answer["manifest"] = json.loads(file.read(MAXIMUM_MANIFEST_BYTES))
    return answer


def _state(folder: Path) -> dict[str, Any]:
    """Return what lies in the state folder: names, sizes and digests, never contents."""
    entries = []
    for path in sorted(folder.rglob("*"))[:LISTED_FILES]:
        entry: dict[str, Any] = {"name": str(path.relative_to(folder))}
        with suppress(OSError):
            facts = path.lstat()
            entry |= {
                "bytes": facts.st_size,
                "mode": f"{facts.st_mode:o}",
                "modified": utc_text(facts.st_mtime),
            }
            if stat.S_ISREG(facts.st_mode) and _is_digested(path, facts.st_size):
                entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        with suppress(Exception):
            entry["adapter"] = _adapter_history(path)
        entries.append({key: value for key, value in entry.items() if value is not None})
    return {"directory": str(folder), "exists": folder.is_dir(), "files": entries}


def _is_digested(path: Path, size: int) -> bool:
    return path.suffix in DIGESTED and size <= DIGESTED_BYTES


def _adapter_history(path: Path) -> dict[str, str] | None:
    """Return what an adapter's file says of itself, None of any other file."""
    from safetensors import safe_open  # noqa: PLC0415

    if path.suffix != ".safetensors" or path.is_symlink():
        return None
    with safe_open(path, framework="numpy") as file:
        return dict(file.metadata() or {})


def _log_tail(path: Path) -> str:
    """Return the last lines of the log, from the file before it too."""
    data = b""
    for file in (previous_file(path), path):
        with suppress(OSError), file.open("rb") as opened:
            data += opened.read(2 * FILE_BYTES)
    tail = data[-LOG_BYTES:]
    if len(tail) < len(data):
        tail = tail.partition(b"\n")[2]  # the first line is cut
    return tail.decode(errors="replace")


def _archive(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            data = text.encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"networld-diagnostics/{name}")
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
