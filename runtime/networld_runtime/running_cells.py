"""`networld-agent run --cells`: several cells in one process, which take turns in one loop.

For demonstrations, load tests and boards that serve several sectors. The cells share the graphs of the bundle
and the processor; everything else, connections and state folders among it, each has for itself.
"""

from __future__ import annotations

import argparse
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from heapq import heappop, heappush
from itertools import cycle
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from networld_runtime.agent import POLL_S, Agent
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.config_reader import load_config
from networld_runtime.errors import ConfigError
from networld_runtime.mesh.network_loop import NetworkLoop
from networld_runtime.planner import Planner
from networld_runtime.radio import MqttRadio
from networld_runtime.realtime import collect_garbage, freeze_garbage_collection, monotonic_s
from networld_runtime.running_cell import end_start, make_cell, say_ready, settle
from networld_runtime.service_notify import ServiceNotifier
from networld_runtime.startup import load_model
from networld_runtime.watch.log_lines import set_up
from networld_runtime.watch.running import Watchers

UNTOLD_POLL_S = 0.001
"""How often a radio is asked that tells neither that it has something nor when it will have."""


_OWN: dict[str, Callable[[Config], str]] = {
    "cell.name": lambda config: f"{config.cell.site}/{config.cell.name}",
    "state.directory": lambda config: str(config.state.directory.resolve()),
    "watch.port": lambda config: str(config.watch.port or ""),
}
"""What no two cells of a process may have in common, if they have it at all."""


