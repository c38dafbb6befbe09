"""Processes that are killed at the n-th step of what they do to a store: SIGKILL, nothing is cleaned up.

Run as a program this is a server: it has everything imported and forks a process for each line that it reads.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from store_cell import StoreCell

from networld_runtime.contract import Contract
from networld_runtime.store import activation

STEPS = ("fsync", "replace", "rename", "symlink", "mkdir", "unlink", "rmdir")
"""Calls of `os` that a process is killed before."""
OPERATIONS: dict[str, Callable[[StoreCell, str], object]] = {
    "install": lambda cell, source: cell.install(Path(source)),
    "activate": lambda cell, digest: cell.activate(digest),
    "commit": lambda cell, digest: activation.commit(cell.store, digest, 2),
    "take back": lambda cell, digest: activation.take_back(cell.store, digest, "bad"),
    "roll back": lambda cell, _: activation.roll_back(cell.store, cell.keys),
    "start": lambda cell, _: cell.start(),
}


class Killer:
    """Does things to stores, and is killed meanwhile."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End the server."""
        self._server.communicate(timeout=60)

    def killed(self, step: int, operation: str, cell: StoreCell, argument: object) -> bool:
        """Do something in a process that is killed before its n-th step; return whether it came so far."""
        order = [step, operation, str(cell.folder), cell.contract.to_json(), str(argument)]
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{json.dumps(order)}\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        assert code in (0, -signal.SIGKILL), code
        return code != 0


def _serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _do_and_die(*json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _do_and_die(
    step: int, operation: str, folder: str, contract: dict[str, Any], argument: str
) -> None:
    """Never returns."""
    code = 1
    try:
        cell = StoreCell(Path(folder), Contract.from_json(contract))
        _count_steps(step)
        OPERATIONS[operation](cell, argument)
        code = 0
    finally:
        os._exit(code)


def _count_steps(step: int) -> None:
    left = step

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def die_or_call(*values: Any, **names: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*values, **names)

        return die_or_call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    _serve()
