"""The ladder: what is sick or late gives way to what stands below it, and comes back when it is well."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from networld_runtime import ladder
from networld_runtime.contract import BoolArray, Contract, FloatArray
from networld_runtime.ladder import MOST_FAILURES, PATIENCE, Ladder
from networld_runtime.planner import Decision
from networld_runtime.run_limit import RunTerminatedError
from networld_runtime.rungs import HOLD, PLAN, POLICY, RULE, SHORT_PLAN
from networld_runtime.shield import LONGEST_HOLD_SLOTS, Shield

LATENT, FIELD = np.zeros(24, dtype=np.float32), np.zeros(17, dtype=np.float32)
POWER_DB = {PLAN: -1.0, SHORT_PLAN: -2.0, POLICY: -3.0}


@dataclass
class Clock:
    now_s: float = 100.0


@dataclass
class StubRung:
    """Acts with a power of its own, after a time, unless it is sick."""

    contract: Contract
    rung: str
    clock: Clock
    elastic: bool = False
    fallbacks: tuple[StubRung, ...] = ()
    takes_s: float = 0.0
    error: Exception | None = None
    power_db: float = 0.0
    encoded: float = 0.0
    ends_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.power_db = POWER_DB[self.rung]

    def encode(self, observation: FloatArray) -> FloatArray:
        del observation
        return LATENT + np.float32(self.encoded)

    def plan(
        self,
        latent: FloatArray,
        mean_field: FloatArray,
        mask: BoolArray | None = None,
        deadline_s: float = math.inf,
    ) -> Decision:
        del latent, mean_field, mask
        self.ends_s.append(deadline_s)
        if self.error is not None:
            raise self.error
        if self.clock.now_s + self.takes_s > deadline_s:
            self.clock.now_s = deadline_s
            raise RunTerminatedError("ended")
        self.clock.now_s += self.takes_s
        return Decision(np.array([self.power_db], dtype=np.float32))

    def reset(self) -> None: ...
    def adopt(self, adapter: FloatArray) -> None: ...
    def draw_ahead(self) -> None: ...
    def warm_up(self, runs: int = 20) -> None: ...


@dataclass
class Cell:
    """A ladder of three rungs, and a clock that goes on when they say so."""

    ladder: Ladder
    rungs: dict[str, StubRung]
    clock: Clock

    def slot(self, slot_s: float = math.inf) -> float:
        """Go through a slot and return the power in dB."""
        deadline_s = self.clock.now_s + slot_s
        latent = self.ladder.encode(np.zeros(6, dtype=np.float32), deadline_s)
        (action,) = self.ladder.plan(latent, FIELD, None, deadline_s)
        if slot_s < math.inf:
            self.clock.now_s = max(self.clock.now_s, deadline_s)
        return float(action)


@pytest.fixture
def cell(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> Cell:
    return a_cell(contract, monkeypatch)


def a_cell(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> Cell:
    clock = Clock()
    monkeypatch.setattr(ladder, "monotonic_s", lambda: clock.now_s)
    policy, short = (StubRung(contract, rung, clock) for rung in (POLICY, SHORT_PLAN))
    plan = StubRung(contract, PLAN, clock, fallbacks=(short, policy))
    rungs = {PLAN: plan, SHORT_PLAN: short, POLICY: policy}
    return Cell(Ladder(plan, Shield(contract)), rungs, clock)


def test_a_sound_planner_acts_alone(cell: Cell) -> None:
    assert [cell.slot() for _ in range(200)] == [POWER_DB[PLAN]] * 200
    assert cell.ladder.slots == {PLAN: 200}
    assert (cell.ladder.level, cell.ladder.reason, cell.ladder.failures) == (0, "", {})
    assert not cell.rungs[POLICY].ends_s


@pytest.mark.parametrize(
    ("error", "power_db", "reason"),
    [
        (RuntimeError("broken"), POWER_DB[PLAN], "plan_raised"),
        (RunTerminatedError("ended"), POWER_DB[PLAN], "plan_late"),
        (None, math.nan, "plan_not_finite"),
        (None, 1e9, "plan_not_allowed"),
    ],
)
def test_the_next_rung_acts_in_the_same_slot(
    cell: Cell, error: Exception | None, power_db: float, reason: str
) -> None:
    cell.rungs[PLAN].error, cell.rungs[PLAN].power_db = error, power_db
    assert cell.slot() == POWER_DB[SHORT_PLAN]
    cell.rungs[SHORT_PLAN].error = RuntimeError()
    assert cell.slot() == POWER_DB[POLICY]
    assert cell.ladder.failures[reason] == 2 + (reason == "plan_raised")
    assert cell.ladder.slots == {SHORT_PLAN: 1, POLICY: 1}


def test_a_failure_now_and_then_is_no_reason_to_go_down(cell: Cell) -> None:
    for _ in range(5):
        cell.rungs[PLAN].error = RuntimeError()
        cell.slot()
        cell.rungs[PLAN].error = None
        for _ in range(30):
            assert cell.slot() == POWER_DB[PLAN]
    assert cell.ladder.level == 0


def test_down_after_a_few_failures_and_up_after_a_while(cell: Cell) -> None:
    cell.rungs[PLAN].error = RuntimeError()
    for _ in range(MOST_FAILURES):
        cell.slot()
    assert (cell.ladder.level, cell.ladder.rung) == (1, SHORT_PLAN)
    assert cell.ladder.reason == "plan_raised"
    asked = len(cell.rungs[PLAN].ends_s)
    cell.rungs[PLAN].error = None  # healed; hysteresis keeps it waiting
    for _ in range(PATIENCE):
        assert cell.slot() == POWER_DB[SHORT_PLAN]
    assert len(cell.rungs[PLAN].ends_s) == asked
    assert cell.slot() == POWER_DB[PLAN]
    assert (cell.ladder.level, cell.ladder.reason) == (0, "")


def test_a_rung_that_stays_sick_is_tried_less_and_less(cell: Cell) -> None:
    cell.rungs[PLAN].error = RuntimeError()
    for _ in range(20 * PATIENCE):
        assert cell.slot() == POWER_DB[SHORT_PLAN]
    tries = len(cell.rungs[PLAN].ends_s) - MOST_FAILURES
    assert tries == 4  # after 50, 100, 200 and 400 good slots


def test_without_any_model_the_action_is_held_and_then_the_safe_one(
    cell: Cell, contract: Contract
) -> None:
    first = cell.slot()
    for rung in cell.rungs.values():
        rung.error = RuntimeError()
    powers_db = [cell.slot() for _ in range(LONGEST_HOLD_SLOTS + 3)]
    (safe_db,) = contract.safe_action
    assert powers_db[0] == first
    assert powers_db[-1] == safe_db
    assert np.all(np.diff(np.abs(np.array(powers_db) - safe_db)) <= 0)  # never away from it
    assert cell.ladder.slots == {PLAN: 1, HOLD: LONGEST_HOLD_SLOTS, RULE: 3}
    assert cell.ladder.rung == HOLD
    for rung in cell.rungs.values():
        rung.error = None
    climbed = [cell.slot() for _ in range(4 * PATIENCE)]
    assert list(dict.fromkeys(climbed)) == [safe_db, *sorted(POWER_DB.values())]
    assert cell.ladder.level == 0


def test_a_sick_encoder_leaves_no_model(cell: Cell) -> None:
    cell.rungs[PLAN].encoded = math.nan
    cell.slot()
    assert cell.ladder.failures == {"encode_not_finite": 1}
    assert cell.ladder.slots == {RULE: 1}  # nothing was done yet that could be held


def test_a_slot_without_a_measurement_is_no_fault_of_the_model(cell: Cell) -> None:
    cell.slot()
    for _ in range(200):
        latent = cell.ladder.encode(np.full(6, np.nan, dtype=np.float32))
        assert latent is None
        cell.ladder.plan(latent, FIELD)
    assert (cell.ladder.level, cell.ladder.slots_below) == (0, 0)
    assert cell.ladder.failures == {"observation_not_finite": 200}
    assert cell.slot() == POWER_DB[PLAN]


def test_a_sick_encoder_is_no_reason_to_climb(cell: Cell) -> None:
    cell.rungs[PLAN].encoded = math.nan
    for _ in range(MOST_FAILURES * 3 + 20 * PATIENCE):
        cell.slot()
    assert cell.ladder.rung == HOLD
    cell.rungs[PLAN].encoded = 0.0
    for _ in range(3 * PATIENCE + 3):
        cell.slot()
    assert cell.ladder.level == 0  # not after thousands of slots


def test_slots_in_which_the_planner_itself_did_not_act_are_counted(cell: Cell) -> None:
    """Whatever stood in for it: that is what a bundle on probation is judged by."""
    cell.slot()
    cell.rungs[PLAN].error = RuntimeError()
    for _ in range(500):
        cell.slot()
    assert cell.ladder.slots_below == 500


def test_one_long_stall_costs_no_more_than_a_while(cell: Cell) -> None:
    cell.rungs[PLAN].takes_s = 0.004
    for _ in range(100):
        cell.slot(0.02)
    cell.ladder._takes[0].took(0.1)  # the computer stood still
    slots = 0
    while cell.slot(0.02) != POWER_DB[PLAN]:
        slots += 1
    assert slots <= MOST_FAILURES + PATIENCE


def test_a_planner_that_shortens_itself_is_always_begun(cell: Cell) -> None:
    cell.rungs[PLAN].elastic = True
    cell.ladder._takes[0].took(0.1)
    assert cell.slot(0.02) == POWER_DB[PLAN]
    assert cell.ladder.failures == {}


def test_what_will_not_be_done_in_time_is_not_begun(cell: Cell) -> None:
    cell.slot(0.02)
    cell.rungs[PLAN].takes_s = 1.0  # ended at its time's end
    assert cell.slot(0.02) == POWER_DB[SHORT_PLAN]
    assert cell.ladder.failures == {"plan_late": 1}
    begun = len(cell.rungs[PLAN].ends_s)
    assert cell.slot(0.01) == POWER_DB[SHORT_PLAN]
    assert len(cell.rungs[PLAN].ends_s) == begun
    assert cell.ladder.failures == {"plan_late": 1, "no_time": 1}


def test_a_slow_rung_leaves_time_for_the_next(cell: Cell) -> None:
    cell.rungs[SHORT_PLAN].takes_s = 0.002
    cell.rungs[PLAN].error = RuntimeError()
    cell.slot(0.02)  # what the short plan takes is known now
    cell.rungs[PLAN].error = None
    cell.rungs[PLAN].takes_s = 1.0
    begin_s = cell.clock.now_s
    deadline_s = begin_s + 0.02
    latent = cell.ladder.encode(np.zeros(6, dtype=np.float32), deadline_s)
    cell.ladder.plan(latent, FIELD, None, deadline_s)
    assert cell.rungs[PLAN].ends_s[-1] == pytest.approx(begin_s + 0.018 - 0.004)
    assert cell.clock.now_s <= deadline_s
    assert cell.ladder.slots == {SHORT_PLAN: 2}


@given(
    st.lists(
        st.tuples(
            st.sampled_from([PLAN, SHORT_PLAN, POLICY]),
            st.sampled_from(["well", "raises", "nan", "slow", "late"]),
            st.integers(1, 70),
        ),
        max_size=12,
    )
)
def test_whatever_happens_there_is_an_allowed_action_in_time(
    contract: Contract, history: list[tuple[str, str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cell = a_cell(contract, patch)
        for rung, state, slots in history:
            one = cell.rungs[rung]
            one.error = RuntimeError() if state == "raises" else None
            one.power_db = math.nan if state == "nan" else POWER_DB[rung]
            one.takes_s = {"slow": 0.015, "late": 0.5}.get(state, 0.0)
            for _ in range(slots):
                begin_s = cell.clock.now_s
                action = np.array([cell.slot(0.02)], dtype=np.float32)
                assert contract.allows(action)
                assert cell.clock.now_s <= begin_s + 0.02 + 1e-9
        assert sum(cell.ladder.slots.values()) == sum(slots for *_, slots in history)
        assert 0 <= cell.ladder.level <= 3
