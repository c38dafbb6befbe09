"""Others at the broker that babble, never read, take a cell's name or are long gone: they are counted."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from brokers import Mosquitto, which
from mesh_watch import Watch
from raw_mqtt import RawClient, publish
from small_mesh import EPOCH, SITE, Mesh, MeshCell, cell_name, mesh, slot_values

from networld_runtime.config import BrokerConfig
from networld_runtime.contract import Contract
from networld_runtime.mesh.message import MeanFieldMessage, encode
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.report import state

CELLS = 3
STRANGER = 6
"""Number of a neighbour of every cell that a test plays itself."""
BABBLE_PER_S = 1000
REASONS = {"size", "malformed", "version", "contract", "range", "stale", "flood"}
SLOW_PAYLOAD_BYTES = 200_000
ROOM_BYTES = 64 << 20
"""More than the shipped configuration lets wait for one client, and less than what is sent to it."""


def message(contract: Contract, slot: int, place: int = STRANGER) -> bytes:
    """Return what a cell in this place says in a slot."""
    values = np.zeros(contract.message_size, dtype=np.float32)
    values[2 * place : 2 * place + 2] = slot_values(slot)
    return encode(MeanFieldMessage(EPOCH, slot, values, 1.0), contract)


@contextmanager
def meanwhile(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Do something in a thread until the block ends; what it raises is raised."""
    ended = threading.Event()
    raised: list[BaseException] = []

    def guarded() -> None:
        try:
            work(ended)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(20)
    assert not raised, raised


