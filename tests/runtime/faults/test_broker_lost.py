"""A broker that dies, freezes, fills its disk or forbids: every cell acts in every slot and comes back.

Deadlines: a frozen broker is noticed within two keep-alives, and a cell is back within seconds of its broker.
Both are waited for with patience, since tests share a machine.
"""

from __future__ import annotations

import json
import signal
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from brokers import Broker, Mosquitto
from live_cell import Drive, live_cell
from mesh_watch import Watch
from small_mesh import mesh
from tiny_bundles import make_bundle

from networld_runtime.bundle import load_bundle
from networld_runtime.contract import Contract

CELLS = 5
BACK_S = 20.0
"""A cell is to be back within 2 s of its broker; so long is waited on a busy machine."""
KEEP_ALIVE_S = 1
CONFIG = """
[cell]
site = "test"
name = "{name}"
task = "power"
neighbours = ["{neighbour}"]
[bundle]
path = "bundle"
[broker]
port = {port}
keep_alive_s = {keep_alive_s}
[state]
directory = "state-{name}"
"""


def test_a_broker_of_any_lineage_is_killed_and_comes_back(
    tmp_path: Path, contract: Contract, each_broker: Broker
) -> None:
    with mesh(contract, tmp_path, [each_broker.port] * CELLS) as cells:
        lived = cells.run(10)
        each_broker.kill()
        alone = cells.run_for(2 if isinstance(each_broker, Mosquitto) else 1)
        with cells.returns() as returned:
            each_broker.start()
            cells.run_until(lambda: cells.all_connected(2) and cells.all_hear_all(), BACK_S)
        after = cells.run(10)
        cells.assert_all_acted()
        assert cells.overran == 0
        for cell in cells.cells.values():
            assert all(cell.records[slot - 1].share == 1 for slot in lived[4:])
            assert all(cell.records[slot - 1].share == 0 for slot in alone[10:])
            ages = [cell.records[slot - 1].ages_s for slot in alone[10:]]
            assert all(age is not None and age > 0.2 for some in ages for age in some.values())
            assert cell.counters()["messages_not_sent"] > 0
        assert sum(cells.cells["cell-0"].records[slot - 1].share == 1 for slot in after) >= 5
        # Cells that come back at the same instant bring a broker down again.
        assert max(returned.values()) - min(returned.values()) > 0.02
        with Watch(each_broker.port) as watch:  # the broker kept nothing; the cells told it again
            watch.until_retained(
                {f"cell-{number}/{leaf}" for number in range(CELLS) for leaf in ("birth", "state")}
            )
            assert set(watch.states().values()) == {"online"}


