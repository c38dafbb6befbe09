"""Child processes that are gone when their `with` block is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from networld_training.demo.signals import undisturbed

POLL_S = 0.02
GRACE_S = 3.0
VANISH_S = 1.0
SHOWN_LINES = 8

# Each cell has a share of a core; a thread pool for each of them only gets in their way.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Child:
    """A program in a session and process group of its own, so that Ctrl-C does not reach it.

    Args:
        name: Name for messages.
        command: Program and arguments.
        log: File that its output goes to.
        environment: Changes to our own environment.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self._cleared = False
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603
                list(command),
                stdin=subprocess.PIPE,  # its end tells a tethered program that we are gone
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environment},
            )

    @property
    def pid(self) -> int:
        """Process and process group id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code, None while it runs; negative is a signal's number.

        When it has ended, what it had started and left behind is killed.
        """
        code = self._process.poll()
        if code is not None and not self._cleared:
            self._kill_group()
        return code

    def log_tail(self) -> str:
        """Return the last lines of its output."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-SHOWN_LINES:]) or "(it said nothing)"

    def ask_to_end(self) -> None:
        """Send SIGTERM; one that is gone already is no mistake."""
        if self.exit_code() is None:
            self._process.terminate()

    def wait(self, deadline_s: float) -> bool:
        """Wait until it ends or `time.monotonic` reaches `deadline_s`; return whether it ended."""
        while self.exit_code() is None:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True

    def kill(self) -> None:
        """Kill it and all that it started, and wait for it."""
        if self.exit_code() is None:
            self._kill_group()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _kill_group(self) -> None:
        """Kill all that is left of the process group, and wait until it is gone."""
        self._cleared = True
        deadline_s = time.monotonic() + VANISH_S
        with suppress(ProcessLookupError, PermissionError):  # nobody is left, or only a zombie
            while time.monotonic() < deadline_s:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
                time.sleep(POLL_S)


class Children:
    """Starts children; leaving the block ends all of them.

    Args:
        polite: Whether they are asked to end and given a moment before they are killed.
    """

    def __init__(self, polite: bool) -> None:
        self._polite = polite
        self._children: list[Child] = []

    def start(self, name: str, command: Sequence[str], log: Path) -> Child:
        """Start a program."""
        child = Child(name, command, log, ENVIRONMENT)
        self._children.append(child)
        return child

    def __enter__(self) -> Children:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with undisturbed():
            if self._polite:
                for child in self._children:
                    child.ask_to_end()
                deadline_s = time.monotonic() + GRACE_S
                for child in self._children:
                    child.wait(deadline_s)
            for child in self._children:
                child.kill()
