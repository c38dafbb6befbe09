"""A reader of births and states made from docs/protocol.md alone says what the base station says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import second_births as second
from hypothesis import given, settings
from hypothesis import strategies as st
from second_decoder import Rejected

from networld_runtime.errors import MessageError
from networld_runtime.mesh import birth
from networld_runtime.mesh.discovery import Discovery, Wanted

BIRTH: dict[str, Any] = {
    "version": 1,
    "epoch": 7,
    "site": "test",
    "cell": "b",
    "position_m": [1, -2.5],
    "contract": "ab" * 32,
    "slot_s": 0.1,
    "task": "power",
    "neighbours": ["c"],
}
STATE = {"state": "online", "epoch": 7}
SINGLE = (None, True, -1, 0, 1, 2, 1.0, 10**40, 2**32 - 1, 2**32, "", "1", "b", "lost", "offline")
LISTS: tuple[Any, ...] = (
    [],
    [1],
    [1, 2],
    [1, 2, 3],
    ["a", 1],
    [True, 1],
    [1e7, 0],
    [-1e8, 0],
    [10**400, 0],
    {},
)
PROPERTY = settings(deadline=None, max_examples=2000)


def reason(read: Callable[[], Any]) -> str:
    """Why it is rejected, or that it is taken."""
    try:
        read()
    except Rejected as rejected:
        return str(rejected)
    except MessageError as error:
        return error.reason
    return "taken"


def changes(keys: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), st.sampled_from([*SINGLE, *LISTS]), max_size=2)


@PROPERTY
@given(changes([*BIRTH, "another"]), st.sets(st.sampled_from([*BIRTH]), max_size=1))
def test_both_say_the_same_of_births(changed: dict[str, Any], removed: set[str]) -> None:
    told = {key: value for key, value in {**BIRTH, **changed}.items() if key not in removed}
    payload = json.dumps(told).encode()
    mine = reason(lambda: second.read_birth(payload, "test", "b"))
    theirs = reason(lambda: birth.read_birth(payload, "test", "b"))
    assert mine == theirs


@PROPERTY
@given(changes(["state", "epoch", "another"]))
def test_both_say_the_same_of_states(changed: dict[str, Any]) -> None:
    payload = json.dumps({**STATE, **changed}).encode()
    assert reason(lambda: second.read_state(payload)) == reason(lambda: birth.read_state(payload))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"", "size"),
        (b" " * 256 + json.dumps(STATE).encode(), "size"),
        (b" " * 200 + json.dumps(STATE).encode(), "taken"),
        (b'{"state": "online", "epoch": NaN}', "malformed"),
        (b'{"state": "online", "epoch": 7, "another": -Infinity}', "malformed"),
        (b'{"state": "online", "epoch": 7.0}', "malformed"),
        (b'{"state": "online", "epoch": 7}{}', "malformed"),
        (b'{"state": "online", "epoch": 7, "another": "\xff"}', "malformed"),
        (b"[" * 256, "malformed"),
        (b'["online", 7]', "malformed"),
    ],
)
def test_payloads_that_are_no_objects(payload: bytes, expected: str) -> None:
    assert reason(lambda: second.read_state(payload)) == expected
    assert reason(lambda: birth.read_state(payload)) == expected


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("b", "c", "-b", "B")),
            st.sampled_from(("birth", "online", "offline", "lost")),
            st.integers(0, 5),
        ),
        max_size=30,
    )
)
def test_both_ignore_the_same_old_boots(steps: list[tuple[str, str, int]]) -> None:
    wanted = Wanted("test", "a", BIRTH["contract"], 0.1, (0.0, 0.0), 6, None, 1.0)
    discovery, site, expected = Discovery(wanted, lambda: 0.0), second.Site(), Counter[str]()
    for cell, what, epoch in steps:
        topic = f"networld/v1/test/{cell}/{'birth' if what == 'birth' else 'state'}"
        told = {**BIRTH, "cell": cell} if what == "birth" else {"state": what}
        payload = json.dumps({**told, "epoch": epoch}).encode()
        receive = discovery.receive_birth if what == "birth" else discovery.receive_state
        receive(topic, payload, False)
        expected[reason(partial(site.take, topic, payload))] += 1
    del expected["taken"]
    assert discovery.rejected == expected
