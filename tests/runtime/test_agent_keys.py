"""Cells with keys on a bus: all that they publish for each other is proven, and what is not is not used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from site_keys import SiteKeys, make_key_files
from small_cell import EPOCH, FormulaPlanner, NoRadio

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config_reader import load_config
from networld_runtime.contract import Contract
from networld_runtime.errors import MessageError
from networld_runtime.mesh.authentication import make_seal
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.radio import Observation
from networld_runtime.realtime import monotonic_s
from networld_runtime.reload import Reload

NAMES = ("a", "b", "c")
TEXT = """
cell = {{ site = "test", name = "{name}", task = "power", neighbours = {neighbours} }}
bundle = {{ path = "bundle" }}
state = {{ directory = "state-{name}" }}
"""


class KeyedSite:
    """Three agents on one bus, with keys unless they are told otherwise."""

    def __init__(self, contract: Contract, folder: Path, without: str = "", more: str = "") -> None:
        self.contract, self.folder, self.slot = contract, folder, 0
        self.bus = MemoryBus()
        self.agents: dict[str, Agent] = {}
        table = make_key_files(folder / "keys", NAMES) + more
        for name in NAMES:
            (folder / f"state-{name}").mkdir()
            others = json.dumps([other for other in NAMES if other != name])
            text = TEXT.format(name=name, neighbours=others)
            keyed = "" if name == without else table.replace("{name}", name)
            (folder / f"{name}.toml").write_text(text + keyed)
        for name in NAMES:
            self.start(name)

    def start(self, name: str, epoch: int = EPOCH) -> None:
        """Start a cell, or start it again."""
        config = load_config(self.folder / f"{name}.toml")
        planner, radio = FormulaPlanner(self.contract), NoRadio()
        bundle = Bundle(self.folder, "stub", "ab" * 32, self.contract, 4, 7, 8, 1, {}, {})
        transport = MemoryTransport(self.bus)
        seal = make_seal(config)
        agent = Agent(config, bundle, planner, transport, radio, epoch, seal=seal)
        transport.connect()
        agent.start()
        self.agents[name] = agent

    def go(self, slots: int = 1, only: tuple[str, ...] = NAMES) -> None:
        """Go through some slots."""
        for _ in range(slots):
            self.slot += 1
            for name in only:
                values = np.zeros(self.contract.observation_size, dtype=np.float32)
                coupling = np.zeros((2, 1), dtype=np.float32)
                now_s = monotonic_s()
                seen = Observation(0, self.slot, values, 1.0, now_s, now_s + 60, coupling=coupling)
                self.agents[name].tick(seen)
            for name in only:
                self.agents[name].attend()

    def rejected(self, name: str) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = self.agents[name].counters()["messages_rejected"]
        return found


def test_cells_with_keys_hear_each_other(contract: Contract, tmp_path: Path) -> None:
    site = KeyedSite(contract, tmp_path)
    site.go(5)
    for name in NAMES:
        counters = site.agents[name].counters()
        assert counters["neighbours_heard"] == 2
        assert counters["messages_received"] == 10
        assert not any(site.rejected(name).values())
        assert counters["message_bytes_largest"] <= 1 + 2 * 4 + 37
        site.agents[name]._last_heard.flush()
        kept = json.loads((tmp_path / f"state-{name}" / "neighbours.json").read_text())
        assert {one["epoch"] for one in kept["cells"]} == {EPOCH}


def test_cells_without_keys_keep_nothing(contract: Contract, tmp_path: Path) -> None:
    site = KeyedSite(contract, tmp_path)
    for name in NAMES:
        file = tmp_path / f"{name}.toml"
        file.write_text(file.read_text().partition("[authentication]")[0])
        site.start(name, EPOCH + 1)
    site.go(5)
    assert site.agents["a"].counters()["neighbours_heard"] == 2
    assert not list(tmp_path.glob("state-*/neighbours.json"))


def test_a_cell_without_keys_is_not_heard_by_those_with_keys(
    contract: Contract, tmp_path: Path
) -> None:
    site = KeyedSite(contract, tmp_path, without="c")
    site.go(5)
    assert site.rejected("a") == {"b": {}, "c": {"unsigned": 5}}
    assert site.agents["a"].counters()["neighbours_heard"] == 1
    # Nor does it take what it cannot read: a seal is no message.
    assert set(site.rejected("c")["a"]) <= {"malformed", "version"}


def test_receivers_are_those_who_get_a_tag(contract: Contract, tmp_path: Path) -> None:
    site = KeyedSite(contract, tmp_path, more='receivers = ["a"]\n')
    site.go(3)
    assert site.agents["a"].counters()["messages_received"] == 6
    assert site.rejected("b") == {"a": {"unsigned": 3}, "c": {"forged": 3}}


def test_births_and_logs_are_signed(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = KeyedSite(contract, tmp_path)
    seal = make_seal(load_config(tmp_path / "b.toml"))
    agent = site.agents["a"]
    birth = site.bus.retained[agent.topics.birth]
    assert json.loads(seal.open_birth("a", birth))["epoch"] == EPOCH
    with pytest.raises(MessageError, match="forged"):
        seal.open_birth("a", birth.replace(b'"power"', b'"sleep"'))
    monkeypatch.setattr(agent._keeper, "begin", lambda *_: None)
    site.go(3)
    site.bus.publish(agent.topics.command, b'{"command": "adapt"}', retain=False)
    agent.attend()
    assert [log.episode for log in site.agents["b"]._book.logs()["a"]] == [0]
    assert not any(site.agents["b"].counters()["logs_rejected"].values())


def test_a_recording_of_an_earlier_boot_is_refused_by_a_cell_that_restarts(
    contract: Contract, tmp_path: Path
) -> None:
    site = KeyedSite(contract, tmp_path)
    recorded: list[bytes] = []
    listener = MemoryTransport(site.bus)
    topic = site.agents["b"].topics.message
    listener.subscribe({topic: recorded.append})
    listener.connect()
    site.go(3)
    site.start("b", EPOCH + 5)
    site.go(2)
    site.agents["a"].finish()
    site.start("a", EPOCH + 6)
    site.slot = 1
    for payload in recorded[:3]:
        site.bus.publish(topic, payload, retain=False)
    site.go(1, only=("a",))
    counters = site.agents["a"].counters()
    assert counters["messages_rejected"]["b"] == {"stale": 3}
    assert counters["messages_received"] == 0


def test_changed_keys_are_taken_over_by_all_parts(
    contract: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = KeyedSite(contract, tmp_path)
    site.go(3)
    for name in ("b", "a"):
        for end in ("key", "pub"):
            (tmp_path / "keys" / f"{name}.{end}").unlink()
    make_key_files(tmp_path / "keys", ["a", "b"])
    for name in NAMES:
        config = load_config(tmp_path / f"{name}.toml")
        site.agents[name]._take(Reload(config, None, "ab" * 32, make_seal(config)))
    site.go(3)
    for name in NAMES:
        assert not any(site.rejected(name).values())
        assert site.agents[name].counters()["messages_received"] == 12
    birth = site.bus.retained[site.agents["a"].topics.birth]
    assert make_seal(load_config(tmp_path / "c.toml")).open_birth("a", birth)
    newest = site.agents["a"]._last_heard.newest
    assert {name: epoch for name, (epoch, _) in newest.items()} == {"b": EPOCH, "c": EPOCH}
    monkeypatch.setattr(site.agents["a"]._keeper, "begin", lambda *_: None)
    site.bus.publish(site.agents["a"].topics.command, b'{"command": "adapt"}', retain=False)
    site.agents["a"].attend()
    assert [log.episode for log in site.agents["c"]._book.logs()["a"]] == [0]


def test_who_only_has_a_public_folder_cannot_speak_for_a_cell(
    contract: Contract, tmp_path: Path
) -> None:
    site = KeyedSite(contract, tmp_path)
    site.go(1)
    values = np.ones(contract.message_size, dtype=np.float32)
    message = encode(MeanFieldMessage(EPOCH + 9, 2, values), contract)
    stolen = SiteKeys.of(NAMES).seal("b").close(message, ["a", "c"])
    site.bus.publish(site.agents["b"].topics.message, stolen, retain=False)
    assert site.rejected("a")["b"] == {"forged": 1}
    assert site.agents["a"]._neighbours.last_heard()["b"][0] == EPOCH


def test_the_library_of_the_keys_is_loaded_where_there_are_keys() -> None:
    """A cell without keys has no use for its megabytes."""
    code = "import sys, networld_runtime.running_cell; sys.exit('nacl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
