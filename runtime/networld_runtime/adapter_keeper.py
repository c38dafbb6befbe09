"""Which adapter a cell plans with, and the child process that trains a new one at idle priority."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from networld_runtime.adaptation import load_adapter
from networld_runtime.bundle import Bundle
from networld_runtime.config import Config
from networld_runtime.contract import FloatArray
from networld_runtime.errors import DataError
from networld_runtime.experience import Experience
from networld_runtime.guarded_planner import PlannerLike

_log = logging.getLogger(__name__)

KILL_S = 1.0


class AdapterKeeper:
    """Loads, trains, adopts and drops the adapter of one cell.

    Args:
        config: Where files go and how the child is started.
        bundle: Adapters belong to a bundle.
        planner: Adopts what is kept.
    """

    def __init__(self, config: Config, bundle: Bundle, planner: PlannerLike) -> None:
        self.adapted = False
        self._config = config
        self._bundle = bundle
        self._planner = planner
        self._child: subprocess.Popen[str] | None = None
        self._identifier: str | None = None
        folder = config.state.directory
        self._experience_file = folder / "experience.safetensors"
        self._candidate_file = folder / "candidate.safetensors"
        self._adapter_file = folder / "adapter.safetensors"

    def restore(self) -> None:
        """Adopt the adapter kept from an earlier run, if there is one that fits."""
        if not self._adapter_file.exists():
            return
        try:
            self._adopt(load_adapter(self._adapter_file, self._bundle))
        except DataError as error:
            _log.warning("planning with the base model: %s", error)

    def drop(self) -> str | None:
        """Go back to the base model; return what went wrong with the file, None if nothing.

        A training that is running is ended: its adapter would come back against the order.
        """
        self.stop()
        self._child = None
        self._planner.adopt(np.zeros(self._bundle.adapter_size, dtype=np.float32))
        self.adapted = False
        try:
            self._adapter_file.unlink(missing_ok=True)
        except OSError as error:
            return f"the adapter's file stays and will be back after a restart: {error.strerror}"
        return None

    def begin(self, experience: Experience, identifier: str | None) -> str | None:
        """Save the experience and start training; return what stands against it, None if nothing.

        The reports that follow carry `identifier`.
        """
        if not self._config.adaptation.enabled:
            return "adaptation is not enabled in the configuration"
        if self._child is not None:
            return "an adaptation is running already"
        try:
            experience.save(self._experience_file)
            self._candidate_file.unlink(missing_ok=True)
            self._child = subprocess.Popen(  # noqa: S603
                self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
        except (DataError, OSError) as error:
            return str(error)
        self._identifier = identifier
        return None

    def poll(self) -> dict[str, Any] | None:
        """Return the report of a training that has just ended, its adapter adopted if accepted."""
        if self._child is None or self._child.poll() is None:
            return None
        output, _ = self._child.communicate()  # one line; the process has ended
        exit_code, self._child = self._child.returncode, None
        report: dict[str, Any] = {"report": "adapt", "id": self._identifier, "ok": False}
        if exit_code != 0:
            return {**report, "problem": f"training ended with exit code {exit_code}"}
        try:
            outcome = json.loads(output)
            if outcome["accepted"]:
                self._adopt(load_adapter(self._candidate_file, self._bundle))
                self._candidate_file.replace(self._adapter_file)
        except (ValueError, KeyError, TypeError, OSError, DataError) as error:
            return {**report, "problem": str(error)}
        return {**report, "ok": True, "outcome": outcome}

    def stop(self) -> None:
        """End a training that is still running."""
        if self._child is not None:
            self._child.kill()
            try:
                self._child.wait(KILL_S)
            except subprocess.TimeoutExpired:
                _log.warning("the training process %d does not end", self._child.pid)

    def _adopt(self, adapter: FloatArray) -> None:
        self._planner.adopt(adapter)
        self.adapted = True

    def _command(self) -> list[str]:
        files: dict[str, Path | int] = {
            "--config": self._config.path,
            "--experience": self._experience_file,
            "--output": self._candidate_file,
            "--parent-pid": os.getpid(),
        }
        options = [str(word) for pair in files.items() for word in pair]
        return [sys.executable, "-m", "networld_runtime.cli", "adapt", "--idle", *options]
