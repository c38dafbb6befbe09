"""MQTT 3.1.1 by hand: packets as bytes, and a client that does what no library would let it do."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

LONGEST_HEADER_BYTES = 5
PATIENCE_S = 20.0
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 1, 2, 3, 4, 8, 9, 14
_CLEAN = 0x02


class PacketReader:
    """Cuts a stream of bytes into MQTT packets, by their fixed headers alone."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._broken = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the packets that are complete now; what is not MQTT is passed as it comes."""
        self._bytes += chunk
        while self._bytes:
            length = len(self._bytes) if self._broken else self._length()
            if length is None or length > len(self._bytes):
                return
            complete = bytes(self._bytes[:length])
            del self._bytes[:length]
            yield complete

    def rest(self) -> bytes:
        """Return the beginning of a packet that never became one."""
        rest = bytes(self._bytes)
        self._bytes.clear()
        return rest

    def _length(self) -> int | None:
        """Return the length of the first packet with its header, None if that is not known yet."""
        length = 0
        for place, byte in enumerate(self._bytes[1:LONGEST_HEADER_BYTES]):
            length |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                return 2 + place + length
        if len(self._bytes) < LONGEST_HEADER_BYTES:
            return None
        self._broken = True
        return len(self._bytes)


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Return a packet with its fixed header."""
    length, left = bytearray(), len(body)
    while True:
        left, byte = left >> 7, left & 0x7F
        length.append(byte | (0x80 if left else 0))
        if not left:
            return bytes([kind << 4 | flags]) + bytes(length) + body


def publish(topic: str, payload: bytes, quality: int = 0, retain: bool = False) -> bytes:
    """Return a PUBLISH packet; with QoS 1 its identifier is always 1."""
    identifier = b"\0\1" if quality else b""
    return packet(PUBLISH, _text(topic) + identifier + payload, quality << 1 | retain)


def is_qos_0_publish(data: bytes) -> bool:
    """Return whether a packet is one that MQTT does not promise to deliver."""
    return data[0] >> 4 == PUBLISH and not data[0] & 0x06


class RawClient:
    """One connection without a library: it reads when it is told to, or never.

    Args:
        port: Port of the broker, on loopback.
        client_id: Its name.
        keep_alive_s: The broker ends a connection that is silent for one and a half times as long; 0: never.
        receive_bytes: Size of the socket's buffer; small for who wants to be slow.
    """

    def __init__(
        self, port: int, client_id: str, keep_alive_s: int = 0, receive_bytes: int | None = None
    ) -> None:
        self._packets = PacketReader()
        self.socket = socket.socket()
        if receive_bytes is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect(("127.0.0.1", port))
        head = _text("MQTT") + bytes([4, _CLEAN]) + struct.pack(">H", keep_alive_s)
        self.socket.sendall(packet(CONNECT, head + _text(client_id)))
        assert self.read()[3] == 0, "the broker refuses"

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def subscribe(self, topic_filter: str, quality: int = 0) -> None:
        """Subscribe and wait for the answer."""
        body = b"\0\1" + _text(topic_filter) + bytes([quality])
        self.socket.sendall(packet(SUBSCRIBE, body, 2))
        while self.read()[0] >> 4 != SUBACK:
            pass

    def publish(self, topic: str, *payloads: bytes, retain: bool = False) -> None:
        """Send payloads with QoS 0, all in one piece."""
        self.socket.sendall(b"".join(publish(topic, one, retain=retain) for one in payloads))

    def read(self) -> bytes:
        """Return the next packet; raises ConnectionError when the connection has ended."""
        deadline_s = time.monotonic() + PATIENCE_S
        ready = next(self._packets.feed(b""), None)
        while ready is None:
            assert time.monotonic() < deadline_s, "no packet came"
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ConnectionError("the broker ended the connection")
            ready = next(self._packets.feed(chunk), None)
        return ready

    def payloads(self, count: int) -> list[bytes]:
        """Return the payloads of the next QoS 0 publications."""
        found: list[bytes] = []
        while len(found) < count:
            one = self.read()
            if one[0] >> 4 == PUBLISH:
                start = 1 + next(place for place, byte in enumerate(one[1:], 1) if byte < 0x80)
                size = int.from_bytes(one[start : start + 2], "big")
                found.append(one[start + 2 + size :])
        return found


def _text(text: str) -> bytes:
    return struct.pack(">H", len(text.encode())) + text.encode()
