"""The short way past paho reads what paho reads, or leaves it to paho."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import paho.mqtt.client as mqtt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from networld_runtime.mesh.publication import read_publication

VERSIONS = [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5]


def by_paho(version: MQTTProtocolVersion, packet: bytes) -> list[tuple[str, bytes, bool]]:
    """Return the messages that paho takes from a packet."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=version)
    heard: list[tuple[str, bytes, bool]] = []
    client.on_message = lambda _, __, one: heard.append((one.topic, bytes(one.payload), one.retain))
    left = bytearray(packet)

    def receive(size: int) -> bytes:
        if not left:
            raise BlockingIOError
        piece = bytes(left[:size])
        del left[:size]
        return piece

    nothing = SimpleNamespace(recv=receive, close=lambda: None, fileno=lambda: -1)
    client._sock = nothing
    client.suppress_exceptions = True
    client.loop_read()
    client._sock = None
    return heard


def packet_of(topic: bytes, payload: bytes, version: MQTTProtocolVersion, first: int) -> bytes:
    body = struct.pack("!H", len(topic)) + topic
    body += b"\0" * (version == MQTTProtocolVersion.MQTTv5) + payload
    length, rest = bytearray(), len(body)
    while True:
        length.append(rest % 128 | (0x80 if rest >= 128 else 0))
        rest //= 128
        if not rest:
            return bytes([first]) + bytes(length) + body


@pytest.mark.parametrize("version", VERSIONS)
@given(
    topic=st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=40),
    payload=st.binary(max_size=400),
    retained=st.booleans(),
    before=st.binary(max_size=5),
    after=st.binary(max_size=5),
)
def test_reads_what_paho_reads(
    version: MQTTProtocolVersion,
    topic: str,
    payload: bytes,
    retained: bool,
    before: bytes,
    after: bytes,
) -> None:
    packet = packet_of(topic.encode(), payload, version, 0x31 if retained else 0x30)
    found = read_publication(
        before + packet + after, len(before), properties=version == MQTTProtocolVersion.MQTTv5
    )
    assert found is not None
    assert found.end == len(before) + len(packet)
    assert by_paho(version, packet) == [(found.topic, found.payload, found.retained)]
    for length in range(len(packet)):
        assert (
            read_publication(packet[:length], 0, properties=version == MQTTProtocolVersion.MQTTv5)
            is None
        )


@pytest.mark.parametrize("version", VERSIONS)
@given(st.binary(min_size=1, max_size=40), st.sampled_from([0x30, 0x31, 0x32, 0x38, 0x40, 0xD0]))
def test_of_any_bytes_it_takes_only_what_paho_takes(
    version: MQTTProtocolVersion, body: bytes, first: int
) -> None:
    packet = bytes([first, len(body)]) + body
    found = read_publication(packet, 0, properties=version == MQTTProtocolVersion.MQTTv5)
    if found is not None:
        assert found.end == len(packet)
        assert by_paho(version, packet) == [(found.topic, found.payload, found.retained)]


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x30",
        b"\x30\x00\x00\x00",
        b"\x30\x01\x00\x00",
        b"\x30\xff\xff\x7f" + bytes(40),  # a length of three bytes
        b"\x30\x04\x00\x02\xff\xfe",  # no text
        b"\x30\x02\x00\x00",  # no topic
        b"\x32\x05\x00\x01x\x00\x01",  # quality 1
    ],
)
def test_leaves_the_rest_to_paho(packet: bytes) -> None:
    assert read_publication(packet, 0, properties=False) is None


def test_leaves_properties_to_paho() -> None:
    packet = b"\x30\x0a\x00\x01x\x05\x02\x00\x00\x00\x09y"
    assert read_publication(packet, 0, properties=True) is None
