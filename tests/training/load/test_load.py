"""A site under load: what is measured is what the cells did."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mesh_load import bridge

from networld_training.demo.brokers import Meeting, start_mosquitto
from networld_training.demo.processes import Children
from networld_training.load.measures import gained, measure
from networld_training.load.outage import break_broker
from networld_training.load.site import Load, border, open_site
from networld_training.load.usage import group_cpu_s

BUNDLE = Path(__file__).parents[3] / "bundles" / "networld"

needs_mosquitto = pytest.mark.skipif(
    shutil.which("mosquitto") is None, reason="mosquitto is not installed"
)


def _answer(**counters: Any) -> dict[str, Any]:
    names = (
        "slots", "slots_skipped", "slots_with_missing_neighbours", "deadlines_missed", "messages_sent",
        "messages_not_sent", "messages_received", "message_bytes_sent", "message_bytes_received",
    )  # fmt: skip
    known = {**dict.fromkeys(names, 0), "message_ages_slots": {}, "radio": {}, **counters}
    return {"counters": known}


def test_counters_are_what_was_gained_in_between() -> None:
    before = {"a": _answer(slots=5, message_ages_slots={"1": 7}), "b": _answer(slots=1)}
    after = {
        "a": _answer(slots=9, message_ages_slots={"1": 10, "2": 1}),
        "b": _answer(slots=4, radio={"skipped": 2}),
    }
    total = gained(before, after)
    assert (total["slots"], total["age_1"], total["age_2"], total["radio_skipped"]) == (7, 3, 1, 2)


@pytest.mark.parametrize(("cells", "brokers"), [(7, 2), (61, 2), (61, 3)])
def test_border_is_what_the_other_side_needs(cells: int, brokers: int) -> None:
    load = Load(BUNDLE, cells)
    needed = border(load, brokers)
    assert all(needed)
    assert not set.intersection(*needed)  # each cell is served by one broker
    if brokers == 2:
        assert len(set.union(*needed)) <= cells
    if cells == 61:
        assert len(set.union(*needed)) < cells  # the middle of a stripe is nobody's border


def test_processor_time_of_a_group_is_that_of_its_processes() -> None:
    burn = "import time; end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", burn], stdin=subprocess.PIPE, start_new_session=True
    ) as process:
        while (used_s := group_cpu_s([process.pid])) < 0.5:
            assert process.poll() is None
        assert used_s < 5
        assert group_cpu_s([process.pid, process.pid]) < 5
        assert group_cpu_s([]) == 0
        process.communicate(b"\n")


@needs_mosquitto
def test_cells_of_a_site_hear_each_other_and_survive_their_broker(tmp_path: Path) -> None:
    load = Load(BUNDLE, cells=7, slot_s=0.2)
    said: list[str] = []
    with Children(polite=False) as children:
        meeting = start_mosquitto(children, tmp_path)
        with open_site(load, [meeting], tmp_path) as site:
            measure(site, 2.0, lambda _: None)  # the first slots are before all are there
            row = measure(site, 3.0, lambda _: None)
            outage = break_broker(site, 1.0, children, tmp_path, said.append)
    assert row.slots == pytest.approx(7 * 3.0 / 0.2, rel=0.5)
    assert row.messages == pytest.approx(row.slots, abs=14)
    assert row.in_time_percent > 90
    assert 33 <= row.payload_bytes <= 37  # by the number of the slot
    assert 0 < row.cells_cpu_percent < 400
    assert said == ["the broker is killed for 1 s"]
    assert outage.slots > 7 * 3.0 / 0.2
    assert outage.back_last_s >= outage.back_p50_s >= outage.back_first_s > 0
    assert 1 <= outage.most_at_once <= 7


@needs_mosquitto
def test_bridge_carries_the_border_and_nothing_else(tmp_path: Path) -> None:

    load = Load(BUNDLE, cells=7, slot_s=0.2)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    with Children(polite=False) as children:
        first = start_mosquitto(children, folders[0])
        second = start_mosquitto(children, folders[1], more=bridge(load, first))
        with open_site(load, [first, second], tmp_path) as site:
            measure(site, 2.0, lambda _: None)
            row = measure(site, 2.0, lambda _: None)
    assert row.brokers == 2
    assert row.in_time_percent > 90


def test_bridge_names_every_cell_of_the_border_once() -> None:

    load = Load(BUNDLE, cells=61)
    theirs, ours = border(load, 2)
    lines = bridge(load, Meeting("mosquitto", "127.0.0.1", 1883)).splitlines()
    assert sum(line.endswith(" in 0") for line in lines) == len(theirs)
    assert sum(line.endswith(" out 0") for line in lines) == len(ours)