def test_a_babbling_neighbour_is_counted_and_used_as_any_other(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    """Half of it is garbage; the other half are messages of its slot, each of them many times."""
    topic = CellTopics(SITE, cell_name(STRANGER)).message
    garbage = [b"", b"\xc1", os.urandom(37), os.urandom(600), b"\x95" + os.urandom(36)]
    sent = 0
    ports = [mosquitto.port] * CELLS
    with mesh(contract, tmp_path, ports, strangers=[STRANGER]) as cells:

        def babble(ended: threading.Event) -> None:
            nonlocal sent
            with RawClient(mosquitto.port, "babbler") as client:
                begin_s, burst = time.monotonic(), 20
                while not ended.is_set():
                    valid = message(contract, cells.slot)
                    some = [garbage[n % 5] if n % 2 else valid for n in range(burst)]
                    client.publish(topic, *some)
                    sent += burst
                    time.sleep(max(begin_s + sent / BABBLE_PER_S - time.monotonic(), 0))
                client.subscribe("nothing")  # answered when all before it has been taken

        with meanwhile(babble):
            babbled = cells.run(60)
        cells.assert_all_acted()
        assert cells.overran == 0
        assert sent > 1000
        name = cell_name(STRANGER)
        heard = [
            name in cell.records[slot - 1].used for cell in cells.cells.values() for slot in babbled
        ]
        assert sum(heard) > 0.9 * len(heard)
        for cell in cells.cells.values():
            others = [one for one in cell.neighbours if one != name]
            assert not any(cell.rejected(one) for one in others)

            def counted(cell: MeshCell = cell) -> int:
                return sum(cell.rejected(name).values()) + _accepted(cells, cell)

            cells.run_until(lambda counted=counted: counted() == sent)  # type: ignore[misc]
            # Some of it may not even have been read: that is a flood.
            useless = cell.rejected(name)
            assert sum(useless.values()) > 0.8 * sent
            assert {"size", "malformed", "stale"} <= set(useless) <= REASONS
            assert cell.counters()["transport"].get("handler_errors", 0) == 0


def _accepted(cells: Mesh, cell: MeshCell) -> int:
    """Return how many messages of the babbler a cell took: all that it took, less what others sent."""
    others = [cells.cells[one] for one in cell.neighbours if one in cells.cells]
    sent = sum(int(one.counters()["messages_sent"]) for one in others)
    return int(cell.counters()["messages_received"]) - sent


def test_a_consumer_that_reads_nothing_slows_nobody_and_costs_a_bounded_memory(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with (
        mesh(contract, tmp_path, [mosquitto.port] * CELLS) as cells,
        RawClient(mosquitto.port, "slow-0", receive_bytes=4096) as unreliable,
        RawClient(mosquitto.port, "slow-1", receive_bytes=4096) as reliable,
        RawClient(mosquitto.port, "source") as source,
    ):
        unreliable.subscribe("networld/#")
        reliable.subscribe("networld/#", quality=1)
        payload = publish("networld/v1/test/x/log", bytes(SLOW_PAYLOAD_BYTES), quality=1)
        sent = 0

        def flood(ended: threading.Event) -> None:
            nonlocal sent
            while not ended.is_set():
                source.socket.sendall(payload)
                source.read()
                sent += len(payload)

        before = mosquitto.memory_bytes()
        with meanwhile(flood):
            flooded = cells.run(40)
            cells.run_until(lambda: sent > 4 * ROOM_BYTES)
        grown = mosquitto.memory_bytes() - before
        assert sent > 4 * ROOM_BYTES
        assert 0 < grown < 2 * ROOM_BYTES
        cells.assert_all_acted()
        assert cells.overran == 0
        assert cells.share(flooded) > 0.9
        assert all(cell.transport.counters["connections"] == 1 for cell in cells.cells.values())


def test_another_client_of_the_same_name_costs_slots_and_no_cell(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh(contract, tmp_path, [mosquitto.port] * CELLS) as cells:
        cell = cells.cells["cell-0"]
        rival = MqttTransport(BrokerConfig(port=mosquitto.port), "networld-cell-0")
        rival.connect()
        # Each throws the other out: that one name is used twice is seen by counting connections.
        cells.run_until(lambda: cell.transport.counters["connections"] >= 3)
        rival.close()
        cells.run_until(cells.all_hear_all)
        assert rival.counters["connections"] >= 2
        cells.assert_all_acted()
        assert cells.overran == 0
        others = [one for name, one in cells.cells.items() if name != "cell-0"]
        assert all(one.transport.counters["connections"] == 1 for one in others)


def test_a_will_of_an_earlier_boot_does_not_silence_a_cell(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    """The state says so with the earlier boot's epoch, so whoever reads it can tell."""
    with (
        mesh(contract, tmp_path, [mosquitto.port] * CELLS) as cells,
        Watch(mosquitto.port) as watch,
    ):
        topic = CellTopics(SITE, "cell-0").state
        with RawClient(mosquitto.port, "late") as late:
            late.publish(topic, state("lost", EPOCH - 1), retain=True)
            watch.until_state("cell-0", "lost")
        after = cells.run(10)
        assert all(
            "cell-0" in cells.cells[name].records[slot - 1].used
            for name in ("cell-1", "cell-2")
            for slot in after[2:]
        )
        told = {leaf: json.loads(watch.newest[f"cell-0/{leaf}"]) for leaf in ("state", "birth")}
        assert told["state"]["epoch"] < told["birth"]["epoch"] == EPOCH
        cells.assert_all_acted()


def test_what_a_removed_cell_left_behind_is_nobody(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    """Its birth, its state and even its last words, as a broker keeps them."""
    topics = CellTopics(SITE, cell_name(STRANGER))
    birth = json.dumps({"version": 1, "epoch": EPOCH, "neighbours": ["cell-0"]}).encode()
    with RawClient(mosquitto.port, "removed") as removed:
        for topic, payload in (
            (topics.birth, birth),
            (topics.state, state("online", EPOCH)),
            (topics.message, message(contract, 1)),
        ):
            removed.publish(topic, payload, retain=True)
    ports = [mosquitto.port] * CELLS
    with mesh(contract, tmp_path, ports, strangers=[STRANGER]) as cells:
        cells.run(10)
        cells.assert_all_acted()
        for cell in cells.cells.values():
            assert not any(cell_name(STRANGER) in record.used for record in cell.records)
            assert cell.transport.counters["retained"] == 1
            counters = cell.counters()
            assert counters["message_ages_s"][cell_name(STRANGER)] is None
            assert counters["slots_missing"][cell_name(STRANGER)] == cells.slot


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Mosquitto]:
    """A mosquitto that keeps what is retained, on a disk of a few pages."""
    for program in ("mosquitto", "unshare", "mount"):
        if which(program) is None:
            pytest.skip(f"{program} is not installed")
    disk = tmp_path / "disk"
    disk.mkdir()
    own = ["unshare", "--user", "--mount", "--map-root-user", "sh", "-c"]
    own.append(f'mount -t tmpfs -o size=64k none {disk} && exec "$@"')
    tried = subprocess.run([*own, "sh", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no disk of its own without root: {tried.stderr.strip()}")

    class FullDisk(Mosquitto):
        def command(self) -> list[str]:
            return [*own, "sh", *super().command()]

    more = f"persistence_location {disk}/\nautosave_interval 10\nautosave_on_changes true"
    broker = FullDisk(tmp_path, {"persistence": "true"}, more)
    with broker:
        yield broker
    print(broker.log())


def test_a_full_disk_at_the_broker_stops_no_cell(
    tmp_path: Path, contract: Contract, full_disk: Mosquitto
) -> None:
    with (
        mesh(contract, tmp_path, [full_disk.port] * CELLS) as cells,
        RawClient(full_disk.port, "filler") as filler,
    ):
        for number in range(40):  # four saves of more than the disk holds
            filler.publish(f"filler/{number}", os.urandom(20_000), retain=True)
        cells.run_until(lambda: "No space left on device" in full_disk.log())
        filled = cells.run(20)
        cells.assert_all_acted()
        assert cells.overran == 0
        assert full_disk.alive()
        assert cells.share(filled) > 0.9