class Crew:
    """The loop of several cells: the one whose observation is there acts; now and then each is attended to.

    Args:
        agents: The cells.
        notifier: Tells the service manager that the loop goes round.
        finish: Called once a cell was told to stop while others go on; must not block.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        notifier: ServiceNotifier,
        finish: Callable[[Agent], None],
    ) -> None:
        self.acting: Agent | None = None
        """The cell whose turn it is."""
        self._agents = list(agents)
        self._notifier = notifier
        self._finish = finish
        self._arrived: SimpleQueue[int] = SimpleQueue()
        self._due: list[tuple[float, int]] = []
        self._due_first = False
        for index, agent in enumerate(agents):
            if isinstance(agent.radio, MqttRadio):
                agent.radio.on_arrival = partial(self._arrived.put, index)
            else:
                self._schedule(index)

    def run(self) -> None:
        """Go through slots until every cell has been told to stop."""
        acted, rounds, attend_s = 0, 0, 0.0
        # One after the other: all at once, their answers to an order would take a slot.
        turns = cycle(self._agents)
        while not all(agent.stopping for agent in self._agents):
            now_s = monotonic_s()
            if now_s >= attend_s:
                attend_s = now_s + POLL_S / len(self._agents)
                self._turn(next(turns), attend=True)
                self._notifier.alive(self._status)
            index = self._next(attend_s)
            if index is None:
                continue
            agent = self._agents[index]
            acted += self._turn(agent)
            if not (isinstance(agent.radio, MqttRadio) or agent.stopping):
                self._schedule(index)
            if acted >= len(self._agents):
                acted, rounds = 0, rounds + 1
                collect_garbage(rounds)

    def _turn(self, agent: Agent, *, attend: bool = False) -> bool:
        """Let a cell act if it has something to act on, and attend to all else; return whether it acted."""
        if agent.stopping:
            return False
        self.acting = agent
        acted = (agent.go_round if attend else agent.serve)(0) is not None
        self.acting = None
        self._note_end(agent)
        return acted

    def _note_end(self, agent: Agent) -> None:
        """Have a cell finished that was told to stop while it acted."""
        if agent.stopping:
            self._finish(agent)

    def _next(self, until_s: float) -> int | None:
        """Return which cell may have something to act on; None if none has until `until_s`."""
        # In turns: neither kind of radio waits for as long as the other has something.
        self._due_first = not self._due_first
        if self._due_first and self._is_due():
            return heappop(self._due)[1]
        if self._due:
            until_s = min(until_s, self._due[0][0])
        with suppress(Empty):
            return self._arrived.get(timeout=max(until_s - monotonic_s(), 0))
        return heappop(self._due)[1] if self._is_due() else None

    def _is_due(self) -> bool:
        return bool(self._due) and self._due[0][0] <= monotonic_s()

    def _schedule(self, index: int) -> None:
        """Note when to ask the radio of a cell that does not call us."""
        due_s = getattr(self._agents[index].radio, "due_s", None)
        now_s = monotonic_s()
        heappush(self._due, (now_s + UNTOLD_POLL_S if due_s is None else max(due_s, now_s), index))

    def _status(self) -> str:
        working = [agent for agent in self._agents if not agent.stopping]
        return f"{len(working)} cells; the first: {working[0].status()}" if working else "stopping"


class Finishing:
    """The end of each cell, once, beside the loop if others go on.

    Args:
        cells: The cells and who watches them.
    """

    def __init__(self, cells: Mapping[Agent, Watchers]) -> None:
        self._cells = cells
        self._threads: dict[Agent, threading.Thread] = {}

    def begin(self, agent: Agent) -> None:
        """Begin the end of a cell; the goodbye to a broker may take a while."""
        if agent not in self._threads:
            thread = threading.Thread(target=self._finish, args=(agent,), name="finish")
            self._threads[agent] = thread
            thread.start()

    def complete(self, agent: Agent) -> None:
        """Return when a cell is at its end."""
        self.begin(agent)
        self._threads[agent].join()

    def _finish(self, agent: Agent) -> None:
        self._cells[agent].finish()
        agent.finish()


def run(options: argparse.Namespace) -> int:
    """Act until a signal says to stop; return 0.

    Raises:
        NetWorldError: A configuration, a bundle, a radio or the broker stands against it.
    """
    notifier = ServiceNotifier.from_environment()
    notifier.status("checking configurations and bundles")
    configs = _read(options.cells, options.changes)
    handler = set_up(configs[0].log)
    signal.signal(signal.SIGTERM, end_start)
    models = _load(configs)
    cells: dict[Agent, Watchers] = {}
    loop = NetworkLoop()
    with ExitStack() as start:
        start.callback(loop.close)
        transports = []
        for path, config, model in zip(options.cells, configs, models, strict=True):
            watchers = Watchers(config, handler)
            watchers.watch.stagger(len(cells) / len(configs))
            read = partial(load_config, path, options.changes)
            agent, transport = make_cell(config, model, read, watchers, ServiceNotifier(), loop)
            start.callback(transport.close)  # else the broker would tell of a cell that was lost
            start.callback(agent.radio.close)
            cells[agent] = watchers
            transports.append(transport)
        settle(options, *cells)
        notifier.status("connecting to the broker")
        for transport in transports:
            transport.connect()
        freeze_garbage_collection()
        start.pop_all()
    finishing = Finishing(cells)
    crew = Crew(list(cells), notifier, finishing.begin)
    handler.context = lambda: {} if crew.acting is None else cells[crew.acting].context()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop(cells))
    with ExitStack() as stack:
        stack.callback(loop.close)
        for agent in cells:
            stack.callback(finishing.complete, agent)
        for config, agent in zip(configs, cells, strict=True):
            agent.start()
            say_ready(config, agent)
        notifier.ready("waiting for the radios")
        crew.run()
        notifier.stopping()
        for agent in cells:  # all at once: a broker that does not answer costs each half a second
            finishing.begin(agent)
    return 0


def _read(paths: Sequence[Path], changes: Sequence[str]) -> list[Config]:
    """Return all configurations, checked against each other.

    Raises:
        ConfigError: A file holds mistakes, or two cells cannot be in one process; lists all.
    """
    problems: list[str] = []
    configs = [one for path in paths if (one := _read_one(path, changes, problems)) is not None]
    for what, value_of in _OWN.items():
        counted = Counter(value_of(one) for one in configs)
        problems += [
            f"{what} {value!r}: {count} cells have it, expected one of its own for each"
            for value, count in counted.items()
            if count > 1 and value
        ]
    problems += [
        f"{one.path}: bundle.store: a store serves one cell; give bundle.path to cells of one process"
        for one in configs
        if one.bundle.store is not None
    ]
    if problems:
        raise ConfigError("--cells", problems)
    return configs


def _read_one(path: Path, changes: Sequence[str], problems: list[str]) -> Config | None:
    try:
        return load_config(path, changes)
    except ConfigError as error:
        problems += [f"{error.subject}: {problem}" for problem in error.problems]
        return None


def _load(configs: Sequence[Config]) -> list[tuple[Bundle, Planner]]:
    """Return the model of each cell; those that differ in their seed alone share the graphs.

    Raises:
        NetWorldError: As for `load_model`.
    """
    loaded: dict[Any, tuple[Bundle, Planner]] = {}
    models = []
    for config in configs:
        same = (
            config.bundle,
            config.cell.task,
            config.execution,
            *config.planner.changes().items(),
        )
        if same not in loaded:
            loaded[same] = load_model(config)
            loaded[same][1].warm_up()
        bundle, planner = loaded[same]
        models.append((bundle, planner.sibling(config.planner.seed)))
    return models


def _stop(agents: Iterable[Agent]) -> None:
    for agent in agents:
        agent.stop()
