"""The shipped script makes an authority that a real broker and its clients can rely on, attacked or not."""

from __future__ import annotations

import datetime
import re
import shutil
import socket
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from shipped_broker import (
    FOLDER,
    PATIENCE_S,
    Client,
    is_let_in,
    shipped_broker,
    tls_context,
)

from networld_runtime.mesh.topics import CellTopics

SCRIPT = FOLDER / "make_authority.sh"
USERS = ("cell-0", "cell-1", "radio", "operator")


def make(*options: object) -> subprocess.CompletedProcess[str]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return subprocess.run(
        ["sh", str(SCRIPT), *map(str, options)], capture_output=True, text=True, check=False
    )


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.crt", folder / f"{name}.key"


def shown(certificate: Path) -> str:
    done = subprocess.run(
        ["openssl", "x509", "-in", str(certificate), "-noout", "-text"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority") / "pki"
    done = make("--output", folder, "--broker", "localhost", "--broker", "127.0.0.1", *USERS)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def broker(tmp_path: Path, authority: Path) -> Iterator[int]:
    with broker_of(tmp_path, authority) as port:
        yield port


def broker_of(folder: Path, authority: Path) -> AbstractContextManager[int]:
    return shipped_broker(
        folder,
        "site-certificates.conf",
        certfile=authority / "broker.crt",
        keyfile=authority / "broker.key",
        cafile=authority / "authority.crt",
        crlfile=authority / "authority.crl",
        acl_file=FOLDER / "site.acl",
    )


def client(port: int, authority: Path, name: str) -> Client:
    return Client(port, name, authority / "authority.crt", pair(authority, name))


# The script


def test_keys_are_their_owners_and_certificates_say_what_they_are_for(authority: Path) -> None:
    for name in ("authority", "broker", *USERS):
        certificate, key = pair(authority, name)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert stat.S_IMODE(certificate.stat().st_mode) == 0o644
        text = shown(certificate)
        assert ("CA:TRUE" in text) == (name == "authority")
        assert ("TLS Web Server Authentication" in text) == (name == "broker")
        assert ("TLS Web Client Authentication" in text) == (name in USERS)
        begin, end = (
            datetime.datetime.strptime(" ".join(found.split()), "%b %d %H:%M:%S %Y GMT")
            for found in re.findall(r"Not (?:Before|After ?): ?(.*)", text)
        )
        assert (end - begin).days == (3650 if name == "authority" else 365)
    assert stat.S_IMODE(authority.stat().st_mode) == 0o700
    assert "DNS:localhost, IP Address:127.0.0.1" in shown(authority / "broker.crt")
    assert "Subject: CN = cell-1" in shown(authority / "cell-1.crt")


def test_nothing_is_overwritten_and_a_refusal_makes_nothing(authority: Path) -> None:
    before = {path.name: path.read_bytes() for path in authority.iterdir()}
    for options in (["cell-9", "cell-0"], ["--broker", "other", "cell-9"]):
        done = make("--output", authority, *options)
        assert done.returncode == 1
        assert "exists already, and nothing was made" in done.stderr
    assert {path.name: path.read_bytes() for path in authority.iterdir()} == before


def test_a_certificate_is_added_later_by_the_same_authority(tmp_path: Path) -> None:
    assert make("--output", tmp_path, "cell-0").returncode == 0
    first = (tmp_path / "authority.crt").read_bytes()
    assert make("--output", tmp_path, "--days", 30, "cell-1").returncode == 0
    assert (tmp_path / "authority.crt").read_bytes() == first
    checked = subprocess.run(
        [
            "openssl",
            "verify",
            "-x509_strict",
            "-CAfile",
            str(tmp_path / "authority.crt"),
            str(tmp_path / "cell-1.crt"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    (tmp_path / "authority.key").unlink()
    done = make("--output", tmp_path, "cell-2")
    assert done.returncode == 1
    assert "authority.key is missing" in done.stderr
    assert not (tmp_path / "cell-2.key").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["cell-0"], "--output is missing"),
        (["--output", "x"], "nothing to make"),
        (["--output"], "--output needs a value"),
        (["--output", "x", "--fly"], "--fly is unknown"),
        (["--output", "x", "Cell"], "Cell: expected a name"),
        (["--output", "x", "+"], "+: expected a name"),
        (["--output", "x", "a/b"], "a/b: expected a name"),
        (["--output", "x", "broker"], "broker is not a name"),
        (["--output", "x", "a", "a"], "a is named twice"),
        (["--output", "x", "--days", "0", "a"], "--days 0"),
        (["--output", "x", "--days", "826", "a"], "--days 826"),
        (["--output", "x", "--days", "1e2", "a"], "--days 1e2"),
        (["--output", "x", "--broker", "a,DNS:b"], "--broker a,DNS:b"),
        (["--output", "x", "--revoke", "a", "b"], "--revoke makes nothing"),
    ],
)
def test_wrong_usage_is_told_and_makes_nothing(
    options: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = make(*options)
    assert done.returncode == 2
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


def test_help_has_an_example() -> None:
    done = make("--help")
    assert done.returncode == 0
    assert "example:" in done.stdout


def test_shellcheck_finds_nothing() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# The broker


def test_a_certificate_lets_a_cell_write_its_own_topics_alone(broker: int, authority: Path) -> None:
    operator, cell = (client(broker, authority, name) for name in ("operator", "cell-0"))
    operator.listen("networld/v1/demo/#")
    own, other = CellTopics("demo", "cell-0"), CellTopics("demo", "cell-1")
    for topic in (
        other.message,
        other.log,
        other.birth,
        other.state,
        own.command,
        CellTopics("elsewhere", "cell-0").message,
    ):
        cell.say(topic, b"forbidden")
    cell.say(own.message, b"allowed")
    assert operator.heard.get(timeout=PATIENCE_S) == (own.message, b"allowed")
    assert operator.heard.empty()
    cell.close()
    operator.close()


def test_a_cell_hears_what_is_for_it_alone(broker: int, authority: Path) -> None:
    cell, radio, other, operator = (
        client(broker, authority, name) for name in ("cell-0", "radio", "cell-1", "operator")
    )
    cell.listen("networld/v1/demo/#")
    topics = CellTopics("demo", "cell-1")
    radio.say(topics.observation, b"not for cell-0")
    operator.say(topics.command, b"not for cell-0")
    other.say(topics.report, b"not for cell-0")
    other.say(topics.message, b"for all")
    assert cell.heard.get(timeout=PATIENCE_S) == (topics.message, b"for all")
    for one in (cell, radio, other, operator):
        one.close()


def test_a_name_that_the_client_gives_counts_for_nothing(broker: int, authority: Path) -> None:
    """Username, password and client id say cell-0; the certificate says cell-1."""
    operator = client(broker, authority, "operator")
    operator.listen("networld/v1/demo/#")
    liar = Client(broker, "cell-0", authority / "authority.crt", pair(authority, "cell-1"))
    liar.say(CellTopics("demo", "cell-0").message, b"forbidden")
    liar.say(CellTopics("demo", "cell-1").message, b"allowed")
    found = operator.heard.get(timeout=PATIENCE_S)
    assert found == (CellTopics("demo", "cell-1").message, b"allowed")
    liar.close()
    operator.close()


def test_nobody_gets_in_without_a_certificate_of_the_authority(
    broker: int, authority: Path, tmp_path: Path
) -> None:
    ours = authority / "authority.crt"
    assert is_let_in(broker, tls_context(ours, pair(authority, "cell-0")))
    assert not is_let_in(broker, tls_context(ours))
    assert make("--output", tmp_path / "other", "cell-0").returncode == 0
    assert not is_let_in(broker, tls_context(ours, pair(tmp_path / "other", "cell-0")))
    assert not is_let_in(broker, tls_context(ours, pair(authority, "broker")))  # no client's
    with socket.create_connection(("127.0.0.1", broker), timeout=PATIENCE_S) as plain:
        plain.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")
        try:
            answer = plain.recv(4)
        except ConnectionError:
            answer = b""
        assert not answer.startswith(b"\x20")


def test_a_revoked_certificate_is_out_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    assert make("--output", folder, "--broker", "localhost", "cell-0", "cell-1").returncode == 0
    ours = folder / "authority.crt"
    with broker_of(tmp_path, folder) as port:
        assert is_let_in(port, tls_context(ours, pair(folder, "cell-1")))
    done = make("--output", folder, "--revoke", "cell-1")
    assert done.returncode == 0, done.stderr
    with broker_of(tmp_path, folder) as port:
        assert not is_let_in(port, tls_context(ours, pair(folder, "cell-1")))
        assert is_let_in(port, tls_context(ours, pair(folder, "cell-0")))
    assert make("--output", folder, "--revoke", "cell-7").returncode == 1


def test_a_cell_is_no_broker(authority: Path) -> None:
    """Who has a cell's certificate cannot play the broker to others, nor can a broker of another name."""
    careful = tls_context(authority / "authority.crt")
    for name, host in (("cell-0", "cell-0"), ("broker", "broker.example")):
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(*map(str, pair(authority, name)))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            thread = threading.Thread(target=_answer_once, args=(listening, server))
            thread.start()
            port = int(listening.getsockname()[1])
            with (
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
                pytest.raises(ssl.SSLCertVerificationError),
            ):
                careful.wrap_socket(plain, server_hostname=host)
            thread.join()


def _answer_once(listening: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = listening.accept()
    try:
        context.wrap_socket(connection, server_side=True).close()
    except (ssl.SSLError, OSError):
        connection.close()
