"""TLS towards a real broker: what is shown, what is believed, and what every mistake is called."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from brokers import Broker, plain_broker

from networld_runtime import cli
from networld_runtime.config import BrokerConfig
from networld_runtime.config_reader import load_config
from networld_runtime.errors import BrokerError, ConfigError
from networld_runtime.mesh.broker_socket import open_socket
from networld_runtime.mesh.mqtt_transport import MqttTransport

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Authority:
    """An authority made for a test, and what it signs."""

    folder: Path
    name: str

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.pem"

    def make(self) -> Authority:
        openssl(
            *("req", "-x509", *NEW_KEY, "-days", "2", "-subj", f"/CN={self.name}"),
            *("-keyout", str(self.file.with_suffix(".key")), "-out", str(self.file)),
            *("-addext", "keyUsage=critical,keyCertSign"),
        )
        return self

    def sign(self, name: str, subject_name: str, days: int = 2) -> tuple[Path, Path]:
        """Return a certificate for a name, and its key."""
        certificate = self.folder / f"{self.name}-{name}.pem"
        key = certificate.with_suffix(".key")
        openssl(
            *("req", "-x509", *NEW_KEY, "-days", str(days), "-subj", f"/CN={name}"),
            *("-CA", str(self.file), "-CAkey", str(self.file.with_suffix(".key"))),
            *("-keyout", str(key), "-out", str(certificate)),
            *("-addext", f"subjectAltName={subject_name}", "-addext", "basicConstraints=CA:FALSE"),
        )
        return certificate, key


NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Certificates:
    """Of a broker on loopback and a cell, by one authority, and of a cell by a foreign one."""

    ca: Path
    broker: tuple[Path, Path]
    broker_elsewhere: tuple[Path, Path]
    cell: tuple[Path, Path]
    foreign_ca: Path
    foreign_cell: tuple[Path, Path]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, and makes the certificates")
    folder = tmp_path_factory.mktemp("certificates")
    ours, foreign = Authority(folder, "ours").make(), Authority(folder, "foreign").make()
    return Certificates(
        ca=ours.file,
        broker=ours.sign("broker", "IP:127.0.0.1,DNS:localhost"),
        broker_elsewhere=ours.sign("elsewhere", "DNS:broker.example"),
        cell=ours.sign("cell-0", "DNS:cell-0"),
        foreign_ca=foreign.file,
        foreign_cell=foreign.sign("cell-0", "DNS:cell-0"),
    )


Start = Callable[..., int]


@pytest.fixture
def start(free_port: int, tmp_path: Path) -> Iterator[Start]:
    """Starts a broker that speaks TLS with a certificate, and asks for one of `ca` if that is given."""
    brokers: list[Broker] = []

    def run(certificate: tuple[Path, Path], ca: Path | None = None) -> int:
        lines = [f"certfile {certificate[0]}", f"keyfile {certificate[1]}"]
        if ca is not None:
            lines += [f"cafile {ca}", "require_certificate true"]
        brokers.append(
            plain_broker("mosquitto", tmp_path, free_port, (*lines, "allow_anonymous true"))
        )
        brokers[-1].start()
        return free_port

    yield run
    for broker in brokers:
        broker.kill()


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.01)


def told(config: BrokerConfig) -> str:
    """Return the error that connecting ends with, which comes before the time is over."""
    begin_s = time.monotonic()
    with pytest.raises(BrokerError) as caught:
        MqttTransport(replace(config, connect_timeout_s=15), "a").connect()
    assert time.monotonic() - begin_s < 10
    return str(caught.value)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_bursts_longer_than_a_record_travel_whole(
    start: Start, certificates: Certificates, version: str
) -> None:
    """A record holds up to 16 KiB, and what of it is left over no selector tells of."""
    port = start(certificates.broker, certificates.ca)
    certificate, key = certificates.cell
    config = BrokerConfig(
        port=port,
        protocol=version,
        tls_ca_file=certificates.ca,
        tls_certificate_file=certificate,
        tls_key_file=key,
    )
    heard: list[bytes] = []
    receiver, sender = MqttTransport(config, "receiver"), MqttTransport(config, "sender")
    receiver.subscribe({"t": heard.append}, reliable=True)
    receiver.connect()
    sender.connect()
    until(lambda: sender.publish("t", b"first", reliable=True) and heard)
    until(lambda: not sender._outbox.reliable)
    until(lambda: heard)
    heard.clear()
    payloads = [bytes([number]) * 3000 for number in range(30)] + [b"log" * 80_000]
    for payload in payloads:
        until(partial(sender.publish, "t", payload, reliable=True))
    until(lambda: len([one for one in heard if one != b"first"]) == len(payloads))
    assert [one for one in heard if one != b"first"] == payloads
    assert receiver.counters["connections"] == sender.counters["connections"] == 1
    for number in range(500):  # quality 0, many to a record
        while not sender.publish("t", b"%d" % number):
            time.sleep(0.0001)
    until(lambda: heard[-1] == b"499")
    sender.close()
    receiver.close()


def test_many_packets_in_one_record_are_all_heard_at_once(certificates: Certificates) -> None:
    """The last of them too, though nothing comes after it."""
    packets = [b"\x30\xfd\x07\x00\x01t" + bytes([number]) * 1018 for number in range(16)]
    assert {len(packet) for packet in packets} == {1024}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates.broker)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with context.wrap_socket(server.accept()[0], server_side=True) as peer:
                peer.recv(1024)
                peer.sendall(b"\x20\x02\x00\x00")
                peer.recv(1024)
                peer.sendall(b"".join(packets))
                over.wait(2 * DEADLINE_S)

        over = threading.Event()
        serving = threading.Thread(target=serve)
        serving.start()
        port = server.getsockname()[1]
        config = BrokerConfig(port=port, protocol="3.1.1", tls_ca_file=certificates.ca)
        transport = MqttTransport(replace(config, keep_alive_s=600), "a")
        transport.subscribe({"t": heard.append})
        transport.connect()
        until(lambda: len(heard) == len(packets))
        transport.close()
        over.set()
        serving.join(DEADLINE_S)
    assert heard == [packet[6:] for packet in packets]


def test_it_speaks_nothing_older_than_1_2_and_nagle_is_off(
    start: Start, certificates: Certificates
) -> None:
    port = start(certificates.broker)
    opened = open_socket(BrokerConfig(port=port, tls_ca_file=certificates.ca))
    inner = opened._socket
    assert isinstance(inner, ssl.SSLSocket)
    assert inner.context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert inner.context.check_hostname
    assert inner.version() in ("TLSv1.2", "TLSv1.3")
    assert inner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    opened.close()


def test_a_broker_of_a_foreign_authority(start: Start, certificates: Certificates) -> None:
    port = start(certificates.broker)
    message = told(BrokerConfig(port=port, tls_ca_file=certificates.foreign_ca))
    assert f"no authority in {certificates.foreign_ca}" in message
    assert "tls_ca_file" in message


def test_a_broker_of_another_name(start: Start, certificates: Certificates) -> None:
    port = start(certificates.broker_elsewhere)
    message = told(BrokerConfig(port=port, tls_ca_file=certificates.ca))
    assert "not for 127.0.0.1; set [broker] host" in message


def test_a_broker_that_wants_a_certificate_and_gets_none_or_a_foreign_one(
    start: Start, certificates: Certificates
) -> None:
    port = start(certificates.broker, certificates.ca)
    certificate, key = certificates.foreign_cell
    bare = BrokerConfig(port=port, tls_ca_file=certificates.ca)
    for config in (bare, replace(bare, tls_certificate_file=certificate, tls_key_file=key)):
        message = told(config)
        assert "refuses our certificate" in message
        assert "tls_certificate_file and tls_key_file" in message


def test_a_broker_that_speaks_no_tls(certificates: Certificates, broker_port: int) -> None:
    config = BrokerConfig(port=broker_port, tls_ca_file=certificates.ca, connect_timeout_s=1)
    with pytest.raises(BrokerError, match=r"TLS.*8883"):
        MqttTransport(config, "a").connect()


def test_a_broker_that_speaks_tls_only(start: Start, certificates: Certificates) -> None:
    config = BrokerConfig(port=start(certificates.broker), connect_timeout_s=1)
    with pytest.raises(BrokerError, match=r"is \[broker\] port the one for TLS"):
        MqttTransport(config, "a").connect()


def test_certificates_may_be_exchanged_under_a_running_cell(
    certificates: Certificates, free_port: int, tmp_path: Path
) -> None:
    """The broker moves to another authority; the cell's file is changed, and no process started again."""
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(certificates.ca.read_bytes())
    foreign = Authority(certificates.foreign_ca.parent, "foreign")
    transport = MqttTransport(BrokerConfig(port=free_port, tls_ca_file=trusted), "a")
    for certificate in (certificates.broker, foreign.sign("moved", "IP:127.0.0.1")):
        lines = (f"certfile {certificate[0]}", f"keyfile {certificate[1]}", "allow_anonymous true")
        with plain_broker("mosquitto", tmp_path, free_port, lines):
            if certificate is certificates.broker:
                transport.connect()
            until(lambda: transport.connected)
        until(lambda: not transport.connected)
        trusted.write_bytes(certificates.foreign_ca.read_bytes())
    transport.close()


