"""What the cell tells the service manager that started it: ready, alive, stopping.

The protocol is sd_notify(3): one datagram of `NAME=value` lines to the socket named in NOTIFY_SOCKET. Only
the loop calls `alive`: a thread of its own would go on saying it while the loop hangs.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, MutableMapping

from networld_runtime.realtime import monotonic_s

_log = logging.getLogger(__name__)

STATUS_EVERY_S = 5.0
LONGEST_STATUS = 400


class ServiceNotifier:
    """Speaks to the service manager; every call does nothing where there is none.

    Args:
        address: Path of the manager's socket; a leading `@` means an abstract one. None: no manager.
        watchdog_s: How long the manager waits for `alive` before it ends this process; None: for ever.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._socket: socket.socket | None = None
        self._every_s = STATUS_EVERY_S if watchdog_s is None else watchdog_s / 2
        self._alive_s: float | None = None
        if address is None:
            return
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # a manager that reads nothing must not hold up a slot

    @classmethod
    def from_environment(
        cls, environment: MutableMapping[str, str] = os.environ
    ) -> ServiceNotifier:
        """Read what the manager left in the environment, and remove it: it is not for our children."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        watchdog_pid = environment.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")) or len(address) < 2:
            return cls()
        ours = watchdog_pid in ("", str(os.getpid()))
        given = watchdog_us.isascii() and watchdog_us.isdigit() and int(watchdog_us) > 0
        return cls(address, int(watchdog_us) / 1e6 if ours and given else None)

    def status(self, text: str) -> None:
        """Say in a few words what goes on; `systemctl status` shows it."""
        self._send(_status(text))

    def ready(self, text: str) -> None:
        """Say that slots are answered from now on."""
        self._send("READY=1", _status(text))

    def stopping(self) -> None:
        """Say that this process is about to end by its own will."""
        self._send("STOPPING=1")

    def alive(self, status: Callable[[], str]) -> None:
        """Say that the loop went round, if half of the watchdog's time is over.

        Args:
            status: Returns what goes on in a few words; called only if something is sent.
        """
        now_s = monotonic_s()
        due = self._alive_s is None or now_s >= self._alive_s + self._every_s
        if self._socket is not None and due:
            self._alive_s = now_s
            self._send("WATCHDOG=1", _status(status()))

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except BlockingIOError:
            pass  # its queue is full; the next call says the same
        except OSError as error:
            self._socket.close()
            self._socket = None
            _log.warning("the service manager hears nothing from now on: %s", error.strerror)


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())[:LONGEST_STATUS]}"
