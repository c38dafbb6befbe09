"""A real mosquitto takes the shipped configurations, and lets each user do what the comments say."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from shipped_broker import FOLDER, PATIENCE_S, Client, shipped_broker

from networld_runtime.episode_log import LARGEST_LOG_BYTES
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.store.signature import SIGNATURE_BYTES

USERS = ("cell-0", "cell-1", "radio", "operator")

Start = Callable[..., int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a broker with a shipped file, parts of it replaced for this computer; returns its port."""
    with ExitStack() as brokers:
        yield lambda name, **changes: brokers.enter_context(
            shipped_broker(tmp_path, name, **changes)
        )


@pytest.fixture
def site(start: Start, tmp_path: Path) -> tuple[int, Path]:
    """Port of the site's broker, with users and a certificate for localhost; and that certificate."""
    for program in ("openssl", "mosquitto_passwd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    certificate, key, passwords = (
        tmp_path / name for name in ("site.crt", "site.key", "passwords")
    )
    request = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    )
    request += " -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", *request.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    passwords.touch(mode=0o600)
    for user in USERS:
        subprocess.run(
            ["mosquitto_passwd", "-b", str(passwords), user, f"{user}-password"],
            check=True,
            capture_output=True,
        )
    port = start(
        "site-tls.conf",
        certfile=str(certificate),
        keyfile=str(key),
        password_file=str(passwords),
        acl_file=str(FOLDER / "site.acl"),
    )
    return port, certificate


def test_loopback_takes_a_log_and_drops_what_is_larger(start: Start) -> None:
    port = start("loopback.conf")
    cell, other = Client(port), Client(port)
    topic = CellTopics("demo", "cell-0").log
    other.listen(topic)
    signed = LARGEST_LOG_BYTES + SIGNATURE_BYTES
    cell.say(topic, b"x" * (signed + 1))
    cell.say(topic, b"y" * signed)
    assert other.heard.get(timeout=PATIENCE_S) == (topic, b"y" * signed)
    cell.close()
    other.close()


@pytest.mark.parametrize("name", ["loopback.conf", "bridge.conf"])
def test_brokers_of_a_board_listen_on_loopback_alone(name: str) -> None:
    assert re.findall(r"(?m)^listener (.*)$", _text(name)) == ["1883 127.0.0.1"]


def test_site_lets_a_cell_write_its_own_topics_alone(site: tuple[int, Path]) -> None:
    port, certificate = site
    users = {name: Client(port, name, certificate) for name in USERS}
    topics = {name: CellTopics("demo", name) for name in ("cell-0", "cell-1")}
    heard = users["operator"].heard
    users["operator"].listen("networld/v1/demo/#")
    allowed = {
        "cell-0": ["message", "log", "state", "birth", "status", "report", "action"],
        "radio": ["observation"],
        "operator": ["command"],
    }
    leaves = {leaf for some in allowed.values() for leaf in some}
    for name, own in allowed.items():
        base = topics["cell-0"].message.removesuffix("message")
        for leaf in sorted(leaves - set(own)):
            users[name].say(f"{base}{leaf}", b"forbidden")
        for leaf in own:
            users[name].say(f"{base}{leaf}", b"allowed")
            assert heard.get(timeout=PATIENCE_S) == (f"{base}{leaf}", b"allowed")
    users["cell-0"].say(topics["cell-1"].message, b"forbidden")
    users["cell-0"].say("networld/v1/other/cell-0/message", b"forbidden")
    users["cell-1"].say(topics["cell-1"].message, b"allowed")
    assert heard.get(timeout=PATIENCE_S) == (topics["cell-1"].message, b"allowed")
    for user in users.values():
        user.close()


def test_site_takes_nobody_without_a_password_or_tls(site: tuple[int, Path]) -> None:
    port, certificate = site
    assert not Client(port, "stranger", certificate).accepted
    assert not Client(port, None, certificate).accepted
    plain = mqtt.Client(CallbackAPIVersion.VERSION2)
    plain.connect("127.0.0.1", port)
    while plain.loop(timeout=1.0) == mqtt.MQTT_ERR_SUCCESS:
        assert not plain.is_connected()


def test_bridge_carries_what_neighbours_and_operator_need_and_nothing_else(
    site: tuple[int, Path], start: Start
) -> None:
    port, certificate = site
    local = start(
        "bridge.conf",
        address=f"localhost:{port}",
        remote_password="cell-0-password",  # noqa: S106
        bridge_cafile=str(certificate),
    )
    cell, radio = Client(local), Client(local)
    neighbour, operator = (Client(port, name, certificate) for name in ("cell-1", "operator"))
    own, other = CellTopics("demo", "cell-0"), CellTopics("demo", "cell-1")
    cell.listen("networld/v1/demo/#")
    operator.listen("networld/v1/demo/#")
    end_s = time.monotonic() + PATIENCE_S
    while cell.heard.empty():  # until the bridge stands
        assert time.monotonic() < end_s, "the bridge brings nothing"
        operator.say(own.command, b"order")
        time.sleep(0.1)
    assert cell.heard.get() == (own.command, b"order")
    radio.say(own.observation, b"stays")
    cell.say(own.action, b"stays")
    cell.say(own.message, b"told")
    neighbour.say(other.message, b"told")
    came = _until(operator, {(own.message, b"told"), (other.message, b"told")})
    assert not {topic for topic, payload in came if payload == b"stays"}
    _until(cell, {(other.message, b"told")})
    for client in (cell, radio, neighbour, operator):
        client.close()


def _until(client: Client, wanted: set[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    came: list[tuple[str, bytes]] = []
    while not wanted <= set(came):
        came.append(client.heard.get(timeout=PATIENCE_S))
    return came


def _text(name: str) -> str:
    return (FOLDER / name).read_text()