def test_every_mistake_of_a_configuration_is_told_at_once(
    config_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    config_file.write_text(
        config_file.read_text()
        + '[broker]\nprotocol = "4"\ntls_ca_file = "text.pem"\ntls_certificate_file = "none.pem"\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_config(config_file)
    assert [problem.split(",")[0] for problem in caught.value.problems] == [
        'broker.protocol = \'4\': expected "auto" or "5" or "3.1.1"',
        "broker.tls_certificate_file: needs tls_key_file beside it",
        f"broker.tls_ca_file: {tmp_path / 'text.pem'} holds no certificate",
        f"broker.tls_certificate_file: no file at {tmp_path / 'none.pem'}; make it",
    ]


def test_a_certificate_without_an_authority_is_a_mistake(
    certificates: Certificates, config_file: Path
) -> None:
    certificate, key = certificates.cell
    text = f'[broker]\ntls_certificate_file = "{certificate}"\ntls_key_file = "{key}"\n'
    config_file.write_text(config_file.read_text() + text)
    with pytest.raises(ConfigError, match="tls_certificate_file: needs tls_ca_file beside it"):
        load_config(config_file)


def test_a_key_that_needs_a_passphrase_is_a_mistake_and_nobody_is_asked(
    certificates: Certificates, tmp_path: Path
) -> None:
    certificate, key = certificates.cell
    locked = tmp_path / "locked.key"
    openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked))
    config = BrokerConfig(
        tls_ca_file=certificates.ca, tls_certificate_file=certificate, tls_key_file=locked
    )
    with pytest.raises(ConfigError, match=r"needs a passphrase.*store the key without"):
        MqttTransport(config, "a")


def test_the_check_of_a_configuration_reads_the_files(
    certificates: Certificates, config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files that are right each, and not together."""
    certificate, _ = certificates.cell
    _, key = certificates.foreign_cell
    text = config_file.read_text()
    text += f'[broker]\ntls_ca_file = "{certificates.ca}"\n'
    text += f'tls_certificate_file = "{certificate}"\ntls_key_file = "{key}"\n'
    config_file.write_text(text)
    assert cli.main(["check", "--config", str(config_file)]) == 3
    message = capsys.readouterr().err
    assert f"{certificate}: is for another key than {key}" in message
