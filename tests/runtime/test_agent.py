"""The loop: three cells exchange messages, and nothing that one does stops the others."""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_logs import log_of

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.episode_log import encode_log
from networld_runtime.log_file import read_logs
from networld_runtime.mesh.message import MeanFieldMessage, decode, encode
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import LastWill, MemoryBus, MemoryTransport
from networld_runtime.planner import Decision
from networld_runtime.radio import MqttRadio
from networld_runtime.radio_codec import ObservationMessage, decode_action, encode_observation
from networld_runtime.realtime import monotonic_s
from networld_runtime.rungs import PLAN

NAMES = ("a", "b", "c")
EPOCH = 1_790_000_000


@dataclass
class StubPlanner:
    """Encodes to the first feature, and to 1 what is not told; its power follows the mean field.

    The power is 20 dB times the mean field's first entry.
    """

    contract: Contract
    rung: str = PLAN
    elastic: bool = False
    fallbacks: tuple[StubPlanner, ...] = ()
    sick: bool = False
    raises: bool = False
    resets: int = 0
    adopted: FloatArray | None = None
    fields: list[FloatArray] = field(default_factory=list)
    masks: list[BoolArray | None] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    drawn_ahead: list[int] = field(default_factory=list)

    def encode(self, observation: FloatArray) -> FloatArray:
        if self.raises:
            raise RuntimeError("graph failed")
        latent = np.ones(self.contract.latent_size, dtype=np.float32)
        latent[: self.contract.message_size] = np.nan if self.sick else observation[0]
        return latent

    def plan(
        self,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = math.inf,
    ) -> Decision:
        self.deadlines.append(deadline_s)
        self.fields.append(mean_field)
        self.masks.append(mask)
        del latent
        return Decision(-20 * mean_field[:1])

    def draw_ahead(self) -> None:
        self.drawn_ahead.append(len(self.fields))

    def reset(self) -> None:
        self.resets += 1

    def adopt(self, adapter: FloatArray) -> None:
        self.adopted = adapter

    def warm_up(self, runs: int = 20) -> None:
        del runs


class Site:
    """Three agents on one bus, and the radio that drives them slot by slot."""

    def __init__(self, contract: Contract, folder: Path, more: str = "") -> None:
        self.contract = contract
        self.bus = MemoryBus()
        self.radio = MemoryTransport(self.bus)
        self.actions: dict[str, Any] = {}
        self.reports: list[dict[str, Any]] = []
        self.planners = {name: StubPlanner(contract) for name in NAMES}
        self.transports: dict[str, MemoryTransport] = {}
        self.agents: dict[str, Agent] = {}
        self.bundle = Bundle(folder, "stub", "ab" * 32, contract, 4, 7, 8, 1, {}, {})
        for name in NAMES:
            self._add(name, _config(folder, name, more))
        for name in NAMES:
            topics = self.agents[name].topics
            self.radio.subscribe({topics.action: self._hear(name)})
            self.radio.subscribe({topics.report: lambda raw: self.reports.append(json.loads(raw))})
        self.radio.connect()

    def _add(self, name: str, config: Config) -> None:
        will = LastWill(CellTopics("test", name).state, b"lost")
        transport = MemoryTransport(self.bus, will)
        radio = MqttRadio(transport, CellTopics("test", name), self.contract, (2, 1))
        agent = Agent(config, self.bundle, self.planners[name], transport, radio, EPOCH)
        transport.connect()
        agent.start()
        self.agents[name], self.transports[name] = agent, transport

    def _hear(self, name: str) -> Any:
        def hear(payload: bytes) -> None:
            self.actions[name] = decode_action(payload, self.contract)

        return hear

    def slot(
        self,
        slot: int,
        episode: int = 0,
        only: tuple[str, ...] = NAMES,
        utility: float = 1.0,
        mask: list[bool] | None = None,
        coupled: bool = True,
    ) -> None:
        """Let the named cells go through one slot; the first feature is the slot over 100."""
        for index, name in enumerate(NAMES):
            values = np.full(6, slot / 100, dtype=np.float32)
            seen = None if mask is None else np.array(mask)
            coupling = np.array([[slot], [index]], dtype=np.float32) if coupled else None
            message = ObservationMessage(
                episode, slot, values, utility + index, 60.0, seen, coupling
            )
            if name in only:
                topic = CellTopics("test", name).observation
                self.radio.publish(topic, encode_observation(message, self.contract))
        for name in only:
            observation = self.agents[name]._radio.observe(0)
            assert observation is not None
            self.agents[name].tick(observation)

    def command(self, name: str, payload: bytes) -> list[dict[str, Any]]:
        """Send an order and return the reports that answer it."""
        self.reports.clear()
        self.radio.publish(CellTopics("test", name).command, payload)
        self.agents[name].attend()
        return self.reports


