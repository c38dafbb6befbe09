"""`[watch]` and `[log]` of the configuration: who may look, and how the log is written."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from networld_runtime.config_table import Table

FORMATS = ("json", "text")
LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True)
class WatchConfig:
    """`[watch]`: where metrics, health and status are served.

    `port` 0, the default, serves nothing: several cells share a computer, and nothing is opened unasked.
    `ready_without_broker`: whether a cell that lost its broker, and so acts alone, counts as ready.
    """

    host: str = "127.0.0.1"
    port: int = 0
    ready_without_broker: bool = False


@dataclass(frozen=True)
class LogConfig:
    """`[log]`: `json` is one object a line on standard output, `text` is for people, on standard error.

    `file` is written as well, two files of at most 1 MB each; None writes none.
    """

    format: str = "json"
    level: str = "info"
    file: Path | None = None


def read_watch(table: Table) -> WatchConfig:
    """Read `[watch]`; what is wrong is told by the table."""
    default = WatchConfig()
    host = table.text("host", default.host) or default.host
    if not _is_address(host):
        table.problem("host", f"{host!r}: expected an IP address of this computer, or localhost")
    return WatchConfig(
        host=host,
        port=table.integer("port", default.port, 0, 65535) or 0,
        ready_without_broker=table.flag("ready_without_broker", default.ready_without_broker),
    )


def read_log(table: Table) -> LogConfig:
    """Read `[log]`; what is wrong is told by the table."""
    default = LogConfig()
    config = LogConfig(
        format=table.choice("format", FORMATS, default.format),
        level=table.choice("level", LEVELS, default.level),
        file=table.optional_path("file"),
    )
    if config.file is not None and not config.file.parent.is_dir():
        table.problem("file", f"no folder at {config.file.parent}")
    return config


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True
