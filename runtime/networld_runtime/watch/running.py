"""What is around a running cell for those who watch it: log, watch and HTTP, set up and taken down."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from networld_runtime.agent import Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.mesh.transport import Transport
from networld_runtime.report import software_version
from networld_runtime.sessions import runtime_version
from networld_runtime.watch.log_lines import LogHandler, set_up
from networld_runtime.watch.watch import Watch


class Watchers:
    """Made first and finished last in the life of a cell.

    Args:
        config: The cell's configuration.
        handler: Takes the log of a process that several cells share; None sets one up for this cell.

    Attributes:
        watch: What is known of the cell.
    """

    def __init__(self, config: Config, handler: LogHandler | None = None) -> None:
        self._config = config
        self._agent: Agent | None = None
        self._bundle: Bundle | None = None
        self._provider = ""
        if handler is None:
            handler = set_up(config.log)
            handler.context = self.context
        self.watch = Watch(config, handler.counters)
        self.watch.facts["versions"] = {
            "networld": software_version(),
            "python": platform.python_version(),
            "onnxruntime": runtime_version(),
            "numpy": np.__version__,
        }
        self._server = None
        if config.watch.port:
            # A cell that serves nothing need not load what serves.
            from networld_runtime.watch.server import WatchServer  # noqa: PLC0415

            self._server = WatchServer(self.watch, config.watch.host, config.watch.port)
            self._server.start()

    def attach(self, agent: Agent, transport: Transport, epoch: int, provider: str) -> None:
        """Watch an agent from now on; its graphs run where `provider` says."""
        self._agent, self._provider = agent, provider
        slot_s = agent.statistics.slot_s
        self.watch.facts |= {"epoch": epoch, "slot_s": slot_s}
        self.watch.attach(agent, transport, agent.topics.status, slot_s)
        self._tell_bundle(agent.bundle)
        agent.on_round = self._round

    def _round(self) -> None:
        if self._agent is not None and self._agent.bundle is not self._bundle:
            self._tell_bundle(self._agent.bundle)
        self.watch.round()

    def _tell_bundle(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.watch.facts["bundle"] = {
            "name": bundle.name,
            "version": bundle.version,
            "digest": bundle.digest,
            "task": bundle.contract.task,
            "contract": bundle.contract.digest().hex(),
            "provider": self._provider,
        }

    def finish(self) -> None:
        """Say a last word and stop serving; call it before the transport is closed."""
        self.watch.finish()
        if self._server is not None:
            self._server.stop()

    def context(self) -> Mapping[str, Any]:
        """Return what a line of the log says of the cell: site, name, slot."""
        cell = self._config.cell
        known: dict[str, Any] = {"site": cell.site, "cell": cell.name}
        slot = None if self._agent is None else self._agent.slot
        return known if slot is None else {**known, "slot": slot}
