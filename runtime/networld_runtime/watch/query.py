"""Asks a running cell for its status, over HTTP on the address of its own configuration."""

from __future__ import annotations

import http.client
import json
from typing import Any

from networld_runtime.errors import ConfigError, NetWorldError
from networld_runtime.exit_codes import ExitCode
from networld_runtime.watch.settings import WatchConfig

TIMEOUT_S = 5.0
LARGEST_STATUS_BYTES = 1 << 20
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked of, not listened at


class NoAnswerError(NetWorldError):
    """No cell answers at the address of `[watch]`."""

    exit_code = ExitCode.NO_ANSWER


def ask_for_status(watch: WatchConfig) -> dict[str, Any]:
    """Return the status of the cell that runs with a configuration.

    Raises:
        ConfigError: The configuration serves no status.
        NoAnswerError: Nobody answers, or something else than a cell.
    """
    if watch.port == 0:
        raise ConfigError(
            "watch.port", "is not set, so the cell serves no status; set one, as 9464"
        )
    host = ANY.get(watch.host, watch.host)
    address = f"{host}:{watch.port}"
    connection = http.client.HTTPConnection(host, watch.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        answer = connection.getresponse()
        status = json.loads(answer.read(LARGEST_STATUS_BYTES))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise NoAnswerError(address, f"no cell answers ({reason}); is it running?") from error
    finally:
        connection.close()
    if answer.status != http.client.OK or not _is_status(status):
        raise NoAnswerError(address, "what answers is not a cell; see host and port under [watch]")
    return dict(status)


def _is_status(status: object) -> bool:
    return (
        isinstance(status, dict)
        and isinstance(status.get("ready"), bool)
        and isinstance(status.get("obstacles"), list)
        and isinstance(status.get("counters"), dict)
    )


def summary(status: dict[str, Any]) -> str:
    """Return a status in a few lines for a person."""
    counters, bundle = status["counters"], status.get("bundle") or {}
    lines = [
        f"{status.get('site')}/{status.get('cell')}: {'ready' if status['ready'] else 'not ready'}"
    ]
    lines += [f"  not ready because {reason}" for reason in status["obstacles"]]
    lines += [f"  silent: {name}" for name in status.get("silent", [])]
    shown = {
        "bundle": f"{bundle.get('name', 'none')} {str(bundle.get('digest', ''))[:12]}".rstrip(),
        "slots": counters.get("slots", 0),
        "deadlines missed": counters.get("deadlines_missed", 0),
        "fallback level": (counters.get("ladder") or {}).get("level"),
        "median slot": _with_unit(counters.get("plan_p50_ms"), "ms"),
        "slowest 1 %": _with_unit(counters.get("plan_p99_ms"), "ms"),
        "neighbours heard": counters.get("neighbours_heard"),
        "adapted": counters.get("adapted"),
    }
    lines += [f"  {name}: {value}" for name, value in shown.items() if value is not None]
    return "\n".join(lines)


def _with_unit(value: object, unit: str) -> str | None:
    return None if value is None else f"{value} {unit}"
