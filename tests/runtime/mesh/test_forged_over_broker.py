"""A real cell at a real broker that anybody may use: who has no key of a neighbour cannot speak for it."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_cell import PATIENCE_S, Drive, LiveCell, live_cell
from site_keys import make_key_files
from tiny_bundles import make_bundle

from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.contract import Contract
from networld_runtime.mesh.identity import read_identity
from networld_runtime.mesh.identity_seal import IdentitySeal
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics

NAMES = ("a", "b", "c")
EPOCH = 1_790_000_000
TOPICS = {name: CellTopics("test", name) for name in NAMES}
CONFIG = """
[cell]
site = "test"
name = "a"
task = "power"
neighbours = ["b"]
[bundle]
path = "bundle"
[broker]
port = {port}
[state]
directory = "state"
"""


class Speaker:
    """Somebody at the broker, who may publish whatever and wherever."""

    def __init__(self, port: int, contract: Contract) -> None:
        self.births: queue.Queue[bytes] = queue.Queue()
        self._contract = contract
        self._transport = MqttTransport(BrokerConfig(port=port), "somebody")
        self._transport.subscribe({TOPICS["a"].birth: self.births.put}, reliable=True)
        self._transport.connect()

    def message(self, slot: int, epoch: int = EPOCH) -> bytes:
        values = np.ones(self._contract.message_size, dtype=np.float32)
        return encode(MeanFieldMessage(epoch, slot, values), self._contract)

    def say(self, name: str, payload: bytes) -> None:
        self._transport.publish(TOPICS[name].message, payload, reliable=True)

    def close(self) -> None:
        self._transport.close()


class Scene:
    """Cell `a` is a process; `b` and `c` are in the test, with the keys of a folder."""

    def __init__(self, folder: Path, port: int, contract: Contract) -> None:
        self.keys = folder / "keys"
        self.config = folder / "cell.toml"
        table = make_key_files(self.keys, NAMES).replace("{name}", "a")
        self.config.write_text(CONFIG.format(port=port) + table)
        make_bundle(folder / "bundle", contract)
        self.bundle: Bundle = load_bundle(folder / "bundle", "power")
        self.speaker = Speaker(port, self.bundle.contract)
        self._port = port

    def seal(self, name: str) -> IdentitySeal:
        return IdentitySeal(
            "test", read_identity(name, self.keys / f"{name}.key", self.keys, NAMES)
        )

    @contextmanager
    def cell(self) -> Iterator[tuple[LiveCell, Drive]]:
        with live_cell(self.config) as cell, Drive(self._port, self.bundle, "a") as drive:
            yield cell, drive


@pytest.fixture
def scene(tmp_path: Path, broker_port: int, contract: Contract) -> Iterator[Scene]:
    scene = Scene(tmp_path, broker_port, contract)
    yield scene
    scene.speaker.close()


def counted(drive: Drive, rejected: dict[str, int], received: int) -> dict[str, Any]:
    """Wait until a cell has counted what was sent to it, and return its counters."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        found: dict[str, Any] = drive.order("report")["counters"]
        if (found["messages_rejected"]["b"], found["messages_received"]) == (rejected, received):
            return found
        total = sum(found["messages_rejected"]["b"].values()) + found["messages_received"]
        assert total < sum(rejected.values()) + received, found
        assert time.monotonic() < end_s, found
        time.sleep(0.05)


def test_a_forger_at_an_open_broker_is_counted_and_never_used(scene: Scene) -> None:
    message = scene.speaker.message(4)
    with scene.cell() as (_, drive):
        drive.slots(5)
        forged = [
            message,
            scene.seal("c").close(message, ["a"]),  # a cell of the site, with a key that is good
            scene.seal("b").close(message, ["c"]),  # said to c, who passes it on
            scene.seal("a").close(message, ["b"]),  # our own words
            b"\xff" + message,
        ]
        for payload in forged:
            scene.speaker.say("b", payload)
        found = counted(drive, {"unsigned": 1, "forged": 3, "malformed": 1}, 0)
        assert found["neighbours_heard"] == 0
        drive.slots(1)
        assert drive.order("report")["counters"]["neighbours_heard"] == 0
        scene.speaker.say("b", scene.seal("b").close(scene.speaker.message(6), ["a"]))
        counted(drive, {"unsigned": 1, "forged": 3, "malformed": 1}, 1)
        drive.slots(1)
        found = counted(drive, {"unsigned": 1, "forged": 3, "malformed": 1}, 1)
        assert found["neighbours_heard"] == 1


def test_a_recording_is_refused_after_a_restart_and_a_damaged_memory_is_told(scene: Scene) -> None:
    seal = scene.seal("b")
    recorded = seal.close(scene.speaker.message(4, EPOCH - 1), ["a"])
    with scene.cell() as (cell, drive):
        for payload in (recorded, seal.close(scene.speaker.message(2), ["a"])):
            scene.speaker.say("b", payload)
        counted(drive, {}, 2)
        assert cell.end() == 0
    kept = scene.config.parent / "state" / "neighbours.json"
    assert json.loads(kept.read_text())["cells"][0]["epoch"] == EPOCH
    with scene.cell() as (cell, drive):
        drive.slots(5)
        scene.speaker.say("b", recorded)
        found = counted(drive, {"stale": 1}, 0)
        assert found["neighbours_heard"] == 0
        assert cell.end() == 0
    kept.write_text("{")
    with scene.cell() as (cell, drive):
        cell.wait_for("is damaged and was renamed to neighbours.json.damaged")
        drive.slots(1)


def test_a_key_is_changed_while_the_cell_runs(scene: Scene) -> None:
    old = scene.seal("b")
    with scene.cell() as (cell, drive):
        birth = scene.speaker.births.get(timeout=PATIENCE_S)
        scene.speaker.say("b", old.close(scene.speaker.message(4, 2**32 - 1), ["a"]))
        counted(drive, {}, 1)
        for name in ("b.key", "b.pub"):
            (scene.keys / name).unlink()
        make_key_files(scene.keys, ["b"])
        cell.reload()
        cell.wait_for("configuration reloaded")
        drive.order("report")  # the loop is past it now
        new = scene.seal("b")
        scene.speaker.say("b", old.close(scene.speaker.message(5, 2**32 - 1), ["a"]))
        scene.speaker.say("b", new.close(scene.speaker.message(4), ["a"]))
        counted(drive, {"forged": 1}, 2)
        assert json.loads(new.open_birth("a", birth))["neighbours"] == ["b"]
        (scene.keys / "b.pub").write_text("no key\n")
        cell.reload()
        cell.wait_for("configuration not reloaded, nothing changed")
        scene.speaker.say("b", new.close(scene.speaker.message(5), ["a"]))
        counted(drive, {"forged": 1}, 3)


def test_a_cell_without_its_keys_does_not_start(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    from networld_runtime import cli

    (scene.keys / "a.key").chmod(0o644)
    for command in ("check", "run"):
        assert cli.main([command, "--config", str(scene.config)]) == 3
        assert "its owner alone may read" in capfd.readouterr().err
