"""Contracts: what they hold survives JSON, and what makes no sense is refused."""

from __future__ import annotations

import json
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
