"""Keeps a cell's neighbours and subscriptions in step with what it discovers; called from the loop alone."""

from __future__ import annotations

import logging
from functools import partial

from networld_runtime.config import Config
from networld_runtime.contract import Contract
from networld_runtime.mesh.authentication import Seal
from networld_runtime.mesh.discovery import Discovery, Wanted
from networld_runtime.mesh.neighbours import Neighbours
from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import Transport
from networld_runtime.realtime import monotonic_s

_log = logging.getLogger(__name__)

LEAST_SILENT_SLOTS = 10


class Following:
    """Follows those cells of the site that are found.

    Watches births and states at once, so make it before the transport is connected.

    Args:
        discovery: Says who is found.
        neighbours: Whose names follow.
        transport: Its subscriptions follow.
        site: Name of the site.
    """

    def __init__(
        self, discovery: Discovery, neighbours: Neighbours, transport: Transport, site: str
    ) -> None:
        self.discovery = discovery
        self._neighbours = neighbours
        self._transport = transport
        self._site = site
        self._followed: set[str] = set()
        every = CellTopics(site, "+")
        transport.watch(every.birth, discovery.receive_birth)
        transport.watch(every.state, discovery.receive_state)

    def poll(self) -> None:
        """Look who is to be followed now; most of the time nothing is to be done."""
        found = self.discovery.poll(self._neighbours.arrivals_s)
        if found is None:
            return
        _log.info("neighbours are now: %s", ", ".join(found.neighbours) or "none")
        self._neighbours.change(found.neighbours, found.listening)
        wanted = {*found.neighbours, *found.listening}
        gone, new = sorted(self._followed - wanted), sorted(wanted - self._followed)
        self._followed = wanted
        self._transport.unsubscribe([CellTopics(self._site, name).message for name in gone])
        self._transport.subscribe(
            {
                CellTopics(self._site, name).message: partial(self._neighbours.receive, name)
                for name in new
            },
            fresh=True,
        )


def follow(
    config: Config,
    contract: Contract,
    slot_s: float,
    neighbours: Neighbours,
    transport: Transport,
    seal: Seal,
) -> Following | None:
    """Return what follows the neighbours of a cell; None if the configuration says who they are."""
    cell, mesh = config.cell, config.mesh
    if not mesh.discover or cell.position_m is None:
        return None
    wanted = Wanted(
        site=cell.site,
        cell=cell.name,
        contract=contract.digest().hex(),
        slot_s=slot_s,
        position_m=cell.position_m,
        most=mesh.most_neighbours,
        range_m=mesh.range_m,
        silent_s=max(mesh.silent_s, LEAST_SILENT_SLOTS * slot_s),
    )
    discovery = Discovery(wanted, monotonic_s, seal.open_birth)
    return Following(discovery, neighbours, transport, cell.site)
