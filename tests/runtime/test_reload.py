"""A changed configuration is taken over whole, between two slots, or not at all."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_cell import PATIENCE_S, SHIPPED, Drive, live_cell

from networld_runtime import reload
from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle, load_bundle
from networld_runtime.config import Config
from networld_runtime.config_keys import LIVE
from networld_runtime.config_reader import load_config
from networld_runtime.contract import Contract
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import MemoryBus, MemoryTransport
from networld_runtime.planner import Planner
from networld_runtime.planner_settings import PlannerSettings
from networld_runtime.radio import MqttRadio, Observation
from networld_runtime.realtime import monotonic_s
from networld_runtime.reload import Reload, Reloader


def poll(reloader: Reloader) -> Reload | None:
    """Ask as the loop does, until the reload is over."""
    deadline_s = time.monotonic() + PATIENCE_S
    before = reloader.counters.total()
    while True:
        outcome = reloader.poll()
        if outcome is not None or reloader.counters.total() > before:
            return outcome
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


class Made:
    """An agent in this process with a bundle of formulas, whose configuration can change."""

    def __init__(self, config_file: Path, toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.toy = toy
        self.changes: tuple[str, ...] = ()
        self.file = config_file
        monkeypatch.setattr(reload, "load_model", self.load_model)
        config = self.read()
        config.state.directory.mkdir()
        self.reloader = Reloader(config, toy, self.read)
        transport = MemoryTransport(MemoryBus())
        radio = MqttRadio(transport, CellTopics("test", "a"), toy.contract, (2, 2))
        _, planner = self.load_model(config)
        self.agent = Agent(config, toy, planner, transport, radio, 1, self.reloader)
        transport.connect()
        self.agent.start()

    def read(self) -> Config:
        return load_config(self.file, self.changes, {})

    def load_model(self, config: Config) -> tuple[Bundle, Planner]:
        settings = PlannerSettings.from_json({**self.toy.planner, **config.planner.changes()})
        return self.toy, Planner(self.toy, settings, config.planner.seed)

    def reload(self, *changes: str) -> None:
        """Have the agent go on until it has answered a request."""
        self.changes = changes
        self.reloader.request()
        before, deadline_s = self.reloader.counters.total(), time.monotonic() + PATIENCE_S
        while self.reloader.counters.total() == before:
            assert time.monotonic() < deadline_s
            self.agent.attend()


@pytest.fixture
def made(config_file: Path, toy: Any, monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(config_file, toy, monkeypatch)


def observation(contract: Contract, slot: int) -> Observation:
    values = np.zeros(contract.observation_size, np.float32)
    now_s = monotonic_s()
    return Observation(0, slot, values, 1.0, now_s, now_s + 60, None, np.zeros((2, 2), np.float32))


def test_new_planner_goes_on_with_the_adapter_and_the_held_action(
    made: Made, contract: Contract
) -> None:
    agent = made.agent
    adapter = np.linspace(-1, 1, made.toy.adapter_size, dtype=np.float32)
    agent._keeper._adopt(adapter)
    agent.tick(observation(contract, 1))
    held, failures = agent._ladder.shield._held, agent._ladder.failures
    assert held.shape == (1,)
    made.reload("planner.mode=policy", "planner.seed=3")
    assert agent._ladder.shield._held is held
    agent.tick(observation(contract, 2))
    (call,) = made.toy.calls("policy")[-1:]
    np.testing.assert_array_equal(call["in_adapter"], adapter)
    assert agent._ladder._rungs[0] is agent._planner is agent._keeper._planner
    assert agent._ladder.failures is failures
    assert agent.counters()["reloads"] == {"taken": 1}
    assert len(agent.experience) == 2
    # the base model, once it was ordered, comes back with no later planner
    agent._keeper.drop()
    made.reload("planner.mode=policy", "planner.seed=4")
    agent.tick(observation(contract, 3))
    assert not made.toy.calls("policy")[-1]["in_adapter"].any()


def test_new_planner_has_run_before_it_is_taken(made: Made) -> None:
    made.reload("planner.mode=policy")
    assert len(made.toy.calls("policy")) >= 20


def test_limits_without_a_new_planner(made: Made) -> None:
    planner = made.agent._planner
    made.reload("timing.maximum_message_age_slots=7", "adaptation.gather_s=1")
    assert made.agent._planner is planner
    assert made.agent._neighbours._maximum_age_slots == 7
    assert made.agent._neighbours._maximum_age_s == pytest.approx(8 * 0.1)
    assert made.agent._keeper._config.adaptation.gather_s == 1


def test_switching_adaptation_off_ends_what_is_under_way(made: Made, contract: Contract) -> None:
    for slot in range(3):
        made.agent.tick(observation(contract, slot))
    keeper = made.agent._keeper
    assert keeper.begin(made.agent.experience.logs(1), "7") is None
    made.reload("adaptation.enabled=false")
    assert made.agent.counters()["collecting"] is False
    outcome = keeper.poll()
    assert outcome is not None
    assert (outcome["ok"], outcome["id"]) == (False, "7")
    assert "switched off" in outcome["problem"]
    assert keeper.poll() is None
    assert keeper.begin(made.agent.experience.logs(1), None) is not None
    made.reload("adaptation.enabled=true")
    assert made.agent.counters()["collecting"] is True
    assert len(made.agent.experience) == 3
    made.agent.collecting = False  # as the order `collect` does: no reload takes that back
    made.reload("adaptation.gather_s=2")
    assert made.agent.counters()["collecting"] is False


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (("planner.steps=0", "broker.port=x"), ["planner.steps = 0", "broker.port = 'x'"]),
        (
            ("broker.port=1884", "planner.steps=4", "cell.neighbours=['b']"),
            [
                "broker.port = 1883 -> 1884 (command line --set broker.port): a running cell cannot",
                'cell.neighbours = ["b", "c"] -> ["b"]',
            ],
        ),
        (("planner.mode=none", "planner.candidates=4"), ["candidates = 4: this bundle's full"]),
    ],
)
def test_one_mistake_keeps_everything_as_it_was(
    made: Made, changes: tuple[str, ...], told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    agent, config, planner = made.agent, made.agent._config, made.agent._planner
    made.reload(*changes, "timing.maximum_message_age_slots=9")
    assert agent.counters()["reloads"] == {"refused": 1}
    assert "configuration not reloaded, nothing changed" in caplog.text
    assert [one for one in told if one not in caplog.text] == []
    assert agent._config is config
    assert agent._planner is planner
    assert agent._neighbours._maximum_age_slots == 3
    made.reload("timing.maximum_message_age_slots=9")
    assert agent._neighbours._maximum_age_slots == 9


def test_settings_of_adaptation_are_checked_too(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    made.toy.adaptation["nonsense"] = 1  # the bundle recommends what is no setting
    made.reload("adaptation.gather_s=1")
    assert "nonsense" in caplog.text
    assert made.agent.counters()["reloads"] == {"refused": 1}


def test_another_bundle_under_the_same_path_is_refused(
    made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load_model = made.load_model

    def another(config: Config) -> tuple[Bundle, Planner]:
        bundle, planner = load_model(config)
        return replace(bundle, digest="cd" * 32), planner

    monkeypatch.setattr(reload, "load_model", another)
    planner = made.agent._planner
    made.reload("planner.steps=1")
    assert "is not the bundle that the cell runs" in caplog.text
    assert made.agent._planner is planner


def test_a_bundle_that_was_changed_meanwhile_keeps_its_planner(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    """The new planner is of the bundle before: it must not come after the bundle's change."""
    agent = made.agent
    reloader = agent._reloader
    assert reloader is not None
    finish = reloader._finish

    def changed_first() -> Any:
        reloader.change_bundle(replace(agent.bundle, digest="cd" * 32))
        return finish()

    reloader._finish = changed_first  # type: ignore[method-assign]
    planner = agent._planner
    made.reload("planner.steps=1")
    assert "the bundle was changed meanwhile" in caplog.text
    assert agent._planner is planner
    assert agent.counters()["reloads"] == {"refused": 1}


