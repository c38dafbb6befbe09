"""A running cell follows its store: it changes between two slots, watches, and goes back if it must."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from store_cell import StoreCell

from networld_runtime.bundle import Bundle
from networld_runtime.contract import Contract
from networld_runtime.errors import BundleError
from networld_runtime.planner import Planner
from networld_runtime.startup import build_model, start_model
from networld_runtime.store import activation, keeper
from networld_runtime.store.keeper import BundleKeeper, Change

PATIENCE_S = 60.0


class Slots:
    """Calls a keeper between slots, as the loop does."""

    def __init__(self, cell: StoreCell) -> None:
        self.bundle, self.planner = start_model(cell.config)
        self.keeper = BundleKeeper(cell.config, self.bundle, self.planner)
        self.slots = self.missed = self.failures = 0

    def go(self, slots: int = 1, missed: int = 0, failures: int = 0) -> Change | None:
        """Go through slots and return what the keeper says."""
        self.slots += slots
        self.missed += missed
        self.failures += failures
        change = self.keeper.poll(self.slots, self.missed, self.failures)
        if change is not None and change.model is not None:
            self.bundle = change.model[0]
        return change

    def until(self, event: str, **each: int) -> Change:
        """Go through slots until something has happened."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            change = self.go(**each)
            if change is not None:
                assert change.report["event"] == event, change.report
                return change
            time.sleep(0.002)
        raise TimeoutError(event)

    def settle(self) -> None:
        """Wait until nothing is under way any more."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self.keeper._work is not None:
            assert time.monotonic() < deadline_s
            assert self.go(slots=0) is None
            time.sleep(0.002)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the store every time."""
    monkeypatch.setattr(keeper, "LOOK_S", 0.0)
    monkeypatch.setattr(keeper, "RETRY_S", 0.0)


def test_a_bundle_by_path_is_left_alone(cell: StoreCell) -> None:
    source = cell.bundle(1)
    text = cell.config_file.read_text()
    text = text.replace('store = "store"', f'path = "{source}"')
    cell.config_file.write_text(text.replace('trusted_keys = "trusted"', ""))
    slots = Slots(cell)
    assert [slots.go() for _ in range(50)] == [None] * 50
    assert slots.keeper.state == "fixed"


def test_a_new_bundle_is_handed_over_watched_and_kept(cell: StoreCell) -> None:
    first = cell.use(1)
    slots = Slots(cell)
    assert slots.go() is None
    assert (slots.bundle.digest, slots.keeper.state) == (first, "proven")
    second = cell.use(2, proven=False)
    change = slots.until("activated")
    assert change.report == {
        "report": "bundle",
        "id": None,
        "ok": True,
        "event": "activated",
        "bundle": second,
        "running": second,
    }
    assert change.model is not None
    assert change.model[0].digest == second
    latent = change.model[1].encode(np.ones(6, dtype=np.float32))
    assert change.model[1].plan(latent, np.zeros(17, dtype=np.float32)).action.shape == (1,)
    assert slots.keeper.state == "probation"
    assert cell.record.starts == 1
    change = slots.until("committed")
    assert change.model is None
    assert change.report["probation"].startswith("0 bad slots of ")
    record = cell.record
    assert (record.starts, record.lowest_version) == (None, 2)
    assert slots.keeper.state == "proven"


@pytest.mark.parametrize("bad", [{"missed": 1}, {"failures": 1}, {"missed": 1, "failures": 1}])
def test_a_bundle_that_is_no_good_is_taken_back_at_once(
    cell: StoreCell, bad: dict[str, int]
) -> None:
    first = cell.use(1)
    slots = Slots(cell)
    before = slots.planner
    second = cell.use(2, proven=False)
    slots.until("activated")
    assert [slots.go(**bad) for _ in range(2)] == [None, None]
    change = slots.go(**bad)  # the third bad slot: at this boundary, without loading anything
    assert change is not None
    assert change.report["event"] == "taken back"
    assert change.report["problem"] == "failed its probation: 3 bad slots of 3"
    assert (change.report["bundle"], change.report["running"]) == (second, first)
    assert change.model is not None
    assert change.model[1] is before
    slots.settle()
    assert cell.record.current == first
    assert cell.record.failed == {second: "failed its probation: 3 bad slots of 3"}
    assert [slots.go() for _ in range(30)] == [None] * 30
    assert slots.bundle.digest == first


