"""What a site does in a stretch of time, from the counters of its cells."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from networld_training.demo.orders import Answers
from networld_training.demo.outcome import percentile_of_counts
from networld_training.load.site import LoadSite
from networld_training.load.usage import group_cpu_s

FRAME_BYTES = 66 + 2 + 2
"""Ethernet, IPv4 and TCP with timestamps around a packet; fixed header and topic length of MQTT."""


@dataclass(frozen=True)
class Row:
    """What was measured.

    Attributes:
        cells: Number of cells.
        brokers: Number of brokers.
        processes: Processes that the cells shared.
        slot_ms: Length of a slot.
        seconds: How long it was measured.
        slots: Slots that cells acted in, all together.
        slots_skipped: Slots that no action was decided for, because the cell was late.
        deadlines_missed: Actions decided after their slot had ended.
        messages: Messages sent.
        in_time_percent: Of what mean fields should be made of, the share that was of the slot before.
        next_percent: The share that was at most one slot older than that.
        age_p99_slots: 99th percentile of the age of what mean fields were made of; one slot is the youngest.
        payload_bytes: Mean length of a payload.
        wire_bytes_per_cell: Bytes per second that a cell sends and receives, with all headers.
        broker_messages: Messages per second that the brokers took in and gave out.
        broker_cpu_percent: Of a core, for the broker that worked most.
        cells_cpu_percent: Of a core, for all cells together.
    """

    cells: int
    brokers: int
    processes: int
    slot_ms: float
    seconds: float
    slots: int
    slots_skipped: int
    deadlines_missed: int
    messages: int
    in_time_percent: float
    next_percent: float
    age_p99_slots: int
    payload_bytes: float
    wire_bytes_per_cell: float
    broker_messages: float
    broker_cpu_percent: float
    cells_cpu_percent: float


def measure(site: LoadSite, seconds: float, progress: Callable[[int], None]) -> Row:
    """Watch a site for some seconds and return what it did.

    Args:
        site: The site, running.
        seconds: How long.
        progress: Called with the seconds that have passed.
    """
    before, begin_s = site.report(), time.monotonic()
    brokers = [[one.process.pid] for one in site.meetings if one.process is not None]
    cells = [process.pid for process in site.cells.processes]
    used_before = [group_cpu_s(group) for group in (*brokers, cells)]
    while (passed_s := time.monotonic() - begin_s) < seconds:
        progress(int(passed_s))
        time.sleep(min(1.0, seconds - passed_s))
    used = [group_cpu_s(group) for group in (*brokers, cells)]
    took_s = time.monotonic() - begin_s
    percent = [100 * (now - then) / took_s for now, then in zip(used, used_before, strict=True)]
    return _row(site, gained(before, site.report()), took_s, percent)


def gained(before: Answers, after: Answers) -> Counter[str]:
    """Return how much the cells' counters grew, added up; ages of messages as `age_1` and so on."""
    total: Counter[str] = Counter()
    for answers, sign in ((before, -1), (after, 1)):
        for answer in answers.values():
            for name, value in _flat(answer["counters"]).items():
                total[name] += sign * value
    return total


def _flat(counters: dict[str, Any]) -> dict[str, int]:
    names = (
        "slots", "slots_skipped", "slots_with_missing_neighbours", "deadlines_missed", "messages_sent",
        "messages_not_sent", "messages_received", "message_bytes_sent", "message_bytes_received",
    )  # fmt: skip
    ages = {f"age_{age}": count for age, count in counters["message_ages_slots"].items()}
    skipped = counters["radio"].get("skipped", 0)
    return {**{name: int(counters[name]) for name in names}, **ages, "radio_skipped": skipped}


def _row(site: LoadSite, total: Counter[str], took_s: float, percent: list[float]) -> Row:
    load = site.load
    degree = len(load.neighbours[0])
    wanted = total["slots"] * degree
    ages = {int(name[4:]): count for name, count in total.items() if name.startswith("age_")}
    packets = total["messages_sent"] + total["messages_received"]
    topic_bytes = len(f"networld/v1/load/{load.names[-1]}/message")
    octets = total["message_bytes_sent"] + total["message_bytes_received"]
    return Row(
        cells=load.cells,
        brokers=len(site.meetings),
        processes=load.processes,
        slot_ms=1000 * load.slot_s,
        seconds=took_s,
        slots=total["slots"],
        slots_skipped=total["radio_skipped"],
        deadlines_missed=total["deadlines_missed"],
        messages=total["messages_sent"],
        in_time_percent=100 * ages.get(1, 0) / wanted,
        next_percent=100 * (ages.get(1, 0) + ages.get(2, 0)) / wanted,
        age_p99_slots=percentile_of_counts(ages, 0.99) or 0,
        payload_bytes=total["message_bytes_sent"] / max(total["messages_sent"], 1),
        wire_bytes_per_cell=(octets + packets * (FRAME_BYTES + topic_bytes)) / took_s / load.cells,
        broker_messages=packets / took_s,
        broker_cpu_percent=max(percent[:-1], default=0.0),
        cells_cpu_percent=percent[-1],
    )