def test_whatever_goes_wrong_the_loop_goes_on(
    made: Made, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: Config) -> tuple[Bundle, Planner]:
        raise MemoryError("no room")

    monkeypatch.setattr(reload, "load_model", fail)
    made.reload("planner.steps=1")
    assert "MemoryError: no room" in caplog.text
    assert made.agent.counters()["reloads"] == {"refused": 1}


def test_slots_go_on_while_a_planner_is_made(
    made: Made, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_model, go_on = made.load_model, threading.Event()

    def slow(config: Config) -> tuple[Bundle, Planner]:
        assert go_on.wait(PATIENCE_S)
        return load_model(config)

    monkeypatch.setattr(reload, "load_model", slow)
    made.changes = ("planner.steps=1",)
    made.reloader.request()
    planner = made.agent._planner
    for slot in range(5):
        made.agent.tick(observation(contract, slot))
        made.agent.attend()
    assert made.agent._planner is planner
    made.changes = ("planner.steps=4",)
    made.reloader.request()  # comes after the one under way
    go_on.set()
    assert poll(made.reloader) is not None
    second = poll(made.reloader)
    assert second is not None
    assert second.config.planner.steps == 4


def test_secret_options_are_not_logged(
    config_file: Path, toy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def read(secret: str) -> Config:
        return load_config(config_file, ("radio.kind=x", f"radio.options.token={secret}"), {})

    reloader = Reloader(read("swordfish"), toy, lambda: read("mackerel"))
    reloader.request()
    assert poll(reloader) is None
    assert "radio.options.token" in caplog.text
    assert "swordfish" not in caplog.text
    assert "mackerel" not in caplog.text


def test_what_others_rely_on_is_not_reloaded() -> None:
    fixed = ("cell.", "bundle.", "broker.", "state.", "radio.")
    assert not [key for key in LIVE if key.startswith(fixed)]
    assert {"timing.slot_s", "adaptation.capacity_slots"}.isdisjoint(LIVE)


@contextmanager
def running(config_file: Path, port: int) -> Iterator[tuple[Any, Drive, Path]]:
    """A real cell on a real broker, its radio, and the drop-in file that changes it."""
    config_file.write_text(config_file.read_text().replace('"bundle"', f'"{SHIPPED}"'))
    folder = config_file.with_name(f"{config_file.name}.d")
    folder.mkdir()
    with (
        Drive(port, load_bundle(SHIPPED, "power"), "a") as drive,
        live_cell(config_file, "--set", f"broker.port={port}") as cell,
    ):
        yield cell, drive, folder / "change.toml"


def test_signal_reloads_a_live_cell(config_file: Path, broker_port: int) -> None:
    with running(config_file, broker_port) as (cell, drive, change):
        policy = drive.slots(10)
        assert len({tuple(action) for action in policy[2:]}) == 1  # it draws nothing

        change.write_text('[planner]\nmode = "none"\nsteps = 1\ntemperature = 2\n')
        cell.reload()
        cell.wait_for('configuration reloaded: planner.mode = not given -> "none"')
        drawn = drive.slots(30)
        assert len({tuple(action) for action in drawn}) > 1  # plans start from noise

        change.write_text('[planner]\nmode = "policy"\nstep = 1\n[timing]\nslot_s = "x"\n')
        cell.reload()
        cell.wait_for("configuration not reloaded, nothing changed")
        cell.wait_for("planner.step (drop-in")
        cell.wait_for("timing.slot_s = 'x' (drop-in")
        assert len({tuple(action) for action in drive.slots(30)}) > 1

        change.write_text('[planner]\nmode = "policy"\n[cell]\nneighbours = ["b"]\n')
        cell.reload()
        cell.wait_for("configuration not reloaded, nothing changed", times=2)
        cell.wait_for('cell.neighbours = ["b", "c"] -> ["b"] (drop-in')
        assert len({tuple(action) for action in drive.slots(30)}) > 1

        change.unlink()
        cell.reload()
        cell.wait_for('planner.mode = "none" -> not given')
        assert drive.slots(5) == [policy[-1]] * 5

        counters = drive.order("report")["counters"]
        assert counters["reloads"] == {"taken": 2, "refused": 2}
        assert counters["slots"] == drive.slot
        assert counters["slots_skipped"] == 0
        assert counters["model_failures"] == {}
        assert cell.end() == 0


def test_a_storm_of_signals_is_survived(config_file: Path, broker_port: int) -> None:
    with running(config_file, broker_port) as (cell, drive, change):
        for number in range(40):
            change.write_text(f"[planner]\nseed = {number}\n")
            os.kill(cell.process.pid, signal.SIGHUP)
            drive.slots(2)
        before = drive.order("report")["counters"]["reloads"]["taken"]
        cell.reload()
        deadline_s = time.monotonic() + 60
        while (counters := drive.order("report")["counters"])["reloads"]["taken"] == before:
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
        assert counters["reloads"].keys() == {"taken"}
        assert counters["slots"] == 80
        assert cell.end() == 0