def test_a_few_bad_slots_are_forgiven(cell: StoreCell) -> None:
    cell.use(1)
    slots = Slots(cell)
    cell.use(2, proven=False)
    slots.until("activated")
    slots.go(missed=1)
    slots.go(failures=1)
    assert slots.until("committed").report["probation"].startswith("2 bad slots of ")


def test_what_was_bad_before_does_not_count(cell: StoreCell) -> None:
    cell.use(1)
    slots = Slots(cell)
    slots.go(slots=1000, missed=900, failures=900)
    cell.use(2, proven=False)
    slots.until("activated", missed=1)
    slots.until("committed")


def test_a_probation_goes_on_after_a_restart_and_the_way_back_is_loaded(cell: StoreCell) -> None:
    first, second = cell.use(1), cell.use(2, proven=False)
    slots = Slots(cell)
    assert (slots.bundle.digest, slots.keeper.state) == (second, "probation")
    change = slots.until("taken back", failures=1)
    assert change.model is None
    change = slots.until("activated")
    assert change.model is not None
    assert slots.bundle.digest == first
    assert slots.keeper.state == "proven"
    assert cell.record.current == first


def test_what_cannot_be_noted_is_noted_later(
    cell: StoreCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk must not bring a failed bundle back at the next start."""
    first = cell.use(1)
    slots = Slots(cell)
    second = cell.use(2, proven=False)
    slots.until("activated")
    take_back, asked = activation.take_back, []

    def full_at_first(*values: Any) -> Any:
        asked.append(values)
        if len(asked) == 1:
            raise BundleError("store", "cannot be written (No space left on device)")
        return take_back(*values)

    monkeypatch.setattr(activation, "take_back", full_at_first)
    monkeypatch.setattr(keeper, "RETRY_S", 0.05)
    slots.until("taken back", failures=1)
    assert slots.bundle.digest == first
    deadline_s = time.monotonic() + 30
    while cell.record.current != first:
        assert time.monotonic() < deadline_s
        slots.go()
        time.sleep(0.01)
    assert len(asked) == 2
    assert second in cell.record.failed
    assert slots.bundle.digest == first


def test_the_only_bundle_goes_on_however_bad_it_is(cell: StoreCell) -> None:
    only = cell.use(1, proven=False)
    slots = Slots(cell)
    change = slots.until("failed", failures=1)
    assert change.report["problem"].endswith("no bundle to go back to")
    assert [slots.go(failures=1) for _ in range(30)] == [None] * 30
    assert slots.bundle.digest == only
    assert slots.keeper.state == "failed"


def test_a_bundle_that_does_not_load_is_never_handed_over(cell: StoreCell) -> None:
    first = cell.use(1)
    slots = Slots(cell)
    second = cell.use(2, proven=False)
    (cell.store.folder(second) / "power" / "policy.onnx").write_bytes(b"damaged")
    change = slots.until("refused")
    assert "policy.onnx: damaged" in change.report["problem"]
    assert change.model is None
    assert cell.record.current == first
    assert cell.record.failed[second].startswith("does not load: ")
    assert [slots.go() for _ in range(30)] == [None] * 30


def test_an_error_that_nobody_thought_of_is_a_refusal_too(
    cell: StoreCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = cell.use(1)
    slots = Slots(cell)

    def fail(*_: object) -> tuple[Bundle, Planner]:
        raise ZeroDivisionError("in the planner")

    monkeypatch.setattr(keeper, "build_model", fail)
    second = cell.use(2, proven=False)
    change = slots.until("refused")
    assert change.report["problem"] == "ZeroDivisionError: in the planner"
    assert cell.record.current == first
    monkeypatch.setattr(keeper, "build_model", build_model)
    slots.go()
    cell.activate(second, retry=True)
    slots.until("activated")


def test_slots_go_on_while_a_bundle_loads(cell: StoreCell, monkeypatch: pytest.MonkeyPatch) -> None:
    cell.use(1)
    slots = Slots(cell)
    hold = [True]

    def wait(config: Any, path: Any) -> tuple[Bundle, Planner]:
        while hold:
            time.sleep(0.001)
        return build_model(config, path)

    monkeypatch.setattr(keeper, "build_model", wait)
    cell.use(2, proven=False)
    assert [slots.go(missed=1) for _ in range(200)] == [None] * 200
    hold.clear()
    slots.until("activated")


def test_another_contract_waits_for_a_restart(cell: StoreCell, contract: Contract) -> None:
    first = cell.use(1)
    slots = Slots(cell)
    other = cell.install(
        cell.bundle(2, contract=replace(contract, discount=0.5)), change_contract=True
    )
    cell.activate(other, change_contract=True)
    change = slots.until("waiting")
    assert "used when the cell is started again" in change.report["problem"]
    assert [slots.go() for _ in range(30)] == [None] * 30
    assert slots.bundle.digest == first
    assert (cell.record.current, cell.record.starts) == (other, 0)
    assert Slots(cell).bundle.digest == other


def test_going_back_by_hand_is_followed(cell: StoreCell) -> None:
    first = cell.use(1)
    cell.use(2)
    slots = Slots(cell)
    assert slots.go() is None
    activation.roll_back(cell.store, cell.keys)
    slots.until("activated")
    assert slots.bundle.digest == first
    assert slots.keeper.state == "proven"


def test_an_activation_during_a_probation_keeps_the_proven_way_back(cell: StoreCell) -> None:
    first = cell.use(1)
    slots = Slots(cell)
    cell.use(2, proven=False)
    slots.until("activated")
    third = cell.use(3, proven=False)
    slots.until("activated")
    assert slots.bundle.digest == third
    slots.until("taken back", failures=1)
    slots.settle()
    assert cell.record.current == first
    deadline_s = time.monotonic() + PATIENCE_S
    while slots.bundle.digest != first and time.monotonic() < deadline_s:
        slots.go()
        time.sleep(0.002)
    assert slots.bundle.digest == first


def test_a_full_disk_is_waited_for(cell: StoreCell, monkeypatch: pytest.MonkeyPatch) -> None:
    cell.use(1)
    slots = Slots(cell)
    second = cell.use(2, proven=False)
    slots.until("activated")
    full = [True]
    fsync = os.fsync

    def fail(handle: int) -> None:
        if full:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    slots.go(slots=20)
    for _ in range(20):
        assert slots.go() is None
        time.sleep(0.005)
    assert cell.record.on_probation
    assert slots.bundle.digest == second
    full.clear()
    slots.until("committed")
    assert not cell.record.on_probation


def test_a_damaged_record_is_lived_with(cell: StoreCell) -> None:
    first = cell.use(1)
    slots = Slots(cell)
    slots.go()
    good = cell.store.record_file.read_bytes()
    cell.store.record_file.write_bytes(b"{}")
    assert [slots.go() for _ in range(5)] == [None] * 5
    cell.store.record_file.unlink()
    assert [slots.go() for _ in range(5)] == [None] * 5
    cell.store.record_file.write_bytes(good)
    cell.use(2, proven=False)
    slots.until("activated")
    assert slots.bundle.digest != first


@pytest.mark.parametrize("ended_well", [True, False])
def test_only_an_end_that_is_bad_counts(cell: StoreCell, ended_well: bool) -> None:
    cell.use(1)
    cell.use(2, proven=False)
    slots = Slots(cell)
    slots.go()
    slots.keeper.stop(ended_well=ended_well)
    assert cell.record.starts == (0 if ended_well else 1)
