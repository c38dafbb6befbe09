"""Messages that are lost, late, twice or out of order: ages tell the truth, and the newest wins.

What share of messages is used under loss follows from the probabilities and the seed; what it costs in score
is measured by the evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from brokers import Mosquitto
from faulty_proxy import DOWN, UP, FaultyProxy
from packet_faults import Faults
from small_mesh import Mesh, mesh

from networld_runtime.contract import Contract

CELLS = 3
LOSS = 0.3
DELAY_S, JITTER_S = 0.2, 0.05


@contextmanager
def lossy_mesh(
    tmp_path: Path, contract: Contract, port: int, slot_s: float = 0.05, age_slots: int = 4
) -> Iterator[tuple[Mesh, FaultyProxy]]:
    """Cells that reach the broker through one proxy."""
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultyProxy(port, seed=7))
        ports = [proxy.port] * CELLS
        yield (
            stack.enter_context(mesh(contract, tmp_path, ports, slot_s, age_slots)),
            proxy,
        )


def total(cells: Mesh, counter: str) -> int:
    return sum(cell.counters()[counter] for cell in cells.cells.values())


def stale(cells: Mesh) -> int:
    rejected: Counter[str] = Counter()
    for cell in cells.cells.values():
        for reasons in cell.counters()["messages_rejected"].values():
            rejected.update(reasons)
    assert set(rejected) <= {"stale"}
    return rejected["stale"]


def test_loss_is_bridged_by_older_messages(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with lossy_mesh(tmp_path, contract, mosquitto.port) as (cells, proxy):
        proxy.set(Faults(drop=LOSS), DOWN)
        lossy = cells.run(80)
        cells.assert_all_acted()
        # 480 draws: three standard deviations are 0.06, and a busy machine makes some messages late.
        assert 1 - LOSS - 0.2 < cells.share(lossy, oldest=1) < 1 - LOSS + 0.06
        assert cells.share(lossy) > 1 - LOSS**4 - 0.05
        proxy.set(Faults())
        cells.run(5)

        def lost() -> int:
            return total(cells, "messages_sent") * (CELLS - 1) - total(cells, "messages_received")

        cells.run_until(lambda: lost() == proxy.counters["dropped_down"])  # not one more
        assert stale(cells) == 0


def test_late_messages_are_used_late_and_never_too_late(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with lossy_mesh(tmp_path, contract, mosquitto.port, 0.1, 6) as (cells, proxy):
        proxy.set(Faults(delay_s=DELAY_S, jitter_s=JITTER_S), UP)
        cells.run(6)
        late = cells.run(20)
        cells.assert_all_acted()
        assert proxy.counters["delayed_up"] >= 20
        assert cells.share(late) > 0.9
        earliest_s = DELAY_S - JITTER_S
        for cell in cells.cells.values():
            for record in (cell.records[slot - 1] for slot in late):
                for name, age in record.used.items():
                    told_s = cells.cells[name].records[record.slot - age - 1].told_s
                    assert record.acted_s >= told_s + earliest_s
                    # The age that it tells is since the arrival of this message or a newer one.
                    said_s = record.ages_s[name]
                    assert said_s is not None
                    assert 0 <= said_s <= record.acted_s - told_s - earliest_s + 0.001
        # What arrives this moment and is of a slot too long ago is of no use.
        proxy.set(Faults(delay_s=1.0), UP)
        cells.run(8)
        assert cells.share(cells.run(3)) == 0
        cells.assert_all_acted()


def test_the_newest_wins_whatever_comes_twice_or_out_of_order(
    tmp_path: Path, contract: Contract, mosquitto: Mosquitto
) -> None:
    with lossy_mesh(tmp_path, contract, mosquitto.port) as (cells, proxy):
        proxy.set(Faults(duplicate=0.3, reorder=0.3), UP)
        cells.run(70)
        proxy.set(Faults())
        cells.run(5)  # what was held to be overtaken has passed
        counted = proxy.counters
        assert counted["duplicated_up"] > 30
        assert counted["reordered_up"] > 30
        # Each copy, and each message that was overtaken, is one that every neighbour has no use for.
        expected = (CELLS - 1) * (counted["duplicated_up"] + counted["reordered_up"])
        cells.run_until(lambda: stale(cells) == expected)
        cells.assert_all_acted()


def test_all_of_it_at_once(tmp_path: Path, contract: Contract, mosquitto: Mosquitto) -> None:
    bad = Faults(DELAY_S / 2, JITTER_S, slice_bytes=11, drop=LOSS / 2, duplicate=0.1, reorder=0.1)
    with lossy_mesh(tmp_path, contract, mosquitto.port, 0.1, 6) as (cells, proxy):
        proxy.set(bad)  # both ways, so that 200 ms pass and three in ten are lost
        cells.run(6)
        lossy = cells.run(30)
        cells.assert_all_acted()
        assert cells.overran == 0
        for what in ("dropped", "duplicated", "reordered", "delayed", "slices"):
            assert proxy.counters[f"{what}_up"] > 0
            assert proxy.counters[f"{what}_down"] > 0
        assert 0.6 < cells.share(lossy) <= 1
        assert cells.share(lossy, oldest=1) == pytest.approx(0, abs=0.2)
        assert stale(cells) > 10
        proxy.set(Faults())
        cells.run_until(cells.all_hear_all)
