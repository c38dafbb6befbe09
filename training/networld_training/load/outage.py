"""The broker is killed and comes back: who acts meanwhile, and who is back when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from networld_runtime.config import BrokerConfig
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_training.demo.brokers import start_mosquitto
from networld_training.demo.processes import Children
from networld_training.load.measures import gained
from networld_training.load.site import SITE, LoadSite

BACK_S = 2.0
WATCHED_S = 3.0


@dataclass(frozen=True)
class Outage:
    """What came of it.

    Attributes:
        cells: Number of cells.
        away_s: How long the broker was gone.
        slots: Slots that the cells acted in, from before the broker was killed until after.
        slots_skipped: Slots that no cell acted in because it was late.
        back_p50_s: From the broker's return to a cell's first message, median over the cells.
        back_last_s: That of the last cell.
        back_first_s: That of the first cell.
        most_at_once: Most cells that came back within 50 ms of each other.
        missing_later: Mean fields that lacked a neighbour later than `BACK_S` after the broker's return.
    """

    cells: int
    away_s: float
    slots: int
    slots_skipped: int
    back_first_s: float
    back_p50_s: float
    back_last_s: float
    most_at_once: int
    missing_later: int


def break_broker(
    site: LoadSite, away_s: float, children: Children, folder: Path, say: Callable[[str], None]
) -> Outage:
    """Kill the broker of a site with one broker, bring it back and return what the cells did.

    Args:
        site: The site, running.
        away_s: How long the broker is gone.
        children: Starts the broker again.
        folder: Where its log goes.
        say: Shows what happens.
    """
    (meeting,) = site.meetings
    assert meeting.process is not None  # noqa: S101
    before = site.report()
    say(f"the broker is killed for {away_s:g} s")
    meeting.process.kill()
    time.sleep(away_s)
    again = start_mosquitto(children, folder, port=meeting.port)
    begin_s = time.monotonic()
    site.meetings[0] = replace(meeting, process=again.process)
    back_s = _first_messages(site, begin_s)
    time.sleep(max(begin_s + BACK_S - time.monotonic(), 0))
    early = site.report()
    time.sleep(WATCHED_S)
    late = site.report()
    whole, end = gained(before, late), gained(early, late)
    times_s = np.sort(np.array(list(back_s.values()) or [np.inf]))
    return Outage(
        cells=site.load.cells,
        away_s=away_s,
        slots=whole["slots"],
        slots_skipped=whole["radio_skipped"],
        back_first_s=float(times_s[0]),
        back_p50_s=float(np.median(times_s)),
        back_last_s=float(times_s[-1]) if len(back_s) == site.load.cells else float("inf"),
        most_at_once=int(max(np.sum((times_s >= one) & (times_s < one + 0.05)) for one in times_s)),
        missing_later=end["slots_with_missing_neighbours"],
    )


def _first_messages(site: LoadSite, begin_s: float) -> dict[str, float]:
    """Return when each cell was heard first, from `begin_s` on."""
    back_s: dict[str, float] = {}
    complete = threading.Event()

    def see(topic: str, payload: bytes, retained: bool) -> None:
        del payload, retained
        back_s.setdefault(topic.split("/")[3], time.monotonic() - begin_s)
        if len(back_s) == site.load.cells:
            complete.set()

    meeting = site.meetings[0]
    watching = MqttTransport(
        BrokerConfig(host=meeting.host, port=meeting.port), f"networld-{SITE}-watch"
    )
    watching.watch(f"networld/v1/{SITE}/+/message", see)
    watching.connect()
    complete.wait(5 * BACK_S)
    watching.close()
    return back_s
