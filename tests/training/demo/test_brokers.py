"""Choosing a broker: a URL, mosquitto, or the embedded one."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from networld_runtime.errors import BrokerError, ConfigError
from networld_training.demo import brokers
from networld_training.demo.brokers import open_broker


@pytest.mark.parametrize(
    "url",
    ["amqtt", "mqtts://localhost", "http://localhost", "mqtt://", "mqtt://h:x", "mqtt://h/topic"],
)
def test_strange_choice_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mqtt://host:port"), open_broker(url, tmp_path):
        pass


def test_credentials_in_a_url_are_refused_and_not_shown(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="not supported") as caught,
        open_broker("mqtt://me:secret@localhost", tmp_path),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_mosquitto_that_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(brokers, "MORE_FOLDERS", ())
    with (
        pytest.raises(ConfigError, match="apt install mosquitto"),
        open_broker("mosquitto", tmp_path),
    ):
        pass


def test_unreachable_url_is_a_broker_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (
        pytest.raises(BrokerError, match="cannot connect"),
        open_broker(f"mqtt://127.0.0.1:{port}", tmp_path),
    ):
        pass


def test_reachable_url_is_taken_as_it_is(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with open_broker(f"mqtt://127.0.0.1:{port}", tmp_path) as meeting:
            assert (meeting.host, meeting.port, meeting.shared) == ("127.0.0.1", port, True)
            meeting.check()


@pytest.mark.parametrize("installed", [False, True])
def test_our_broker_listens_and_is_gone_afterwards(
    installed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if installed and shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed")
    if not installed:
        monkeypatch.setenv("PATH", "")
        monkeypatch.setattr(brokers, "MORE_FOLDERS", ())
    with open_broker("embedded", tmp_path) as meeting:
        assert meeting.name == ("mosquitto" if installed else "amqtt")
        socket.create_connection((meeting.host, meeting.port), timeout=5).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((meeting.host, meeting.port), timeout=5)


def test_broker_that_ends_is_noticed(tmp_path: Path) -> None:
    with open_broker("embedded", tmp_path) as meeting:
        meeting.check()
        assert meeting.process is not None
        os.kill(meeting.process.pid, signal.SIGKILL)
        meeting.process.wait(time.monotonic() + 10)
        with pytest.raises(BrokerError, match="ended with exit code -9"):
            meeting.check()
