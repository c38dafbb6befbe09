"""Which adapter a cell acts with, and how a new one comes about.

On an order the neighbours' logs are waited for, without holding up a slot; then a child process trains at
idle priority on all logs that are there. An adapter by which the cell's own utility falls is taken back.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.adaptation import load_adapter
from networld_runtime.adapter_history import AdapterHistory
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.contract import FloatArray
from networld_runtime.episode_log import EpisodeLog
from networld_runtime.errors import DataError
from networld_runtime.log_book import LogBook
from networld_runtime.log_file import write_logs
from networld_runtime.planner_like import PlannerLike
from networld_runtime.realtime import monotonic_s
from networld_runtime.regression import RegressionWatch

_log = logging.getLogger(__name__)

LOGS = "logs.msgpack"
KILL_S = 1.0


@dataclass(frozen=True)
class _Order:
    """An order to adapt that waits for the neighbours' logs until `deadline_s`."""

    logs: list[EpisodeLog]
    deadline_s: float


class AdapterKeeper:
    """Loads, trains, adopts and drops the adapter of one cell.

    Args:
        config: Where files go and how the child is started.
        bundle: Adapters belong to a bundle.
        planner: Adopts what is kept.
        book: The neighbours' logs.
    """

    def __init__(self, config: Config, bundle: Bundle, planner: PlannerLike, book: LogBook) -> None:
        self.adapted = False
        self._config = config
        self._bundle = bundle
        self._planner = planner
        self._adapter: FloatArray | None = None  # the base model
        self._book = book
        self._order: _Order | None = None
        self._child: subprocess.Popen[str] | None = None
        self._identifier: str | None = None
        self._lost: dict[str, Any] | None = None
        self._regression = RegressionWatch()
        folder = config.state.directory
        self._logs_file = folder / LOGS
        self._candidate_file = folder / "candidate.safetensors"
        self._history = AdapterHistory(folder)

    def restore(self) -> None:
        """Adopt the newest adapter of this bundle, if one was kept."""
        adapter, objections = self._history.newest(self._bundle)
        if objections:
            _log.warning("newer adapters are not used: %s", objections)
        if adapter is not None:
            self._adopt(adapter)

    def go_on_with(self, config: Config, planner: PlannerLike | None) -> None:
        """Go on with another configuration, and with another planner of the same bundle if there is one."""
        self._config = config
        if planner is not None:
            if self._adapter is not None:
                planner.adopt(self._adapter)
            self._planner = planner

    def drop(self) -> str | None:
        """Go back to the base model; return what went wrong with the file, None if nothing.

        A training that is running is ended: its adapter would come back against the order.
        """
        self.stop()
        self._child = None
        self._take_base()
        try:
            self._history.drop()
        except OSError as error:
            return f"the adapter's file stays and will be back after a restart: {error.strerror}"
        return None

    def revert(self) -> str | None:
        """Go back to the adapter before the present one, or to the base; return what stands against it."""
        if not self.adapted:
            return "the base model acts already"
        problem = None
        try:
            earlier = self._history.go_back(self._bundle)
        except OSError as error:
            earlier = None
            problem = f"the adapter's file stays and will be back after a restart: {error.strerror}"
        if earlier is None:
            self._take_base()
        else:
            self._adopt(earlier)
        self._regression.forget()
        return problem

    def saw(self, utility: float | None) -> None:
        """Take note of the cell's utility in a slot; an adapter by which it fell is taken back."""
        if utility is not None and self._regression.add(utility):
            _log.warning("the cell does worse by its adapter: it is taken back")
            problem = self.revert()
            report = {"report": "revert", "id": None, "ok": problem is None}
            self._lost = report if problem is None else {**report, "problem": problem}

    def forget_utilities(self) -> None:
        """Compare no utilities from before this moment with those to come."""
        self._regression.forget()

    def change_bundle(self, bundle: Bundle, planner: PlannerLike) -> None:
        """Go on with another bundle, with the adapter that was kept of it if there is one.

        What was learned for the bundle before is never adopted: a training for it is ended, and said to have
        failed.
        """
        if self._order is not None or self._child is not None:
            self._lost = self._failure("the bundle was changed meanwhile; adapt again")
        self.stop()
        self._child = None
        self._bundle, self._planner = bundle, planner
        self._take_base()  # a planner that comes back has kept what it acted by then
        self.restore()

    def begin(self, logs: Sequence[EpisodeLog], identifier: str | None) -> str | None:
        """Wait for the neighbours' logs of the same episodes, then train; see `poll`.

        Args:
            logs: The cell's own logs.
            identifier: Comes back in the report.

        Returns:
            What stands against it, None if nothing.
        """
        if not self._config.adaptation.enabled:
            return "adaptation is not enabled in the configuration"
        if self._order is not None or self._child is not None:
            return "an adaptation is running already"
        if not logs:
            return "nothing was collected, or the radio sends no couplings"
        deadline_s = monotonic_s() + self._config.adaptation.gather_s
        self._order = _Order(list(logs), deadline_s)
        self._identifier = identifier
        return None

    def poll(self) -> dict[str, Any] | None:
        """Go on with an order; return the report of a training that has just ended.

        Its adapter is adopted if it was accepted.
        """
        interrupted = self._interrupted()
        if interrupted is not None:
            return interrupted
        if self._order is not None:
            return self._gather(self._order)
        if self._child is None or self._child.poll() is None:
            return None
        output, _ = self._child.communicate()  # one line; the process has ended
        exit_code, self._child = self._child.returncode, None
        if exit_code != 0:
            return self._failure(f"training ended with exit code {exit_code}")
        try:
            outcome = json.loads(output)
            if outcome["accepted"]:
                adapter = load_adapter(self._candidate_file, self._bundle)
                self._history.replace(self._candidate_file)
                self._adopt(adapter)
                self._regression.adopted()
        except (ValueError, KeyError, TypeError, OSError, DataError) as error:
            return self._failure(str(error))
        return {"report": "adapt", "id": self._identifier, "ok": True, "outcome": outcome}

    def _interrupted(self) -> dict[str, Any] | None:
        """Return the report of an order that came to nothing because something else changed."""
        if not self._config.adaptation.enabled and (self._order or self._child):
            self.stop()
            self._child = None
            return self._failure("adaptation was switched off in the configuration meanwhile")
        lost, self._lost = self._lost, None
        return lost

    def stop(self) -> None:
        """End what is under way: the wait for logs, or a training."""
        self._order = None
        if self._child is not None:
            self._child.kill()
            try:
                self._child.wait(KILL_S)
            except subprocess.TimeoutExpired:
                _log.warning("the training process %d does not end", self._child.pid)

    def _gather(self, order: _Order) -> dict[str, Any] | None:
        """Start the training once all logs are there, or time is up; return a report if it fails."""
        complete = self._book.covers(log.episode for log in order.logs)
        if not complete and monotonic_s() < order.deadline_s:
            return None
        self._order = None
        logs = {self._config.cell.name: order.logs, **self._book.logs()}
        try:
            write_logs(self._logs_file, logs, self._bundle.contract)
            self._candidate_file.unlink(missing_ok=True)
            self._child = subprocess.Popen(  # noqa: S603
                self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
        except (DataError, OSError) as error:
            return self._failure(str(error))
        return None

    def _failure(self, problem: str) -> dict[str, Any]:
        return {"report": "adapt", "id": self._identifier, "ok": False, "problem": problem}

    def _adopt(self, adapter: FloatArray) -> None:
        self._planner.adopt(adapter)
        self._adapter = adapter
        self.adapted = True

    def _take_base(self) -> None:
        self._planner.adopt(np.zeros(self._bundle.adapter_size, dtype=np.float32))
        self._adapter = None
        self.adapted = False
        self._regression.forget()

    def _command(self) -> list[str]:
        files: dict[str, Path | int] = {
            "--config": self._config.path,
            "--logs": self._logs_file,
            "--output": self._candidate_file,
            "--parent-pid": os.getpid(),
        }
        options = [str(word) for pair in files.items() for word in pair]
        options += [f"--set={change}" for change in self._config.changes]
        return [sys.executable, "-m", "networld_runtime.cli", "adapt", "--idle", *options]
