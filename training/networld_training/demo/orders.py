"""Orders to the cells and their answers, over the topics `command`, `report` and `birth`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from networld_runtime.mesh.topics import CellTopics
from networld_runtime.mesh.transport import Transport

POLL_S = 0.05
REPEAT_S = 3.0
LARGEST_REPORT_BYTES = 1 << 16

Answers = dict[str, dict[str, Any]]


class Orders:
    """Speaks to all cells of a site; make it before the transport is connected.

    Args:
        transport: Reaches the broker.
        site: Name of the site.
        alive: Returns the cells that an answer can be expected of; called while waiting, it may
            raise to end the wait.
    """

    def __init__(
        self,
        transport: Transport,
        site: str,
        cells: Sequence[str],
        alive: Callable[[], Sequence[str]],
    ) -> None:
        self._transport = transport
        self._alive = alive
        self._topics = {name: CellTopics(site, name) for name in cells}
        self._arrival = threading.Condition()
        self._born: set[str] = set()
        self._answers: Answers = {}
        self._identifier: str | None = None
        self._count = 0
        handlers = {}
        for name, topics in self._topics.items():
            handlers[topics.report] = partial(self._receive_report, name)
            handlers[topics.birth] = partial(self._receive_birth, name)
        transport.subscribe(handlers, reliable=True)

    def await_births(self, timeout_s: float, progress: Callable[[int], None]) -> list[str]:
        """Wait until all cells have told that they are there; return those that have not.

        Args:
            timeout_s: How long to wait.
            progress: Called with the number of cells that are there.
        """
        self._wait(timeout_s, self._born, progress)
        return [name for name in self._topics if name not in self._born]

    def ask(
        self,
        command: str,
        timeout_s: float,
        progress: Callable[[int], None] | None = None,
        repeat: bool = True,
        **fields: Any,
    ) -> Answers:
        """Give all cells an order and return the answers that came in time, by cell.

        Args:
            command: Name of the order.
            timeout_s: How long to wait.
            progress: Called with the number of answers; may be None.
            repeat: Whether cells that do not answer are told again now and then.
            fields: More fields of the order.
        """
        with self._arrival:
            self._count += 1
            self._identifier = f"{command}-{self._count}"
            self._answers = {}
        payload = json.dumps({"command": command, "id": self._identifier, **fields}).encode()

        told: set[str] = set()

        def tell(again: bool) -> None:
            """Tell those who were not; of many orders at once a transport takes only some."""
            for name in self._alive():
                if name in self._answers or (name in told and not again):
                    continue
                if self._transport.publish(self._topics[name].command, payload, reliable=True):
                    told.add(name)

        tell(False)
        self._wait(timeout_s, self._answers, progress, tell, repeat)
        with self._arrival:
            self._identifier = None
            return dict(self._answers)

    def forget_site(self) -> None:
        """Clear what the cells left retained at a broker that others use, too."""
        for topics in self._topics.values():
            for topic in (topics.birth, topics.state):
                self._transport.publish(topic, b"", reliable=True, retain=True)

    def _wait(
        self,
        timeout_s: float,
        heard: Collection[str],
        progress: Callable[[int], None] | None,
        tell: Callable[[bool], None] | None = None,
        repeat: bool = False,
    ) -> None:
        deadline_s = time.monotonic() + timeout_s
        repeat_s = time.monotonic() + REPEAT_S
        while not set(self._alive()) <= set(heard) and time.monotonic() < deadline_s:
            with self._arrival:
                self._arrival.wait(POLL_S)
            if progress is not None:
                progress(len(heard))
            if tell is not None:
                again = repeat and time.monotonic() > repeat_s
                tell(again)
                repeat_s += REPEAT_S if again else 0.0

    def _receive_birth(self, name: str, payload: bytes) -> None:
        if payload:  # an empty one only clears what was retained
            with self._arrival:
                self._born.add(name)
                self._arrival.notify_all()

    def _receive_report(self, name: str, payload: bytes) -> None:
        if len(payload) > LARGEST_REPORT_BYTES:
            return
        report = json.loads(payload)  # the transport counts what is not JSON
        with self._arrival:
            if report.get("id") == self._identifier is not None:
                self._answers[name] = report
                self._arrival.notify_all()
