"""The file of a recording: all that is written is read back, and nothing that it holds is trusted."""

from __future__ import annotations

import tempfile
import threading
import time
import zlib
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networld_runtime.errors import ConfigError, DataError
from networld_runtime.mesh import recorder as recorder_module
from networld_runtime.mesh.recorder import SMALLEST_LIMIT_BYTES, WAITING_BYTES, Recorder
from networld_runtime.mesh.recording import (
    FRAME,
    LARGEST_BODY_BYTES,
    LARGEST_PAYLOAD_BYTES,
    LARGEST_TOPIC_BYTES,
    MAGIC,
    RecordedMessage,
    Recording,
    RecordingEnd,
    RecordingHeader,
)

HEADER = RecordingHeader("test", 1.79e9, 12.5, "0.1.0")
EXAMPLE = (RecordedMessage(0.25, "networld/v1/test/a/message", b"\x95\x02", False, False),)
EXAMPLE_FILE = bytes.fromhex(
    # ["networld-recording", 1]
    "92 b2 6e6574776f726c642d7265636f7264696e67 01"
    # header: CRC-32, size 30; "test", 1.79e9, 12.5, "0.1.0"
    "92 ce 34bd8b86 c6 0000001e 94 a4 74657374 cb 41daac4ee0000000 cb 4029000000000000 a5 302e312e30"
    # message: CRC-32, size 43; 0.25, "networld/v1/test/a/message", two bytes, false, false
    "92 ce 810b5f6c c6 0000002b 95 cb 3fd0000000000000"
    "ba 6e6574776f726c642f76312f746573742f612f6d657373616765 c4 02 9502 c2 c2"
    # end: CRC-32, size 12; 0.25, 1, 0
    "92 ce 76f8947a c6 0000000c 93 cb 3fd0000000000000 01 00"
)


