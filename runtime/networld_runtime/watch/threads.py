"""Every thread that a cell may have, by name; the status shows those that are there."""

from __future__ import annotations

import threading

THREADS = (
    ("MainThread", "the loop: observes, plans, acts, talks"),
    (
        "network-connect",
        "opens a connection to the broker; there until it answers or takes too long",
    ),
    ("network", "the broker's connection: sends, and calls the receivers of messages"),
    ("run-limit", "ends runs of the model that take too long; sleeps otherwise"),
    ("reload", "reads and checks a changed configuration, for a moment after SIGHUP"),
    ("bundle", "loads, notes and takes back bundles of the store, for a moment"),
    ("watch-http", "answers operators on [watch]; there if a port is set"),
    ("last-heard", "notes on the disk what was heard last of each neighbour, for a moment"),
    ("recorder", "writes what the cell hears and says to a file; with --record"),
    ("parent-watch", "stops the cell when the program that started it is gone; with --parent-pid"),
)
"""Name, or how it begins, and purpose."""

UNKNOWN = "not one of the cell's"


def purpose_of(name: str) -> str:
    """Return what a thread is for."""
    return next((purpose for start, purpose in THREADS if name.startswith(start)), UNKNOWN)


def running_threads() -> dict[str, str]:
    """Return the purposes of the threads of this process, by name."""
    return {thread.name: purpose_of(thread.name) for thread in threading.enumerate()}
