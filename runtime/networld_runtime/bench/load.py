"""A process that wants all of the core that planning runs on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

BUSY = "while True: pass"


@contextmanager
def hostile_process() -> Iterator[None]:
    """Share one core with a busy process of the same priority as long as the context lasts."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})  # the child inherits it
    busy = subprocess.Popen([sys.executable, "-c", BUSY])  # noqa: S603 - ours
    try:
        yield
    finally:
        busy.kill()
        busy.wait()
        os.sched_setaffinity(0, allowed)
