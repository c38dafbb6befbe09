"""A radio that somebody else wrote: whatever it does, the loop gets a good observation or none."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from networld_runtime.checked_radio import CheckedRadio
from networld_runtime.contract import Contract, FloatArray
from networld_runtime.radio import Observation
from networld_runtime.realtime import monotonic_s

SHAPE = (2, 1)
SAFE = [False, False, False, True]


@dataclass
class Foreign:
    """Gives what it is told to give, and keeps what it is given."""

    gives: Any = None
    counters: Any = field(default_factory=Counter)
    actions: list[FloatArray] = field(default_factory=list)
    raises: bool = False

    def observe(self, timeout_s: float) -> Any:
        del timeout_s
        if self.raises:
            raise OSError("the device is gone")
        return self.gives

    def act(self, observation: Observation, action: FloatArray) -> None:
        del observation
        if self.raises:
            raise OSError("the device is gone")
        self.actions.append(action)
        action[:] = 99

    def close(self) -> None:
        if self.raises:
            raise OSError("the device is gone")


def observation(slot: Any = 1, **others: Any) -> Observation:
    now_s = monotonic_s()
    values = {"mask": np.array(SAFE), "arrived_s": now_s, "deadline_s": now_s + 1, **others}
    return replace(
        Observation(0, slot, np.full(6, 2, np.float32), 1.0, 0, 0), **{"episode": 3, **values}
    )


@pytest.fixture
def foreign() -> Foreign:
    return Foreign()


@pytest.fixture
def radio(foreign: Foreign, hybrid: Contract) -> CheckedRadio:
    return CheckedRadio(foreign, hybrid, SHAPE)


def test_good_observation_is_handed_on(radio: CheckedRadio, foreign: Foreign) -> None:
    assert radio.observe(0) is None
    given_values = [1, 2.0, np.float64(3), 4, 5, 6]
    foreign.gives = observation(
        np.int64(7), values=given_values, utility=np.float32(0.5), mask=[1, 0, 0, True]
    )
    foreign.gives = replace(foreign.gives, coupling=[[0.5], [1]])
    seen = radio.observe(0)
    assert seen is not None
    assert (seen.episode, seen.slot, seen.utility) == (3, 7, 0.5)
    assert seen.values.dtype == np.float32
    assert seen.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert seen.mask is not None
    assert seen.mask.tolist() == [True, False, False, True]
    assert seen.coupling is not None
    assert seen.coupling.tolist() == [[0.5], [1]]
    assert seen.arrived_s == foreign.gives.arrived_s
    assert seen.deadline_s == pytest.approx(foreign.gives.deadline_s)
    assert radio.counters == {"received": 1}


def test_what_is_handed_on_is_a_copy(radio: CheckedRadio, foreign: Foreign) -> None:
    foreign.gives = observation()
    seen = radio.observe(0)
    assert seen is not None
    foreign.gives.values[:] = np.nan
    assert np.isfinite(seen.values).all()
    action = np.zeros(3, np.float32)
    radio.act(seen, action)
    assert foreign.actions[0].tolist() == [99, 99, 99]
    assert action.tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, 1e300, 1e19])
def test_values_that_are_no_measurement_are_unknown(
    radio: CheckedRadio, foreign: Foreign, value: float
) -> None:
    foreign.gives = observation(values=np.full(6, value))
    seen = radio.observe(0)
    assert seen is not None
    assert np.isnan(seen.values).all()


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"values": np.zeros(5)}, "malformed"),
        ({"values": None}, "malformed"),
        ({"values": ["x"] * 6}, "malformed"),
        ({"episode": -1}, "range"),
        ({"episode": 0.5}, "malformed"),
        ({"slot": None}, "malformed"),
        ({"slot": 2**70}, "malformed"),
        ({"utility": np.inf}, "not_finite"),
        ({"utility": "much"}, "malformed"),
        ({"mask": None}, "malformed"),
        ({"mask": np.ones(3)}, "malformed"),
        ({"mask": [True, True, True, False]}, "range"),
        ({"coupling": [[-1], [0]]}, "range"),
        ({"coupling": [0]}, "malformed"),
        ({"arrived_s": 1e12, "deadline_s": 1e12 + 1}, "clock"),  # time.time() by mistake
        ({"arrived_s": np.nan}, "clock"),
        ({"deadline_s": 0.0}, "range"),
        ({"deadline_s": np.nan}, "not_finite"),
        ({"deadline_s": np.inf}, "not_finite"),
        ({"deadline_s": 1e9}, "range"),
    ],
)
def test_wrong_observation_is_counted_and_never_used(
    radio: CheckedRadio,
    foreign: Foreign,
    wrong: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    foreign.gives = observation(**wrong)
    for _ in range(3):
        assert radio.observe(0) is None
    assert radio.counters == {f"rejected_{reason}": 3}
    assert len(caplog.records) == 1
    foreign.gives = observation()
    assert radio.observe(0) is not None


def test_repeated_observation_is_not_used_twice(radio: CheckedRadio, foreign: Foreign) -> None:
    foreign.gives = observation(slot=5)
    assert radio.observe(0) is not None
    assert radio.observe(0) is None
    foreign.gives = observation(slot=5, episode=4)
    assert radio.observe(0) is not None
    assert radio.counters == {"received": 2, "rejected_repeated": 1}


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(
        [*("episode", "slot", "values", "utility", "arrived_s", "deadline_s", "mask", "coupling")]
    ),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.none() | st.floats() | st.integers(), max_size=8)
    | st.dictionaries(st.text(), st.integers(), max_size=2),
)
def test_anything_is_used_well_or_refused(hybrid: Contract, name: str, value: Any) -> None:
    radio = CheckedRadio(Foreign(observation(**{name: value})), hybrid, SHAPE)
    seen = radio.observe(0)
    if seen is None:
        assert sum(radio.counters.values()) == 1
        return
    known = seen.values[~np.isnan(seen.values)]
    assert np.abs(known).max(initial=0) <= 1e18
    assert hybrid.allows(np.array(hybrid.safe_action), seen.mask)
    assert seen.arrived_s < seen.deadline_s


@pytest.mark.parametrize("gives", [7, "x", {}, SimpleNamespace(slot=1)])
def test_what_is_no_observation(radio: CheckedRadio, foreign: Foreign, gives: Any) -> None:
    foreign.gives = gives
    assert radio.observe(0) is None
    assert radio.counters == {"rejected_malformed": 1}


def test_radio_that_raises_is_counted_told_once_and_asked_again(
    radio: CheckedRadio, foreign: Foreign, caplog: pytest.LogCaptureFixture
) -> None:
    foreign.gives, foreign.raises = observation(), True
    for _ in range(3):
        assert radio.observe(0.001) is None
        radio.act(observation(), np.zeros(3, np.float32))
    radio.close()
    assert radio.counters == {"observe_raised": 3, "act_raised": 3, "close_raised": 1}
    assert caplog.text.count("the device is gone") == 3
    foreign.raises = False
    assert radio.observe(0) is not None


def test_counters_are_plain_numbers(radio: CheckedRadio, foreign: Foreign) -> None:
    foreign.counters = {"overtaken": np.int64(2), "received": 1}
    foreign.gives = observation()
    radio.observe(0)
    assert json.loads(json.dumps(dict(radio.counters))) == {"overtaken": 2, "received": 2}
    foreign.counters = None
    assert dict(radio.counters) == {"received": 1, "counters_raised": 1}


def test_value_that_will_be_clipped_is_counted(radio: CheckedRadio, foreign: Foreign) -> None:
    foreign.gives = observation(values=np.full(6, 1e6))
    assert radio.observe(0) is not None
    assert radio.counters == {"received": 1, "clipped": 1}