class Clock:
    """A clock that is set."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


messages = st.lists(
    st.builds(
        RecordedMessage,
        time_s=st.floats(0, 1e6),
        topic=st.text(max_size=40).filter(lambda text: text.isprintable()),
        payload=st.binary(max_size=80),
        retained=st.booleans(),
        published=st.booleans(),
    ),
    max_size=8,
).map(lambda made: sorted(made, key=lambda one: one.time_s))


def file_of(
    folder: str | Path, made: tuple[RecordedMessage, ...] | list[RecordedMessage], end: bool = True
) -> Path:
    """Write a recording without a recorder."""
    path = Path(folder) / "traffic.rec"
    last_s = made[-1].time_s if made else 0.0
    frames = [HEADER.pack(), *(one.pack() for one in made)]
    path.write_bytes(b"".join(frames + [RecordingEnd(last_s, len(made), 0).pack()] * end))
    return path


def framed(*fields: object) -> bytes:
    body = bytes(msgpack.packb(fields))
    return FRAME.pack(b"\x92\xce", zlib.crc32(body), b"\xc6", len(body)) + body


@given(messages)
def test_all_that_is_written_is_read_back(made: list[RecordedMessage]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(file_of(folder, made))
        assert recording.header == HEADER
        assert list(recording.messages()) == made
        assert recording.end == RecordingEnd(made[-1].time_s if made else 0.0, len(made), 0)
        assert recording.cut is None


@settings(max_examples=50)
@given(messages.filter(bool), st.data())
def test_a_file_that_is_cut_anywhere_holds_what_came_before(
    made: list[RecordedMessage], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(folder, made)
        whole = path.read_bytes()
        size = data.draw(st.integers(0, len(whole) - 1))
        path.write_bytes(whole[:size])
        if size < len(HEADER.pack()):
            with pytest.raises(DataError, match="byte"):
                Recording(path)
            return
        recording = Recording(path)
        found = list(recording.messages())
        assert found == made[: len(found)]
        assert recording.end is None
        assert recording.cut is not None
        ends = [len(HEADER.pack())]
        for one in made:
            ends.append(ends[-1] + len(one.pack()))
        assert len(found) == sum(end <= size for end in ends[1:])
        assert recording.cut.startswith(f"byte {max(end for end in ends if end <= size)}: ")


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from(["all", "after the header", "in a frame"]))
def test_random_bytes_are_an_error_or_a_cut_and_never_worse(raw: bytes, where: str) -> None:
    if where == "in a frame":
        raw = FRAME.pack(b"\x92\xce", zlib.crc32(raw), b"\xc6", len(raw)) + raw
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.rec"
        path.write_bytes(raw if where == "all" else HEADER.pack() + raw)
        try:
            recording = Recording(path)
            list(recording.messages())
        except DataError as error:
            told = str(error)
        else:
            told = recording.cut or ""
        assert "byte " in told


@settings(max_examples=100)
@given(messages.filter(bool), st.data())
def test_a_bit_that_is_turned_is_found(made: list[RecordedMessage], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = file_of(folder, made)
        raw = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, 8 * len(raw) - 1))
        raw[place // 8] ^= 1 << place % 8
        path.write_bytes(raw)
        try:
            recording = Recording(path)
            found = list(recording.messages())
        except DataError:
            return
        assert recording.cut is not None  # the size was turned, and is beyond the end now
        assert found == made[: len(found)]


def test_the_layout_is_the_one_that_is_documented(tmp_path: Path) -> None:
    path = file_of(tmp_path, EXAMPLE)
    assert path.read_bytes() == EXAMPLE_FILE
    stream = msgpack.Unpacker(raw=False)
    stream.feed(path.read_bytes())
    magic, *frames = stream
    assert magic == ["networld-recording", 1]
    assert all(zlib.crc32(body) == checksum for checksum, body in frames)
    assert [msgpack.unpackb(body) for _, body in frames] == [
        ["test", 1.79e9, 12.5, "0.1.0"],
        [0.25, "networld/v1/test/a/message", b"\x95\x02", False, False],
        [0.25, 1, 0],
    ]


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (framed(1.0, "a", b"", False), "neither a message nor an end"),
        (framed(1.0, "a", "text", False, False), "neither a message nor an end"),
        (framed(1.0, "a", b"", 0, False), "neither a message nor an end"),
        (framed(1, "a", b"", False, False), "time 1: expected"),
        (framed(float("nan"), "a", b"", False, False), "time nan: expected"),
        (framed(-1.0, "a", b"", False, False), "time -1.0: expected"),
        (framed(1e300, "a", b"", False, False), "time 1e[+]300: expected"),
        (framed(2.0, "a", b"", True, True) + framed(1.0, "a", b"", True, True), "time goes back"),
        (framed(1.0, "a", b"", True, True) + framed(0.5, 1, 0), "time goes back"),
        (framed(1.0, 2, 0), "1 messages were read, 2 were written"),
        (framed(1.0, 0, -1), "neither a message nor an end"),
        (framed(1.0, 1, 0) + framed(1.0, "a", b"", True, True), "a frame after the end"),
        (framed(1.0, "a" * 1025, b"", True, True), "not msgpack as expected"),
        (framed(), "neither a message nor an end"),
        (b"\x92\xce\0\0\0\0\xc6" + (LARGEST_BODY_BYTES + 1).to_bytes(4, "big"), "at most 104"),
        (b"\0" * 50, "no frame begins with 00 00"),
        (framed(1.0, "a", b"payload", True, True)[:-3] + b"AAA", "checksum"),
    ],
)
def test_every_frame_is_checked(frames: bytes, said: str, tmp_path: Path) -> None:
    path = file_of(tmp_path, EXAMPLE, end=False)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes() + frames)
    found: list[RecordedMessage] = []
    with pytest.raises(DataError, match=said) as caught:
        found.extend(Recording(path).messages())
    offset = int(str(caught.value).split("byte ")[1].split(":")[0])
    assert size <= offset < path.stat().st_size
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "no recording"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no recording"),
        (MAGIC, "no recording"),
        (MAGIC + b"\x02" + HEADER.pack()[20:], "version 2, this software reads version 1"),
        (MAGIC + b"\x01", "cut within its header"),
        (MAGIC + b"\x01" + framed("test", 1, 2.0, "0"), "header: expected"),
        (MAGIC + b"\x01" + framed("test", -1.0, 2.0, "0"), "time -1.0"),
        (MAGIC + b"\x01" + framed("t" * 300, 1.0, 2.0, "0"), "more than 256"),
    ],
)
def test_a_header_that_is_none(raw: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=said) as caught:
        Recording(path)
    assert caught.value.exit_code == 6


def test_a_recorder_writes_what_it_is_told_with_the_time(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "traffic.rec"
    with Recorder(path, "test", clock=clock, wall_clock=lambda: 1.79e9) as recorder:
        recorder.record("a", b"1", retained=True)
        clock.now_s += 1.5
        recorder.record("b", b"", published=True)
        recorder.record("c" * (LARGEST_TOPIC_BYTES + 1), b"")
        recorder.record("\ud800", b"")
        recorder.record("d", bytes(LARGEST_PAYLOAD_BYTES + 1))
        clock.now_s += 0.5
    recording = Recording(path)
    assert (recording.header.started_utc_s, recording.header.started_monotonic_s) == (1.79e9, 100.0)
    assert list(recording.messages()) == [
        RecordedMessage(0.0, "a", b"1", retained=True),
        RecordedMessage(1.5, "b", b"", published=True),
    ]
    assert recording.end == RecordingEnd(2.0, 2, 3)
    assert recorder.counters["too_large"] == recorder.missing == 3
    recorder.close()  # once more changes nothing
    assert recorder.counters["bytes"] == path.stat().st_size


def test_a_recording_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    with Recorder(path, "test") as recorder:
        recorder.record("a", b"1")
        deadline_s = time.monotonic() + 10
        recording = Recording(path)
        while not list(recording.messages()):
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
        assert recording.cut is not None
        assert "ends without an end" in recording.cut


def test_the_limit_ends_a_recording_and_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    with Recorder(path, "test", limit_bytes=SMALLEST_LIMIT_BYTES) as recorder:
        for _ in range(100):
            recorder.record("topic", bytes(900))
        recorder.record("t", b"")  # would fit, but there is a hole before it
    recording = Recording(path)
    count = len(list(recording.messages()))
    assert count == 4
    assert recording.end is not None
    assert (recording.end.messages, recording.end.missing) == (count, 101 - count)
    assert recorder.counters["full"] == 101 - count
    assert path.stat().st_size <= SMALLEST_LIMIT_BYTES


def test_a_disk_that_is_too_slow_costs_messages_and_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "FLUSH_S", 3600.0)  # as if it never came to write
    path = tmp_path / "traffic.rec"
    payload = bytes(LARGEST_PAYLOAD_BYTES // 2)
    with Recorder(path, "test") as recorder:
        for _ in range(20):
            recorder.record("topic", payload)
        assert len(recorder._waiting) <= WAITING_BYTES
    kept = WAITING_BYTES // len(payload) - 1
    assert recorder.counters["too_fast"] == 20 - kept
    assert len(list(Recording(path).messages())) == kept


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_ends_a_recording_without_an_exception() -> None:
    class Full(Recorder):
        def _write(self) -> None:
            if not isinstance(self._file, type(full)):
                pytest.fail("not the device")
            self._file = full
            super()._write()

    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    with tempfile.TemporaryDirectory() as folder, Full(Path(folder) / "a", "test") as recorder:
        assert recorder.problem == "No space left on device"
        recorder.record("a", b"")
        assert recorder.counters["failed"] == recorder.missing == 1
    assert full.closed


def test_many_threads_record_in_the_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    with Recorder(path, "test") as recorder:

        def record() -> None:
            for _ in range(500):
                recorder.record("t", bytes(50))

        threads = [threading.Thread(target=record) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(Recording(path).messages())) == 2000  # a time that goes back would be an error


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    path = tmp_path / "traffic.rec"
    path.write_bytes(b"precious")
    with pytest.raises(ConfigError, match="is there already"):
        Recorder(path, "test")
    assert path.read_bytes() == b"precious"
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        Recorder(tmp_path / "nowhere" / "traffic.rec", "test")
    with pytest.raises(ConfigError, match="at least 4096"):
        Recorder(tmp_path / "small.rec", "test", limit_bytes=100)
