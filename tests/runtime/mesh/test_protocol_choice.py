"""Which version of MQTT is tried after each answer of a broker."""

from __future__ import annotations

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from networld_runtime.mesh.protocol_choice import ProtocolChoice


def refusal(name: str) -> ReasonCode:
    return ReasonCode(PacketTypes.CONNACK, name)


@pytest.mark.parametrize("answer", [None, refusal("Unsupported protocol version")])
def test_the_older_version_follows_at_once_whatever_the_broker_did(
    answer: ReasonCode | None,
) -> None:
    choice = ProtocolChoice("auto")
    assert choice.name == "5"
    assert choice.failed(answer)
    assert choice.name == "3.1.1"


def test_when_both_fail_there_is_no_hurry() -> None:
    choice = ProtocolChoice("auto")
    assert [choice.failed(None) for _ in range(6)] == [True, False, True, False, True, False]


@pytest.mark.parametrize("name", ["Bad user name or password", "Not authorized", "Server busy"])
def test_a_refusal_that_was_understood_changes_nothing(name: str) -> None:
    choice = ProtocolChoice("auto")
    assert not choice.failed(refusal(name))
    assert choice.name == "5"


def test_what_worked_is_kept_while_a_broker_goes_down() -> None:
    choice = ProtocolChoice("auto")
    choice.worked()
    assert not choice.failed(None)
    assert not choice.failed(None)
    choice.worked()
    assert not choice.failed(None)
    assert choice.name == "5"
    assert choice.failed(refusal("Unsupported protocol version"))  # another broker
    assert choice.name == "3.1.1"


def test_what_worked_is_given_up_after_three_ends_in_a_row() -> None:
    choice = ProtocolChoice("auto")
    choice.failed(None)
    choice.worked()
    names = []
    for _ in range(3):
        choice.failed(None)
        names.append(choice.name)
    assert names == ["3.1.1", "3.1.1", "5"]


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_a_configured_version_is_kept(version: str) -> None:
    choice = ProtocolChoice(version)
    assert not choice.failed(refusal("Unsupported protocol version"))
    assert choice.name == version
