"""A site of many cells that only talk: real cells, synthetic radios, real brokers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from networld_runtime.config import BrokerConfig
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_training.demo.brokers import Meeting
from networld_training.demo.cells import Cells, Tables
from networld_training.demo.orders import Answers, Orders
from networld_training.demo.processes import Children
from networld_training.radio.geometry import HexagonalLayout

SITE = "load"
START_S = 120.0
ANSWER_S = 20.0
ENDLESS_SLOTS = 1 << 30


@dataclass(frozen=True)
class Load:
    """What a site bears.

    Attributes:
        bundle: Folder of the bundle that every cell runs.
        cells: Number of cells, one of `geometry.RINGS`: a hexagonal grid, everybody has six neighbours.
        slot_s: Length of a slot.
        processes: Processes that the cells share.
        spread: Share of a slot over which the slots of the cells begin.
        task: What the cells do.
    """

    bundle: Path
    cells: int
    slot_s: float = 0.05
    processes: int = 2
    spread: float = 0.5
    task: str = "power"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cells, ring by ring from the middle."""
        return tuple(f"cell-{index}" for index in range(self.cells))

    @property
    def neighbours(self) -> list[tuple[int, ...]]:
        """Indices of the neighbours of each cell."""
        layout = HexagonalLayout(self.cells, 1.0)
        return [tuple(int(index) for index in row) for row in layout.neighbours]


class LoadSite:
    """A site that runs; see `open_site`."""

    def __init__(self, load: Load, cells: Cells, meetings: Sequence[Meeting]) -> None:
        self.load = load
        self.cells = cells
        self.meetings = list(meetings)
        self._transports: list[MqttTransport] = []
        self._orders: list[Orders] = []
        for index, meeting in enumerate(meetings):
            names = [name for name, place in _places(load, len(meetings)).items() if place == index]
            address = BrokerConfig(host=meeting.host, port=meeting.port)
            transport = MqttTransport(address, f"networld-{SITE}-operator")
            self._orders.append(Orders(transport, SITE, names, partial(tuple, names)))
            transport.connect()
            self._transports.append(transport)

    def await_births(self) -> None:
        """Wait until all cells are there.

        Raises:
            CellError: One is not there in time.
        """
        for orders in self._orders:
            missing = orders.await_births(START_S, lambda _: None)
            if missing:
                raise self.cells.error(missing[0])

    def report(self) -> Answers:
        """Return the counters of all cells.

        Raises:
            CellError: One does not answer.
        """
        answers: Answers = {}
        for orders in self._orders:
            answers |= orders.ask("report", ANSWER_S)
        for name in self.cells.names:
            if name not in answers:
                raise self.cells.error(name)
        return answers

    def close(self) -> None:
        """Leave the brokers."""
        for transport in self._transports:
            transport.close()


@contextmanager
def open_site(load: Load, meetings: Sequence[Meeting], folder: Path) -> Iterator[LoadSite]:
    """Start the cells of a site and wait until all are there; at the end nothing of it is left.

    Args:
        load: The site.
        meetings: Its brokers; each serves a part of the cells that hangs together.
        folder: Where configurations, logs and states go.

    Raises:
        CellError: A cell does not start.
    """
    with Children(polite=True) as children:
        cells = Cells(children, _configurations(load, meetings), load.processes, folder)
        site = LoadSite(load, cells, meetings)
        try:
            site.await_births()
            yield site
        finally:
            site.close()


def border(load: Load, brokers: int) -> list[set[str]]:
    """Return for each broker the cells whose messages cells at another one need."""
    places = _places(load, brokers)
    needed: list[set[str]] = [set() for _ in range(brokers)]
    for name, others in zip(load.names, load.neighbours, strict=True):
        for other in (load.names[index] for index in others):
            if places[other] != places[name]:
                needed[places[other]].add(other)
    return needed


def _places(load: Load, brokers: int) -> dict[str, int]:
    """Return which broker serves each cell: stripes of the plane."""
    x_m = HexagonalLayout(load.cells, 1.0).sites_m[:, 0]
    rank = {int(index): place for place, index in enumerate(x_m.argsort(kind="stable"))}
    share = math.ceil(load.cells / brokers)
    return {name: rank[index] // share for index, name in enumerate(load.names)}


def _configurations(load: Load, meetings: Sequence[Meeting]) -> dict[str, Tables]:
    places = _places(load, len(meetings))
    return {
        name: {
            "cell": {
                "site": SITE,
                "name": name,
                "task": load.task,
                "neighbours": [load.names[other] for other in load.neighbours[index]],
            },
            "bundle": {"path": str(load.bundle.resolve())},
            "broker": {
                "host": meetings[places[name]].host,
                "port": meetings[places[name]].port,
                "keep_alive_s": 5,
            },
            "planner": {"seed": index},
            "timing": {"slot_s": load.slot_s},
            "adaptation": {"enabled": False},
            "radio": {"kind": "synthetic"},
            "radio.options": {"spread": load.spread, "episode_slots": ENDLESS_SLOTS},
            "log": {"format": "text"},
            "state": {"directory": "state"},
        }
        for index, name in enumerate(load.names)
    }