def _config(folder: Path, name: str, more: str = "") -> Config:
    others = ", ".join(f'"{one}"' for one in NAMES if one != name)
    file = folder / f"{name}.toml"
    file.write_text(
        f"""
        cell = {{ site = "test", name = "{name}", task = "power", neighbours = [{others}] }}
        bundle = {{ path = "bundle" }}
        state = {{ directory = "state-{name}" }}
        {more}
        """
    )
    (folder / f"state-{name}").mkdir()
    return load_config(file)


@pytest.fixture
def site(contract: Contract, tmp_path: Path) -> Site:
    return Site(contract, tmp_path)


def test_three_cells_exchange_messages_for_fifty_slots(site: Site) -> None:
    for slot in range(50):
        site.slot(slot)
    for name in NAMES:
        fields = site.planners[name].fields
        assert fields[0][-1] == 0
        for slot in range(1, 50):
            assert fields[slot][-1] == 1
            # the latent that the neighbours sent in the slot before, not in this one
            assert fields[slot][0] == pytest.approx((slot - 1) / 100, abs=0.005)
        counters = site.agents[name].counters()
        assert counters["slots"] == counters["messages_sent"] == 50
        assert counters["messages_received"] == 100
        assert counters["deadlines_missed"] == 0
        assert counters["slots_with_missing_neighbours"] == 1
        assert counters["message_bytes_largest"] <= 37
        assert site.actions[name].slot == 49
        assert site.actions[name].action[0] == pytest.approx(-20 * 0.48, abs=0.1)


def test_what_is_told_is_the_beginning_of_the_latent(site: Site, contract: Contract) -> None:
    told: list[bytes] = []
    site.radio.subscribe({CellTopics("test", "a").message: told.append})
    site.slot(50)
    message = decode(told[0], contract)
    assert message.values.shape == (contract.message_size,)
    np.testing.assert_allclose(message.values, 0.5, atol=0.005)


def test_garbage_of_one_neighbour_is_counted_and_the_others_go_on(site: Site) -> None:
    topics = CellTopics("test", "c")
    for slot in range(10):
        site.slot(slot, only=("a", "b"))
        for garbage in (b"", b"\xc1" * 40, bytes(600), b"\x95\x02\x00\x00\x00\x00"):
            site.radio.publish(topics.message, garbage)
    for name in ("a", "b"):
        rejected = site.agents[name].counters()["messages_rejected"]
        assert sum(rejected["c"].values()) == 40
        assert rejected["c"].keys() == {"size", "malformed"}
        assert site.planners[name].fields[-1][-1] == 0.5
        assert site.transports[name].counters["handler_errors"] == 0


def test_missing_neighbour_lowers_the_share_until_it_is_back(site: Site) -> None:
    shares = []
    for slot in range(12):
        site.slot(slot, only=("a", "b") if 3 <= slot < 9 else NAMES)
        shares.append(float(site.planners["a"].fields[-1][-1]))
    # messages may be three slots old: slot 2's is still used in slot 5
    assert shares == [0, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 1, 1]
    assert site.agents["a"].counters()["slots_missing"] == {"b": 1, "c": 5}


def test_replayed_message_is_rejected(site: Site, contract: Contract) -> None:
    recorded: list[bytes] = []
    site.radio.subscribe({CellTopics("test", "b").message: recorded.append})
    for slot in range(5):
        site.slot(slot)
    for payload in recorded[:3]:
        site.radio.publish(CellTopics("test", "b").message, payload)
    old_boot = MeanFieldMessage(EPOCH - 1, 100, np.ones(16, dtype=np.float32))
    site.radio.publish(CellTopics("test", "b").message, encode(old_boot, contract))
    assert site.agents["a"].counters()["messages_rejected"]["b"]["stale"] >= 4
    site.slot(5)
    assert site.planners["a"].fields[-1][0] == pytest.approx(0.04, abs=0.005)


def test_new_episode_forgets_the_one_before(site: Site) -> None:
    for slot in range(3):
        site.slot(slot)
    site.slot(3, episode=1)
    assert all(planner.fields[-1][-1] == 0 for planner in site.planners.values())
    assert all(planner.resets == 2 for planner in site.planners.values())
    site.slot(4, episode=1)
    assert all(planner.fields[-1][-1] == 1 for planner in site.planners.values())