@pytest.mark.slow
def test_ten_seconds_without_a_broker(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh(contract, tmp_path, [mosquitto.port] * CELLS) as cells:
        mosquitto.kill()
        cells.run_for(10)
        mosquitto.start()
        cells.run_until(lambda: cells.all_connected(2) and cells.all_hear_all(), BACK_S)
        cells.run(10)
        cells.assert_all_acted()
        assert cells.overran == 0


def test_a_broker_that_dies_again_and_again(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh(contract, tmp_path, [mosquitto.port] * 3) as cells:
        for _ in range(3):
            restarting = threading.Thread(target=mosquitto.restart, args=(0.1,))
            restarting.start()
            cells.run_until(lambda done=restarting: not done.is_alive())  # type: ignore[misc]
            cells.run_for(0.3)
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.assert_all_acted()
        assert cells.overran == 0


def test_processes_say_once_that_the_broker_is_lost_and_once_that_it_is_back(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    """Cells as services run them; their radio is at the same broker, and goes on when it is back."""
    bundle = load_bundle(make_bundle(tmp_path / "bundle", contract), "power")
    with ExitStack() as stack:
        cells, drives = [], []
        for name, neighbour in (("a", "b"), ("b", "a")):
            config = tmp_path / f"{name}.toml"
            config.write_text(config_text(name, neighbour, mosquitto.port))
            cells.append(stack.enter_context(live_cell(config)))
            drive = Drive(mosquitto.port, bundle, name)
            drives.append(stack.enter_context(drive))
        for drive in drives:
            drive.slots(3)
        mosquitto.restart(after_s=1)
        for cell in cells:
            cell.wait_for("broker is back")
        for drive in drives:
            drive.wait_for_broker(2)
            drive.slots(3)
            found = drive.order("report")["counters"]
            assert found["slots"] == 6
            assert found["transport"]["connections"] == 2
        for cell in cells:
            assert cell.end() == 0
            log = cell.log.read_text()
            assert (log.count("lost the broker"), log.count("broker is back")) == (1, 1)


def test_a_frozen_broker_is_noticed_by_age_and_then_by_the_keep_alive(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh(contract, tmp_path, [mosquitto.port] * 3, keep_alive_s=KEEP_ALIVE_S) as cells:
        before = {
            name: cell.transport.counters["connections"] for name, cell in cells.cells.items()
        }
        mosquitto.freeze()
        try:
            cells.run_until(lambda: not any(cells.heard(name) for name in cells.cells))
            # Within two keep-alives nobody believes in the connection any more.
            cells.run_until(
                lambda: not any(one.transport.connected for one in cells.cells.values())
            )
            frozen = cells.run(5)
        finally:
            mosquitto.thaw()
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.assert_all_acted()
        assert cells.overran == 0
        for name, cell in cells.cells.items():
            assert all(cell.records[slot - 1].share == 0 for slot in frozen)
            assert cell.transport.counters["connections"] > before[name]


def test_a_short_freeze_costs_slots_of_silence_and_no_connection(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    """What waited in the broker comes in a burst then: all but the newest of it is too old to be used."""
    with mesh(contract, tmp_path, [mosquitto.port] * 3) as cells:
        mosquitto.freeze()
        try:
            cells.run(30)
        finally:
            mosquitto.thaw()
        cells.run_until(cells.all_hear_all)
        cells.run(5)
        cells.assert_all_acted()
        assert all(one.transport.counters["connections"] == 1 for one in cells.cells.values())


def test_a_broker_that_takes_nobody_for_a_while(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh(contract, tmp_path, [mosquitto.port] * 3) as cells:
        mosquitto.kill()
        mosquitto.configure({"allow_anonymous": "false"})
        mosquitto.start()
        cells.run_for(2)
        assert not any(cells.heard(name) for name in cells.cells)
        mosquitto.kill()
        mosquitto.configure()
        mosquitto.start()
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.assert_all_acted()
        assert cells.overran == 0


def test_a_right_that_is_taken_away_is_seen_in_the_counters_of_the_neighbours(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    """The broker says nothing of it to a QoS 0 publisher: only ages tell."""
    rights = tmp_path / "rights.acl"
    rights.write_text("topic readwrite #\n")
    mosquitto.kill()
    mosquitto.configure(more=f"acl_file {rights}")
    mosquitto.start()
    with mesh(contract, tmp_path, [mosquitto.port] * 3) as cells:
        rights.write_text("topic deny networld/v1/test/cell-0/message\ntopic readwrite #\n")
        mosquitto.reload()
        cells.run_until(lambda: all("cell-0" not in cells.heard(f"cell-{n}") for n in (1, 2)))
        before = [cells.cells[f"cell-{n}"].counters() for n in (1, 2)]
        denied = cells.run(10)
        for number, earlier in zip((1, 2), before, strict=True):
            cell = cells.cells[f"cell-{number}"]
            missed = cell.counters()["slots_missing"]
            assert missed["cell-0"] - earlier["slots_missing"]["cell-0"] == len(denied)
            ages = [cell.records[slot - 1].ages_s["cell-0"] or 0.0 for slot in denied]
            assert ages == sorted(ages)
            assert ages[-1] > 0.2
            assert all(cell.records[slot - 1].share == 0.5 for slot in denied)
        assert cells.heard("cell-0") == {"cell-1", "cell-2"}
        rights.write_text("topic readwrite #\n")
        mosquitto.reload()
        cells.run_until(cells.all_hear_all)
        cells.assert_all_acted()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_the_will_of_a_process_that_is_killed_or_frozen_tells_its_boot(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto, number: signal.Signals
) -> None:
    """At once where it was killed, 1.5 keep-alives after its last word where it stands still."""
    bundle = load_bundle(make_bundle(tmp_path / "bundle", contract), "power")
    config = tmp_path / "a.toml"
    config.write_text(config_text("a", "b", mosquitto.port))
    with Watch(mosquitto.port) as watch, Drive(mosquitto.port, bundle, "a") as drive:
        with live_cell(config) as cell:
            watch.until_state("a", "online")
            drive.slots(2)
            cell.process.send_signal(number)
            watch.until_state("a", "lost")
            first = json.loads(watch.newest["a/birth"])["epoch"]
            assert json.loads(watch.newest["a/state"])["epoch"] == first
        with live_cell(config) as cell:  # what stood still was killed as well
            watch.until_state("a", "online")
            assert json.loads(watch.newest["a/state"])["epoch"] > first
            drive.slots(2)
            assert cell.end() == 0
        watch.until_state("a", "offline")


def config_text(name: str, neighbour: str, port: int) -> str:
    return CONFIG.format(name=name, neighbour=neighbour, port=port, keep_alive_s=KEEP_ALIVE_S)
