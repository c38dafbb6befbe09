"""A running network: broker, cells and radio, and the phases that they go through."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from networld_runtime.bundle import Bundle
from networld_runtime.config import BrokerConfig
from networld_runtime.errors import BrokerError
from networld_runtime.mesh.mqtt_transport import MqttTransport
from networld_training.demo.brokers import Meeting, open_broker
from networld_training.demo.cells import CellError, Cells, demo_cells
from networld_training.demo.drops import DropResults, Watch
from networld_training.demo.orders import Answers, Orders
from networld_training.demo.processes import Children
from networld_training.demo.settings import DemoSettings
from networld_training.demo.signals import undisturbed
from networld_training.demo.simulated_radio import SimulatedRadio, SlotReport
from networld_training.demo.view import View

SITE = "demo"
START_S = 90.0
ANSWER_S = 15.0
ADAPTATION_S = 600.0
SILENCE_S = 5.0
SETTLE_S = 0.3


class LiveNetwork:
    """Cells and radio at a broker; see `open_network`.

    Args:
        settings: What is demonstrated.
        meeting: Where all meet.
        transport: The radio's connection, not yet made.
        site: Name of the site.
        bundle: Bundle of the cells.
        view: Shows progress.
    """

    def __init__(
        self,
        settings: DemoSettings,
        meeting: Meeting,
        transport: MqttTransport,
        site: str,
        bundle: Bundle,
        view: View,
    ) -> None:
        self.settings = settings
        self.meeting = meeting
        self.cells: Cells | None = None
        self._transport = transport
        self._view = view
        self._starting = True
        self._silent_since_s: float | None = None
        names = settings.cell_names
        self.orders = Orders(transport, site, names, self._alive)
        self.radio = SimulatedRadio(
            transport,
            site,
            names,
            bundle.contract,
            settings.slot_s,
            self._alive,
            settings.scene.start,
        )

    def await_cells(self, cells: Cells) -> None:
        """Wait until all cells are ready and plan with the base model.

        Raises:
            CellError: A cell ended or is not ready in time.
        """
        self.cells = cells
        self._view.phase("cells start", len(cells.names), "cells")
        missing = self.orders.await_births(START_S, self._view.advance)
        if missing:
            raise cells.error(missing[0])
        # An earlier run in the same folder may have left an adapter.
        answers = self.orders.ask("base", ANSWER_S)
        for name in cells.names:
            if name not in answers:
                raise cells.error(name)
        self._starting = False

    def run_drops(self, phase: str, seeds: Sequence[int]) -> DropResults:
        """Serve drops one after the other and return what was achieved."""
        network, entry = self.settings.network(), self.settings.entry
        watches = [Watch(entry.make(network, [seed]), self.settings.scene) for seed in seeds]
        self._view.phase(phase, len(seeds) * network.slots, "slots")
        for index, watch in enumerate(watches):
            title = f"{index + 1} of {len(seeds)}"
            before = index * network.slots

            def show(
                report: SlotReport, watch: Watch = watch, title: str = title, before: int = before
            ) -> None:
                details = {name: values[None] for name, values in report.details.items()}
                seen = {name: values[0] for name, values in watch.slot(details).items()}
                self._view.slot(title, report, seen, self.radio.counters)
                self._view.advance(before + report.slot + 1)

            self.radio.run_episode(watch.task, show)
        return DropResults.of("mean-field", watches)

    def collect(self, on: bool) -> None:
        """Let the cells collect experience, or not."""
        self.orders.ask("collect", ANSWER_S, on=on)

    def adapt(self) -> tuple[Answers, float]:
        """Let all cells adapt; return their reports and the seconds it took."""
        self._view.phase("adaptation", self.settings.cells, "cells")
        begin_s = time.monotonic()
        answers = self.orders.ask("adapt", ADAPTATION_S, self._view.advance, repeat=False)
        return answers, time.monotonic() - begin_s

    def report(self) -> Answers:
        """Return the counters of the cells when all messages have arrived."""
        time.sleep(SETTLE_S)
        return self.orders.ask("report", ANSWER_S)

    def _alive(self) -> Sequence[str]:
        """Return the cells that are there; called in every slot and while waiting.

        Raises:
            BrokerError: The broker is gone.
            CellError: No cell is left, or one did not even start.
        """
        self.meeting.check()
        if self._transport.connected:
            self._silent_since_s = None
        elif self._silent_since_s is None:
            self._silent_since_s = time.monotonic()
        elif time.monotonic() > self._silent_since_s + SILENCE_S:
            raise BrokerError(self.meeting.name, f"no connection for {SILENCE_S:.0f} s")
        if self.cells is None:
            return ()
        for name in self.cells.look():
            if self._starting:
                raise self.cells.error(name)
            self._view.say(f"{name} {self.cells.lost[name]}; the others go on")
        return self.cells.alive


@contextmanager
def open_network(
    settings: DemoSettings, bundle: Bundle, folder: Path, view: View
) -> Iterator[LiveNetwork]:
    """Start everything; at the end nothing of it is left.

    Args:
        settings: What is demonstrated.
        bundle: Bundle of the cells.
        folder: Where configurations, logs and states go.
        view: Shows progress.

    Raises:
        BrokerError: The broker does not start or cannot be reached.
        CellError: A cell does not start.
    """
    with ExitStack() as stack:
        meeting = stack.enter_context(open_broker(settings.broker, folder))
        # At a broker of others, two demonstrations must not hear each other.
        site = f"{SITE}-{secrets.token_hex(4)}" if meeting.shared else SITE
        address = BrokerConfig(host=meeting.host, port=meeting.port)
        transport = MqttTransport(address, f"networld-{site}-radio")
        network = LiveNetwork(settings, meeting, transport, site, bundle, view)
        stack.callback(_leave, transport, network.orders, meeting.shared)
        transport.connect()
        neighbours = settings.network().layout().neighbours.tolist()
        children = stack.enter_context(Children(polite=True))
        configurations = demo_cells(settings, meeting, site, neighbours)
        cells = Cells(children, configurations, settings.process_count, folder)
        network.await_cells(cells)
        yield network


def _leave(transport: MqttTransport, orders: Orders, shared: bool) -> None:
    with undisturbed():
        if shared:
            orders.forget_site()
        transport.close()


__all__ = ["CellError", "LiveNetwork", "open_network"]