def test_restarted_slot_counter_starts_a_new_epoch(site: Site) -> None:
    for slot in range(100, 103):
        site.slot(slot)
    for slot in range(3):
        site.slot(slot)
    assert all(planner.fields[-1][-1] == 1 for planner in site.planners.values())
    for name in NAMES:
        rejected = site.agents[name].counters()["messages_rejected"]
        assert all(reasons == {} for reasons in rejected.values())


@pytest.mark.parametrize("illness", ["sick", "raises"])
def test_sick_model_holds_the_last_action(site: Site, illness: str) -> None:
    for slot in range(3):
        site.slot(slot)
    held = site.actions["a"].action
    setattr(site.planners["a"], illness, True)
    for slot in range(3, 6):
        site.slot(slot)
        assert site.actions["a"].action == held != 0
    for slot in range(6, 10):
        site.slot(slot)
    assert site.actions["a"].slot == 9
    assert -10 < site.actions["a"].action < held  # on its way to the safe one
    counters = site.agents["a"].counters()
    assert sum(counters["model_failures"].values()) == 7
    assert counters["messages_sent"] == 3
    assert site.planners["b"].fields[-1][-1] == 0.5


def test_action_that_is_not_allowed_is_held_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for slot, wrong in enumerate((float("nan"), 5.0, -31.0)):
        decision = SimpleNamespace(plan=None, action=np.array([wrong], dtype=np.float32))
        monkeypatch.setattr(site.planners["a"], "plan", lambda *_, answer=decision: answer)
        site.slot(slot)
        assert site.actions["a"].action == -10
    assert site.agents["a"].counters()["model_failures"] == {
        "plan_not_finite": 1,
        "plan_not_allowed": 2,
    }


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (-5.0, "plan_not_allowed"),
        ([-5.0, -5.0], "plan_not_allowed"),
        ([[-5.0]], "plan_not_allowed"),
        ([], "plan_not_allowed"),
        (None, "plan_not_finite"),
        (np.array([1e300]), "plan_not_finite"),
        ("loud", "plan_raised"),
        ([[-5.0], []], "plan_raised"),
        ({}, "plan_raised"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_action_of_another_form_is_held_back(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    wrong: object,
    reason: str,
) -> None:
    planner = site.planners["a"]
    monkeypatch.setattr(planner, "plan", lambda *_: SimpleNamespace(plan=None, action=wrong))
    site.slot(0)
    assert site.actions["a"].action == -10
    assert site.agents["a"].counters()["model_failures"] == {reason: 1}
    assert f"model failed ({reason})" in caplog.text


def test_action_may_be_a_list(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SimpleNamespace(plan=None, action=[-5.0])
    monkeypatch.setattr(site.planners["a"], "plan", lambda *_: plain)
    site.slot(0)
    assert site.actions["a"].action == -5
    assert site.agents["a"].counters()["model_failures"] == {}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (0.5, "encode_not_finite"),
        (None, "encode_not_finite"),
        ([0.0], "encode_not_finite"),
        ("loud", "encode_raised"),
    ],
)
def test_latent_of_another_form_is_not_used(
    site: Site, monkeypatch: pytest.MonkeyPatch, wrong: object, reason: str
) -> None:
    monkeypatch.setattr(site.planners["a"], "encode", lambda *_: wrong)
    site.slot(0)
    assert site.actions["a"].action == -10
    assert site.agents["a"].counters()["model_failures"] == {reason: 1}


def test_mask_of_the_slot_reaches_the_planner(hybrid: Contract, tmp_path: Path) -> None:
    site = Site(hybrid, tmp_path)
    site.slot(0, mask=[True, False, False, True])
    (mask,) = site.planners["a"].masks
    assert mask is not None
    assert mask.tolist() == [True, False, False, True]


def test_deadline_of_the_slot_reaches_the_planner(site: Site) -> None:
    before_s = monotonic_s()
    site.slot(0)
    (deadline_s,) = site.planners["a"].deadlines
    assert before_s + 53 <= deadline_s <= monotonic_s() + 55  # nine tenths of what the radio gives
    assert site.agents["a"].counters()["plans_cut"] == 0


def test_noise_is_drawn_after_the_action_went_out(site: Site) -> None:
    site.slot(0)
    site.slot(1)
    assert site.planners["a"].drawn_ahead == [1, 2]


