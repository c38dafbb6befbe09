"""A cell whose line is dead, half dead, cut again and again or thin: the others go on, and it comes back.

Deadlines: the broker says that a cell is lost 1.5 keep-alives after its last sign of life, and the cell
notices within two; waited for with patience, since tests share a machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from brokers import Mosquitto
from faulty_proxy import DOWN, UP, FaultyProxy
from mesh_watch import Watch
from packet_faults import Faults
from small_mesh import Mesh, mesh

from networld_runtime.contract import Contract

CELLS = 3
KEEP_ALIVE_S = 1
BACK_S = 20.0


@contextmanager
def mesh_behind_proxies(
    tmp_path: Path, contract: Contract, port: int
) -> Iterator[tuple[Mesh, list[FaultyProxy]]]:
    """Cells that reach the broker through a proxy each."""
    with ExitStack() as stack:
        proxies = [stack.enter_context(FaultyProxy(port, seed)) for seed in range(CELLS)]
        ports = [proxy.port for proxy in proxies]
        yield (
            stack.enter_context(mesh(contract, tmp_path, ports, keep_alive_s=KEEP_ALIVE_S)),
            proxies,
        )


def test_a_cell_behind_a_dead_line_is_alone_and_comes_back(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with (
        mesh_behind_proxies(tmp_path, contract, mosquitto.port) as (cells, proxies),
        Watch(mosquitto.port) as watch,
    ):
        alone, others = cells.cells["cell-0"], [cells.cells["cell-1"], cells.cells["cell-2"]]
        proxies[0].silence()
        cells.run_until(lambda: not cells.heard("cell-0") and not _hear_it(cells))
        # The broker gives it up after 1.5 keep-alives, itself within two; ages told both much earlier.
        cells.run_until(
            lambda: watch.states()["cell-0"] == "lost" and not alone.transport.connected
        )
        parted = cells.run_for(KEEP_ALIVE_S)
        assert proxies[0].counters["held_down"] > 0
        assert all(alone.records[slot - 1].used == {} for slot in parted)
        for cell in others:
            ages = [cell.records[slot - 1].ages_s["cell-0"] or 0.0 for slot in parted]
            assert ages == sorted(ages)
            assert ages[-1] > 2 * KEEP_ALIVE_S
            assert all("cell-0" not in cell.records[slot - 1].used for slot in parted)
            heard = sum(cell.records[slot - 1].share == 0.5 for slot in parted)
            assert heard > 0.9 * len(parted)  # the others noticed nothing
        proxies[0].heal()
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.run_until(lambda: watch.states()["cell-0"] == "online")
        cells.assert_all_acted()
        assert cells.overran == 0
        assert all(cell.transport.counters["connections"] == 1 for cell in others)


def test_a_cell_that_can_hear_and_is_not_heard(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh_behind_proxies(tmp_path, contract, mosquitto.port) as (cells, proxies):
        proxies[0].silence(UP)
        cells.run_until(lambda: not _hear_it(cells))
        assert cells.heard("cell-0") == {"cell-1", "cell-2"}
        proxies[0].heal()
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.assert_all_acted()
        assert proxies[0].counters["held_up"] > 0


def test_a_cell_that_is_heard_and_is_deaf(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh_behind_proxies(tmp_path, contract, mosquitto.port) as (cells, proxies):
        proxies[0].silence(DOWN)
        cells.run_until(lambda: not cells.heard("cell-0"))
        assert _hear_it(cells)
        # Its own connection looks well until the keep-alive: only ages tell that it is deaf.
        cells.run_until(lambda: not cells.cells["cell-0"].transport.connected)
        proxies[0].heal()
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.assert_all_acted()


def test_connections_that_are_cut_again_and_again(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh_behind_proxies(tmp_path, contract, mosquitto.port) as (cells, proxies):
        for number in range(6):
            for proxy in proxies:
                (proxy.reset if number % 2 else proxy.close_all)()
            cells.run_for(0.3)
        assert all(proxy.counters["resets"] + proxy.counters["closes"] >= 2 for proxy in proxies)
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.assert_all_acted()
        assert cells.overran == 0


def test_a_thin_line_that_breaks_every_packet_into_pieces(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh_behind_proxies(tmp_path, contract, mosquitto.port) as (cells, proxies):
        for proxy in proxies:
            proxy.set(Faults(slice_bytes=3))
        sliced = cells.run(20)
        for proxy in proxies:
            proxy.set(Faults(bandwidth_bytes_per_s=16_000))
        narrow = cells.run(20)
        cells.assert_all_acted()
        assert cells.share(sliced) > 0.9
        assert cells.share(narrow) > 0.9
        assert cells.share(sliced, oldest=1) > 0.7  # the newest of those that are there
        assert all(proxy.counters["slices_down"] > 20 * 40 for proxy in proxies)
        assert all(proxy.counters["throttled_up"] > 10 for proxy in proxies)
        assert all(cell.transport.counters["connections"] == 1 for cell in cells.cells.values())


def test_a_stall_shorter_than_the_keep_alive_keeps_the_connection(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with mesh_behind_proxies(tmp_path, contract, mosquitto.port) as (cells, proxies):
        proxies[0].stall(0.6)
        cells.run_until(lambda: not cells.heard("cell-0"))
        cells.run_until(cells.all_hear_all, BACK_S)
        cells.assert_all_acted()
        assert proxies[0].counters["held_up"] == 1
        assert cells.cells["cell-0"].transport.counters["connections"] == 1


def _hear_it(cells: Mesh) -> bool:
    """Return whether any other cell used a message of cell-0 in its last slot."""
    return any("cell-0" in cells.heard(f"cell-{number}") for number in range(1, CELLS))
