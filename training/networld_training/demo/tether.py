"""Programs that end with the one who started them, however that one ends.

    python -m networld_training.demo.tether PROGRAM ARGUMENT ...

runs a program until it ends or standard input is closed. The system closes the other end of that pipe
also when the starter is killed, which no handler of its own could tell.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable

STANDARD_INPUT = 0


def when_input_ends(callback: Callable[[], None]) -> None:
    """Call `callback` once, from a thread of its own, when standard input is closed."""

    def watch() -> None:
        # Not sys.stdin: a thread that waits in there makes the interpreter abort at its end.
        while os.read(STANDARD_INPUT, 4096):
            pass
        callback()

    threading.Thread(target=watch, name="input-watch", daemon=True).start()


def main(command: list[str]) -> int:
    """Run `command` tethered to standard input; return its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603
    when_input_ends(child.kill)
    return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
