"""Contracts: what they hold survives JSON, and what makes no sense is refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from networld_runtime.contract import ActionBins, Choice, Contract, allowed
from networld_runtime.errors import BundleError

POWER = ActionBins("power_db", -20.0, 0.0, 21, off=-30.0)


def test_actions_of_every_kind_survive_json(hybrid: Contract) -> None:
    again = Contract.from_json(json.loads(json.dumps(hybrid.to_json())))
    assert again == hybrid
    assert again.digest() == hybrid.digest()


def test_sizes_are_those_of_all_components(contract: Contract, hybrid: Contract) -> None:
    assert (contract.action_size, contract.mask_size) == (22, 0)
    assert (hybrid.action_size, hybrid.mask_size) == (4 + 13 + 3, 4)


@pytest.mark.parametrize("name", ["actions", "safe_action"])
def test_digest_tells_actions_apart(hybrid: Contract, name: str) -> None:
    others: dict[str, Any] = {
        "actions": (*hybrid.actions[:2], Choice("mode", ("active", "light", "sleep"))),
        "safe_action": (3.0, 0.0, 1.0),
    }
    assert replace(hybrid, **{name: others[name]}).digest() != hybrid.digest()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"actions": ()}, "0 actions, expected 1 to 8"),
        ({"actions": (POWER,) * 9, "safe_action": (0.0,) * 9}, "9 actions"),
        ({"safe_action": ()}, r"safe_action \(\) is none of the actions"),
        ({"safe_action": (1.0,)}, "is none of the actions"),
        ({"safe_action": (-5.0, -5.0)}, "is none of the actions"),
        ({"safe_action": (float("nan"),)}, "is none of the actions"),
        (
            {"actions": (Choice("a", ("x",), True),) * 2, "safe_action": (0.0, 0.0)},
            "several actions are masked",
        ),
    ],
)
def test_contract_that_makes_no_sense_is_refused(
    contract: Contract, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        replace(contract, **changes)
    data = contract.to_json() | json.loads(json.dumps(replace_json(changes)))
    with pytest.raises(BundleError, match=said):
        Contract.from_json(data)


def replace_json(changes: dict[str, Any]) -> dict[str, Any]:
    """Return changes as they stand in JSON."""
    return {
        name: [vars(one) for one in value] if name == "actions" else value
        for name, value in changes.items()
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("actions", None),
        ("actions", [3]),
        ("actions", [{"name": "power_db"}]),
        ("actions", [{"name": "power_db", "low": "x", "high": 0, "count": 2}]),
        ("actions", [{"name": "user", "labels": 3}]),
        ("safe_action", ["x"]),
        ("safe_action", None),
    ],
)
def test_json_of_another_form_is_refused(contract: Contract, name: str, value: object) -> None:
    with pytest.raises(BundleError, match="make the bundle again"):
        Contract.from_json(contract.to_json() | {name: value})


BINS = {"name": "p", "low": -20.0, "high": 0.0, "count": 21}


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ({"name": "user", "labels": "abc"}, "labels = 'abc', expected a list"),
        ({"name": "user", "labels": []}, "labels = "),
        ({"name": "user", "labels": ["a", ""]}, "labels = "),
        ({"name": "user", "labels": ["a", 3]}, "labels = "),
        ({"name": "user", "labels": {"a": 1}}, "labels = "),
        ({"name": "user", "labels": ["a"], "masked": 1}, "masked = 1, expected true or false"),
        ({"name": "", "labels": ["a"]}, "name = '', expected a name"),
        (BINS | {"count": "3"}, "count = '3', expected a whole number"),
        (BINS | {"count": 0}, "count = 0"),
        (BINS | {"count": 1}, "count = 1"),
        (BINS | {"count": 3.0}, "count = 3.0"),
        (BINS | {"count": True}, "count = True"),
        (BINS | {"low": "x"}, "low = 'x', expected a finite number$"),
        (BINS | {"low": float("nan")}, "low = nan"),
        (BINS | {"low": float("-inf")}, "low = -inf"),
        (BINS | {"low": -(10**400)}, "low = -10000"),
        (BINS | {"high": 1e39}, "high = 1e.39"),
        (BINS | {"high": None}, "high = None"),
        (BINS | {"high": False}, "high = False"),
        (BINS | {"high": -20.0}, "high = -20.0, expected a finite number above low"),
        (BINS | {"high": -20.0 + 1e-9}, "expected a finite number above low, also in float32"),
        (BINS | {"off": -20.0}, "off = -20.0, expected null or a finite number below low"),
        (BINS | {"off": -20.0 - 1e-9}, "below low, also in float32"),
        (BINS | {"off": float("nan")}, "off = nan"),
        (BINS | {"off": "x"}, "off = 'x'"),
        (BINS | {"name": None}, "name = None"),
    ],
)
def test_action_that_makes_no_sense_is_refused(
    contract: Contract, action: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleError) as caught:
        Contract.from_json(contract.to_json() | {"actions": [action]})
    (problem,) = caught.value.problems
    assert re.search(said, problem.removesuffix("; make the bundle again"))


def test_problems_of_all_actions_are_said_at_once(contract: Contract) -> None:
    actions = [
        BINS | {"count": 0, "low": "x", "off": "y"},
        {"name": "user", "labels": "abc", "masked": 1},
        {"name": "mode", "labels": ["a"]},
        {"name": "nothing"},
    ]
    changes = {"actions": actions, "returns": {"low": 0}, "safe_action": 3}
    with pytest.raises(BundleError) as caught:
        Contract.from_json(contract.to_json() | changes)
    said = str(caught.value)
    for problem in ("count = 0", "low = 'x'", "off = 'y'", "labels = 'abc'", "masked = 1"):
        assert said.count(problem) == 1
    assert "'mode'" not in said
    assert "'high'" in said  # of the action that is only named
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "actions",
        "safe_action",
        "returns",
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("task", "", "task = ''"),
        ("slot_s", 0, "slot_s = 0"),
        ("slot_s", "1", "slot_s = '1'"),
        ("features", [], "no features"),
        ("features", [{"name": "f", "unit": "", "low": 1, "high": 1}], "range of feature 'f'"),
        ("features", [{"name": "f", "unit": "", "low": "a", "high": "b"}], "range of feature 'f'"),
        ("reward_low", None, "reward_low = None"),
        ("reward_high", 0.0, "reward_high = 0.0, expected a finite number above reward_low"),
        ("returns", {"low": 0, "high": float("inf"), "count": 3}, "range of returns"),
        ("returns", {"low": 0, "high": 1, "count": "3"}, "count of returns = '3'"),
        ("discount", 1.1, "discount = 1.1"),
        ("latent_size", 0, "latent_size = 0"),
        ("latent_size", 16.0, "latent_size = 16.0"),
        ("latent_size", "24", "latent_size = '24', expected a whole number"),
        ("message_size", 0, "message_size = 0, expected a whole number, 1 to latent_size"),
        ("message_size", 25, "message_size = 25"),
        ("message_size", "16", "message_size = '16'"),
        ("horizon", "4", "horizon = '4'"),
        ("safe_action", ["-10"], "is none of the actions"),
        ("safe_action", [10**400], "is none of the actions"),
    ],
)
def test_value_that_makes_no_sense_is_refused(
    contract: Contract, name: str, value: object, said: str
) -> None:
    wrong = contract.to_json() | {name: value}
    with pytest.raises(BundleError, match=said):
        Contract.from_json(wrong)
    other = "horizon" if name != "horizon" else "latent_size"
    with pytest.raises(BundleError, match=f"{other} = 0") as caught:
        Contract.from_json(wrong | {other: 0})
    assert re.search(said, str(caught.value))  # both at once


def test_bound_that_float32_rounds_is_allowed() -> None:
    bins = ActionBins("p", -0.7, 0.1, 11, off=-0.9)
    bounds = np.array([-0.9, -0.7, 0.1])
    for values in (bounds, bounds.astype(np.float32)):
        assert allowed(bins, values)[0].all()
        for value in values:  # scalars compare as arrays do
            assert allowed(bins, np.array(value))[0]
    beyond = np.nextafter(bounds.astype(np.float32)[[0, 2]], np.array([-1, 1], dtype=np.float32))
    assert not allowed(bins, beyond)[0].any()
    assert not allowed(bins, np.array([1e300, -1e300, np.inf, np.nan]))[0].any()


def test_choice_is_never_rounded() -> None:
    """A task cuts an index off, so what is a little below 1 would be 0."""
    assert not allowed(Choice("a", ("x", "y")), np.array(1 - 1e-12))[0]


def test_json_of_an_earlier_version_is_refused(contract: Contract) -> None:
    data = contract.to_json()
    del data["safe_action"]
    data["action"] = data.pop("actions")[0]
    with pytest.raises(BundleError, match="make the bundle again"):
        Contract.from_json(data)


def test_what_lies_between_off_and_the_range_is_allowed_and_nothing_beyond() -> None:
    values = np.array([-30.1, -30.0, -25.0, -20.0, 0.0, 0.1, np.nan])
    assert allowed(POWER, values)[0].tolist() == [False, True, True, True, True, False, False]


@pytest.mark.parametrize(
    ("action", "valid"),
    [
        ([1, 6, 2], True),
        ([0, 6, 2], False),
        ([4, 6, 2], False),
        ([1.5, 6, 2], False),
        ([1, 6.1, 2], False),
        ([1, 6, np.nan], False),
        ([1, 6], False),
        ([1, 6, 2, 0], False),
    ],
)
def test_an_action_is_allowed_if_all_of_it_is(
    hybrid: Contract, action: list[float], valid: bool
) -> None:
    mask = np.array([False, True, False, True])
    assert hybrid.allows(np.array(action), mask) == valid


def test_without_a_mask_every_choice_is_allowed(hybrid: Contract) -> None:
    for user in range(4):
        assert hybrid.allows(np.array([user, 0.0, 0.0]))
