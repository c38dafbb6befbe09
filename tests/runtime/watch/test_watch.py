"""What a watch tells: alive, ready and why not, and what it publishes, with a clock of its own."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from small_cell import SmallCell, small_config

from networld_runtime.contract import Contract
from networld_runtime.mesh.transport import MemoryTransport
from networld_runtime.watch.presence import Presence
from networld_runtime.watch.threads import UNKNOWN, purpose_of
from networld_runtime.watch.watch import LIVE_S, SNAPSHOT_S, STATUS_S, Watch

TOPIC = "networld/v1/test/a/status"


class Site:
    """A watched agent whose counters and clock the test decides."""

    def __init__(self, contract: Contract, folder: Path, more: str = "") -> None:
        self.now_s = 1000.0
        self.counted: dict[str, Any] = {"slots": 0, "message_ages_s": {"b": 0.0}}
        self.asked = 0
        self.slot = 7
        self.published: list[dict[str, Any]] = []
        cell = SmallCell(contract, folder, more)
        self.transport = cell.transport
        listener = MemoryTransport(cell.bus)
        listener.subscribe({TOPIC: lambda raw: self.published.append(json.loads(raw))})
        listener.connect()
        self.watch = Watch(cell.config, clock=lambda: self.now_s)
        self.watch.attach(self, self.transport, TOPIC, 0.02)

    def counters(self) -> dict[str, Any]:
        self.asked += 1
        return dict(self.counted)

    def rounds(self, seconds: float, step_s: float = 0.1, slots: int = 1) -> None:
        """Let the loop go round for some seconds."""
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s
            self.counted["slots"] += slots
            self.watch.round()


@pytest.fixture
def site(contract: Contract, tmp_path: Path) -> Site:
    return Site(contract, tmp_path)


def test_before_the_loop_runs_the_cell_is_live_but_not_ready(site: Site) -> None:
    for phase in ("loading", "warming", "connecting"):
        site.watch.enter(phase)
        site.now_s += 1000  # a large model takes its time
        assert site.watch.live
        assert site.watch.obstacles == [f"the cell is {phase}"]
    site.rounds(0.1)
    assert site.watch.ready


def test_a_loop_that_stands_still_is_neither_live_nor_ready(site: Site) -> None:
    site.rounds(2)
    site.now_s += LIVE_S
    assert (site.watch.live, site.watch.ready) == (False, False)
    assert site.watch.obstacles == ["the loop stands still since 5 s"]
    assert site.watch.status()["heartbeat_age_s"] == LIVE_S
    site.rounds(0.1)
    assert site.watch.live
    assert site.watch.ready


@pytest.mark.parametrize("allowed", [False, True])
def test_whether_a_cell_without_its_broker_is_ready_is_configured(
    allowed: bool, contract: Contract, tmp_path: Path
) -> None:
    more = f"[watch]\nready_without_broker = {str(allowed).lower()}\n"
    site = Site(contract, tmp_path, more)
    site.transport.lose()
    site.rounds(1.1)
    assert site.watch.ready is allowed
    assert site.watch.status()["connected"] is False


def test_snapshots_are_made_once_a_second_and_never_changed(site: Site) -> None:
    site.rounds(10, step_s=0.01)
    assert site.asked == pytest.approx(10 / SNAPSHOT_S, abs=1)
    snapshot = site.watch.snapshot
    before = dataclasses.asdict(snapshot)
    site.rounds(2)
    assert site.watch.snapshot is not snapshot
    assert dataclasses.asdict(snapshot) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.phase = "other"  # type: ignore[misc]


def test_snapshots_are_later_by_a_share_of_a_second_from_the_second_one_on(site: Site) -> None:
    site.watch.stagger(0.5)
    site.rounds(1.4 * SNAPSHOT_S, step_s=0.1 * SNAPSHOT_S)
    assert site.asked == 1
    site.rounds(0.2 * SNAPSHOT_S, step_s=0.1 * SNAPSHOT_S)
    assert site.asked == 2
    site.rounds(SNAPSHOT_S, step_s=0.1 * SNAPSHOT_S)
    assert site.asked == 3


def test_status_is_published_every_few_seconds_and_when_readiness_changes(site: Site) -> None:
    site.rounds(20)
    assert len(site.published) == pytest.approx(20 / STATUS_S, abs=1)
    assert all(one["ready"] for one in site.published)
    told = len(site.published)
    site.rounds(LIVE_S, step_s=LIVE_S)  # a long slot: the loop is back, and ready again, at once
    site.watch.finish()
    assert [one["ready"] for one in site.published[-2:]] == [True, False]
    assert site.published[-1]["phase"] == "stopping"
    assert len(site.published) <= told + 3


def test_a_broker_that_comes_back_is_told_of_within_a_second(site: Site) -> None:
    site.rounds(1.1)
    site.transport.close()
    site.rounds(1.1)
    told = len(site.published)
    site.transport.connect()
    site.rounds(1.1)
    assert [one["ready"] for one in site.published[told:]] == [True]


def test_what_is_published_is_what_is_served(site: Site) -> None:
    site.rounds(1)
    site.watch._tell(site.watch.ready, site.now_s)
    served = site.watch.status()
    published = site.published[-1]
    assert published.keys() == served.keys()
    assert published["counters"] == json.loads(json.dumps(served["counters"]))
    assert (published["site"], published["cell"], published["slot"]) == ("test", "a", 7)


def test_losses_and_returns_are_logged_once_each(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    site.rounds(5)
    site.counted["message_ages_s"] = {"b": 60.0, "c": None}
    site.rounds(60, slots=0)  # no observations either
    assert site.watch.status()["silent"] == ["radio", "b", "c"]
    site.counted["message_ages_s"] = {"b": 0.1, "c": 0.1}
    site.rounds(10)
    assert site.watch.status()["silent"] == []
    assert sorted(caplog.messages) == [
        "neighbour b is heard again",
        "neighbour b is silent",
        "neighbour c is heard again",
        "neighbour c is silent",
        "no observations from the radio",
        "observations from the radio again",
    ]


def test_nothing_that_looks_on_stops_the_loop(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> dict[str, Any]:
        raise RuntimeError("counters are broken")

    monkeypatch.setattr(site, "counters", fail)
    site.rounds(3)
    site.watch.finish()
    assert "counters are broken" in caplog.text
    assert site.watch.live


def test_a_cell_without_a_broker_yet_can_be_asked(tmp_path: Path) -> None:
    status = Watch(small_config(tmp_path)).status()
    assert status["phase"] == "loading"
    assert status["counters"] == {}
    json.dumps(status)


def test_presence_says_a_change_once(caplog: pytest.LogCaptureFixture) -> None:
    presence = Presence("%s is away", "%s is back")
    for present in (True, False, False, True, True, False):
        presence.see("x", present)
    assert caplog.messages == ["x is away", "x is back", "x is away"]
    assert presence.away == ["x"]


def test_presence_forgets_whom_nobody_looks_for(caplog: pytest.LogCaptureFixture) -> None:
    presence = Presence("%s is away", "%s is back")
    for name in ("x", "y"):
        presence.see(name, False)
    caplog.clear()
    presence.keep({"y": 1.0})
    assert presence.away == ["y"]
    assert caplog.messages == []


def test_threads_are_known_by_name() -> None:
    assert purpose_of("network").startswith("the broker's")
    assert purpose_of("network-connect").startswith("opens")
    assert purpose_of("Thread-1") == UNKNOWN


def test_the_loop_tells_the_watch_after_every_round(contract: Contract, tmp_path: Path) -> None:
    cell = SmallCell(contract, tmp_path)
    watch = cell.watch()
    rounds = []

    def count() -> None:
        watch.round()
        rounds.append(1)
        if len(rounds) == 3:
            cell.agent.stop()

    cell.agent.on_round = count
    cell.agent.run()
    assert len(rounds) == 3
    assert watch.ready
    cell.agent.finish()
