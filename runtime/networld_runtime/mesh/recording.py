"""Recorded traffic as a file: what it looks like, and how it is read.

A file is a stream of msgpack objects that any msgpack library reads. First comes the array
`["networld-recording", version]`, then frames. A frame is the array `[CRC-32 of the body, body]`; its
first 11 bytes have always the same layout, so that a reader knows the size before it reads on:

| bytes | value |
|---|---|
| 0, 1 | `92 ce`: an array of two, a uint32 follows |
| 2 to 5 | CRC-32 of the body, most significant byte first |
| 6 | `c6`: bytes follow |
| 7 to 10 | how many, most significant byte first |

The body is a msgpack array too. The first frame is the header, the last one the end; a file without an
end was cut, for instance by a crash, and holds all the same what came before.

| frame | entries |
|---|---|
| header | site; start in UTC, seconds since 1970; start by the monotonic clock, seconds; software |
| message | seconds since the start; topic; payload; retained; published by the recorder's own cell |
| end | seconds since the start; messages in the file; messages that are missing in it |
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgpack

from networld_runtime.errors import DataError

VERSION = 1
MAGIC = b"\x92\xb2networld-recording"
"""Followed by one byte, the version."""
FRAME = struct.Struct(">2sIcI")
LARGEST_TOPIC_BYTES = 1024
LARGEST_PAYLOAD_BYTES = 1 << 20
LARGEST_SITE_BYTES = 256
LARGEST_BODY_BYTES = LARGEST_PAYLOAD_BYTES + LARGEST_TOPIC_BYTES + 64
LONGEST_S = 1e10
_ARRAY_OF_2, _BYTES = b"\x92\xce", b"\xc6"
_LARGEST_COUNT = 2**63


@dataclass(frozen=True)
class RecordingHeader:
    """What a recording says about itself.

    Attributes:
        site: Name of the site that was recorded; `+` for all sites of a broker.
        started_utc_s: When it began, in seconds since 1970, by the recorder's wall clock.
        started_monotonic_s: The same moment by its monotonic clock, to compare with other files of that boot.
        software: Version of the recorder.
    """

    site: str
    started_utc_s: float
    started_monotonic_s: float
    software: str

    def pack(self) -> bytes:
        """Return the beginning of a file."""
        fields = (self.site, self.started_utc_s, self.started_monotonic_s, self.software)
        return MAGIC + bytes([VERSION]) + _pack(fields)


@dataclass(frozen=True)
class RecordedMessage:
    """One payload on one topic.

    Attributes:
        time_s: Seconds since the recording began; never less than of the message before.
        topic: Its topic.
        payload: What it carried.
        retained: Whether the broker had kept it from before, or was asked to keep it.
        published: Whether the recorder's own cell had published it; else it was received.
    """

    time_s: float
    topic: str
    payload: bytes
    retained: bool = False
    published: bool = False

    def pack(self) -> bytes:
        """Return its frame.

        Raises:
            ValueError: Topic or payload are too large, or the topic is no text.
        """
        topic_bytes = len(self.topic.encode())
        if topic_bytes > LARGEST_TOPIC_BYTES or len(self.payload) > LARGEST_PAYLOAD_BYTES:
            raise ValueError(f"topic of {topic_bytes}, payload of {len(self.payload)} bytes")
        return _pack((self.time_s, self.topic, self.payload, self.retained, self.published))


@dataclass(frozen=True)
class RecordingEnd:
    """The last frame of a recording that was closed.

    Attributes:
        time_s: Seconds since the recording began.
        messages: How many are in the file.
        missing: How many are not: too large, too many at once for the disk, or beyond the limit.
    """

    time_s: float
    messages: int
    missing: int

    def pack(self) -> bytes:
        """Return its frame."""
        return _pack((self.time_s, self.messages, self.missing))


class Recording:
    """A recording on disk, read with the memory of one message; nothing in it is trusted.

    Args:
        path: The file.

    Attributes:
        header: Who recorded, when.
        end: The end, once `messages` has come to it; None of a file that was cut.
        cut: How the file was cut, once `messages` has come to it; None if it was not.

    Raises:
        DataError: It is no recording, of a newer version, or its header is damaged.
        OSError: It cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.end: RecordingEnd | None = None
        self.cut: str | None = None
        with path.open("rb") as file:
            self.header, self._begin = self._read_header(file)

    def messages(self) -> Iterator[RecordedMessage]:
        """Go through all messages; `end` and `cut` are known afterwards.

        Raises:
            DataError: The file is damaged; says at which byte. What was before is good.
        """
        self.end = self.cut = None
        last_s, count = 0.0, 0
        with self.path.open("rb") as file:
            file.seek(self._begin)
            while True:
                offset = file.tell()
                body = self._read_body(file, offset)
                if body is None:
                    return
                if self.end is not None:
                    raise self._error(offset, "a frame after the end")
                frame = self._frame(self._unpack(body, offset), offset)
                if frame.time_s < last_s:
                    times = f"from {last_s:.6f} s to {frame.time_s:.6f} s"
                    raise self._error(offset, f"time goes back, {times}")
                last_s = frame.time_s
                if isinstance(frame, RecordedMessage):
                    count += 1
                    yield frame
                elif frame.messages == count:
                    self.end = frame
                else:
                    raise self._error(
                        offset, f"{count} messages were read, {frame.messages} were written"
                    )

    def _read_header(self, file: BinaryIO) -> tuple[RecordingHeader, int]:
        start = file.read(len(MAGIC) + 1)
        if not start.startswith(MAGIC) or len(start) == len(MAGIC):
            raise self._error(0, "this is no recording; expected a file of networld mesh --record")
        if start[-1] != VERSION:
            raise self._error(
                len(MAGIC),
                f"recording of version {start[-1]}, this software reads version {VERSION}; "
                "read it with the software that made it, or a newer one",
            )
        offset = len(start)
        body = self._read_body(file, offset)
        if body is None:
            raise self._error(offset, "the file was cut within its header; nothing is in it")
        fields = self._unpack(body, offset)
        if [type(one) for one in fields] != [str, float, float, str]:
            raise self._error(offset, "header: expected site, two times and the software")
        site, utc_s, monotonic_s, software = fields
        self._time(utc_s, offset), self._time(monotonic_s, offset)
        if max(len(site), len(software)) > LARGEST_SITE_BYTES:
            raise self._error(
                offset, f"header: a name of more than {LARGEST_SITE_BYTES} characters"
            )
        return RecordingHeader(site, utc_s, monotonic_s, software), file.tell()

    def _read_body(self, file: BinaryIO, offset: int) -> bytes | None:
        """Return the body of the next frame; None at the end of the file, also where a frame is cut."""
        head = file.read(FRAME.size)
        if not head:
            if self.end is None:
                self.cut = f"byte {offset}: ends without an end; whoever wrote it did not close it"
            return None
        if len(head) < FRAME.size:
            self.cut = f"byte {offset}: cut after {len(head)} bytes of a frame"
            return None
        array, checksum, kind, size = FRAME.unpack(head)
        if (array, kind) != (_ARRAY_OF_2, _BYTES):
            raise self._error(offset, f"no frame begins with {head.hex(' ')}")
        if size > LARGEST_BODY_BYTES:
            raise self._error(offset, f"a frame of {size} bytes, at most {LARGEST_BODY_BYTES}")
        body = file.read(size)
        if len(body) < size:
            self.cut = (
                f"byte {offset}: cut after {len(head) + len(body)} bytes "
                f"of a frame of {len(head) + size}"
            )
            return None
        if zlib.crc32(body) != checksum:
            raise self._error(offset, "the checksum does not fit; the file was changed or damaged")
        return body

    def _unpack(self, body: bytes, offset: int) -> list[Any]:
        try:
            fields = msgpack.unpackb(
                body,
                max_array_len=5,
                max_map_len=0,
                max_str_len=LARGEST_TOPIC_BYTES,
                max_bin_len=LARGEST_PAYLOAD_BYTES,
                max_ext_len=0,
            )
        except Exception as error:  # msgpack raises several kinds; all mean the same to us
            raise self._error(
                offset, f"not msgpack as expected ({type(error).__name__})"
            ) from error
        if not isinstance(fields, list):
            raise self._error(offset, "not an array")
        return fields

    def _frame(self, fields: list[Any], offset: int) -> RecordedMessage | RecordingEnd:
        kinds = [type(one) for one in fields[1:]]
        if kinds == [str, bytes, bool, bool]:
            return RecordedMessage(self._time(fields[0], offset), *fields[1:])
        if kinds == [int, int] and all(0 <= one < _LARGEST_COUNT for one in fields[1:]):
            return RecordingEnd(self._time(fields[0], offset), *fields[1:])
        raise self._error(offset, "neither a message nor an end")

    def _time(self, value: object, offset: int) -> float:
        if type(value) is not float or not math.isfinite(value) or not 0 <= value <= LONGEST_S:
            raise self._error(offset, f"time {value!r:.40}: expected 0 to {LONGEST_S:g} s")
        return value

    def _error(self, offset: int, problem: str) -> DataError:
        return DataError(str(self.path), f"byte {offset}: {problem}")


def _pack(fields: tuple[object, ...]) -> bytes:
    body = bytes(msgpack.packb(fields))
    return FRAME.pack(_ARRAY_OF_2, zlib.crc32(body), _BYTES, len(body)) + body