def test_held_action_that_the_mask_forbids_gives_way_to_the_safe_one(
    hybrid: Contract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(hybrid, tmp_path)
    planner = site.planners["a"]
    chosen = np.array([1.0, -2.5, 2.0], dtype=np.float32)
    monkeypatch.setattr(planner, "plan", lambda *_: SimpleNamespace(plan=None, action=chosen))
    both, without, safe = [True, True, False, True], [True, False, False, True], [3.0, 0.0, 0.0]
    site.slot(0, mask=without)  # the first decision is not possible: nothing to hold yet
    assert site.actions["a"].action.tolist() == safe
    site.slot(1, mask=both)
    assert site.actions["a"].action.tolist() == chosen.tolist()
    planner.raises = True
    for slot, mask, expected in ((2, both, chosen.tolist()), (3, without, safe), (4, both, None)):
        site.slot(slot, mask=mask)
        assert site.actions["a"].action.tolist() == (expected or chosen.tolist())
    failures = site.agents["a"].counters()["model_failures"]
    assert failures == {"plan_not_allowed": 1, "encode_raised": 3}


def test_skipped_slots_and_missed_deadlines_are_counted(site: Site, contract: Contract) -> None:
    site.slot(0)
    site.slot(4)
    assert site.agents["a"].counters()["slots_skipped"] == 3
    late = ObservationMessage(0, 5, np.zeros(6, dtype=np.float32), None, 1e-9)
    site.radio.publish(CellTopics("test", "a").observation, encode_observation(late, contract))
    observation = site.agents["a"]._radio.observe(0)
    assert observation is not None
    site.agents["a"].tick(observation)
    assert site.agents["a"].counters()["deadlines_missed"] == 1


def test_experience_is_what_the_radio_said(hybrid: Contract, tmp_path: Path) -> None:
    site = Site(hybrid, tmp_path)
    for slot in range(4):
        site.slot(slot, episode=slot // 2, mask=[True, slot > 1, False, True])
    first, second = site.agents["b"].experience.logs(0)
    assert (first.episode, second.episode) == (0, 1)
    assert (first.slots.tolist(), second.slots.tolist()) == ([0, 1], [2, 3])
    np.testing.assert_allclose(second.observation[:, 0], [0.02, 0.03])
    assert second.coupling.tolist() == [[[2], [1]], [[3], [1]]]
    assert first.mask.tolist() == [[True, False, False, True]] * 2
    assert first.neighbours == ("a", "c")


def test_slots_without_couplings_are_no_experience(site: Site) -> None:
    site.slot(0, coupled=False)
    site.slot(1)
    assert site.actions["a"].slot == 1
    (log,) = site.agents["a"].experience.logs(0)
    assert log.slots.tolist() == [1]


def test_restarted_slot_counter_ends_old_experience(site: Site, contract: Contract) -> None:
    for slot in range(5):
        site.slot(slot)
    heard = log_of(contract, ["a"], [3])
    heard = replace(heard, coupling=heard.coupling[..., :1])
    site.agents["a"]._book.receive("b", encode_log(heard, contract))
    assert len(site.agents["a"]._book.logs()["b"]) == 1
    site.slot(2)
    (log,) = site.agents["a"].experience.logs(0)
    assert log.slots.tolist() == [2]
    assert site.agents["a"]._book.logs()["b"] == []


def test_order_to_adapt_sends_the_logs_to_the_neighbours(
    site: Site, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three are told; each trains on the logs of all, and its report says what came of it."""
    children = "print('{\"accepted\": false}')"
    for agent in site.agents.values():
        command = [sys.executable, "-c", children]
        monkeypatch.setattr(agent._keeper, "_command", lambda command=command: command)
    for slot in range(6):
        site.slot(slot, episode=slot // 3)
    assert site.agents["a"]._book.logs() == {"b": [], "c": []}
    for name in NAMES:
        assert site.command(name, b'{"command": "adapt", "id": "9"}') == []
    logs = site.agents["a"]._book.logs()
    assert [(log.episode, log.slots.tolist()) for log in logs["c"]] == [
        (0, [0, 1, 2]),
        (1, [3, 4, 5]),
    ]
    assert logs["c"][1].coupling.tolist() == [[[3], [2]], [[4], [2]], [[5], [2]]]
    assert logs["c"][0].epoch == EPOCH
    reports: list[dict[str, Any]] = []
    deadline_s = time.monotonic() + 20
    while len(reports) < 3:
        assert time.monotonic() < deadline_s
        for agent in site.agents.values():
            agent.attend()
        reports = [one for one in site.reports if one["report"] == "adapt"]
        time.sleep(0.02)
    assert all(one["id"] == "9" and one["outcome"] == {"accepted": False} for one in reports)
    folder = site.agents["b"]._config.state.directory
    gathered = read_logs(folder / "logs.msgpack", contract, 1)
    assert {name: len(parts) for name, parts in gathered.items()} == dict.fromkeys("abc", 2)


def test_garbage_on_the_topic_of_logs_is_counted(site: Site) -> None:
    topics = CellTopics("test", "c")
    for garbage in (b"", b"\xc1" * 40, bytes(300_000)):
        site.radio.publish(topics.log, garbage)
    site.slot(0)
    rejected = site.agents["a"].counters()["logs_rejected"]
    assert rejected == {"b": {}, "c": {"size": 2, "malformed": 1}}
    assert site.transports["a"].counters["handler_errors"] == 0


def test_birth_and_state_are_retained(site: Site, contract: Contract) -> None:
    topics = CellTopics("test", "a")
    birth = json.loads(site.bus.retained[topics.birth])
    assert birth["contract"] == contract.digest().hex()
    assert birth["epoch"] == EPOCH
    assert birth["neighbours"] == ["b", "c"]
    assert json.loads(site.bus.retained[topics.state]) == {"state": "online", "epoch": EPOCH}
    site.agents["a"].finish()
    assert json.loads(site.bus.retained[topics.state]) == {"state": "offline", "epoch": EPOCH}
    site.transports["b"].lose()
    assert site.bus.retained[CellTopics("test", "b").state] == b"lost"


def test_report_answers_with_counters(site: Site) -> None:
    site.slot(0)
    (report,) = site.command("a", b'{"command": "report", "id": "7"}')
    assert (report["report"], report["id"], report["ok"]) == ("report", "7", True)
    assert report["counters"]["slots"] == 1
    assert report["counters"]["plan_p99_ms"] > 0


def test_collect_off_keeps_no_experience(site: Site) -> None:
    site.command("a", b'{"command": "collect", "on": false}')
    site.slot(0)
    assert len(site.agents["a"].experience) == 0
    site.command("a", b'{"command": "collect", "on": true}')
    site.slot(1)
    assert len(site.agents["a"].experience) == 1


def test_base_goes_back_to_a_zero_adapter(site: Site, tmp_path: Path) -> None:
    adapter = tmp_path / "state-a" / "adapter.safetensors"
    adapter.write_bytes(b"")
    (report,) = site.command("a", b'{"command": "base"}')
    assert report["ok"]
    adopted = site.planners["a"].adopted
    assert adopted is not None
    assert adopted.shape == (7,)
    assert not adopted.any()
    assert not adapter.exists()


def test_wrong_orders_are_counted_and_change_nothing(site: Site) -> None:
    for wrong in (
        b"",
        b"[]",
        b"[" * 500,
        b"x" * 600,
        b'{"command": "rm"}',
        b'{"command": []}',
        b'{"command": "stop", "extra": 1}',
        b'{"command": "collect", "on": 1}',
        b'{"command": "report", "id": 5}',
        b"\xff",
    ):
        assert site.command("a", wrong) == []
    rejected = site.agents["a"].counters()["commands_rejected"]
    assert rejected == {"malformed": 7, "size": 1, "unknown": 2}


def test_flood_of_orders_is_bounded(site: Site) -> None:
    for _ in range(100):
        site.radio.publish(CellTopics("test", "a").command, b'{"command": "report"}')
    site.agents["a"].attend()
    assert len(site.reports) == 16
    assert site.agents["a"].counters()["commands_rejected"] == {"too_many": 84}


def test_orders_without_end_do_not_hold_the_loop_up(site: Site) -> None:
    answered = 0

    def order_again(payload: bytes) -> None:
        nonlocal answered
        del payload
        answered += 1
        if answered < 1000:
            operator.publish(site.agents["a"].topics.command, b'{"command": "report"}')

    operator = MemoryTransport(site.bus)
    operator.subscribe({site.agents["a"].topics.report: order_again})
    operator.connect()
    operator.publish(site.agents["a"].topics.command, b'{"command": "report"}')
    for turn in range(1, 4):
        site.agents["a"].attend()
        assert answered == turn


def test_stop_ends_the_loop(site: Site) -> None:
    site.radio.publish(CellTopics("test", "a").command, b'{"command": "stop"}')
    site.agents["a"].run()
    assert site.reports[-1]["report"] == "stop"


def test_adaptation_that_is_switched_off_is_said_so(contract: Contract, tmp_path: Path) -> None:
    site = Site(contract, tmp_path, "adaptation = { enabled = false }")
    site.slot(0)
    (report,) = site.command("a", b'{"command": "adapt"}')
    assert not report["ok"]
    assert "not enabled" in report["problem"]
    assert len(site.agents["a"].experience) == 0


def test_leaving_gives_the_radio_back(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    transport = site.transports["a"]
    monkeypatch.setattr(
        site.agents["a"]._radio, "close", lambda: closed.append(transport.connected)
    )
    site.agents["a"].finish()
    assert closed == [True]  # while it can still say something
